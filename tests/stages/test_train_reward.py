"""Training on a user's reward: it counts, what is wrong with it is known before sampling, and failures stop the run."""

import pytest

from hicra_cli.core.errors import ConfigError, RunError
from hicra_cli.core.progress import SilentProgress
from hicra_cli.core.registry import Registry
from hicra_cli.stages.base import execute
from hicra_cli.stages.train.run import STAGE
from tests.stages.runs import comparable_steps, small_config


def train(folder, text, *, eval_every=0, **task):
    (folder / "own.py").write_text(f"def score(prompt, response, answer, metadata, truncated):\n    {text}\n")
    config = small_config(folder / "home", steps=2, num_prompts=6, algo="grpo", eval_every=eval_every, eval_prompts=8)
    reward = f"{folder}/own.py:score"
    config = config.model_copy(update={"task": config.task.model_copy(update={"reward": reward, **task})})
    with Registry.open(config.home) as registry:
        return execute(STAGE, config, registry, SilentProgress()).artifact


def test_the_functions_rewards_are_what_the_policy_learns_from(tmp_path):
    steps = comparable_steps(train(tmp_path, "return len(response) / 100, 'wrong'").path)
    assert all(step["reward/mean"] > 0.3 and step["reward/accuracy"] == 0 for step in steps)
    assert all(step["outcome/wrong"] == 24 for step in steps)
    assert steps[0]["groups/no_signal_fraction"] < 0.5


def test_accuracy_inside_the_run_counts_right_answers_whatever_they_earn(tmp_path):
    step = comparable_steps(train(tmp_path, "return 5, 'correct'", eval_every=2).path)[-1]
    assert (step["eval/accuracy"], step["eval/reward_mean"]) == (1.0, 5.0)


def test_a_few_failures_are_counted_and_not_taken_for_rewards(tmp_path):
    steps = comparable_steps(train(tmp_path, "return 1 / (len(response) % 7)", max_failed_fraction=0.9).path)
    assert sum(step["outcome/error"] for step in steps) > 0
    for step in steps:
        assert step["outcome/error"] + step["outcome/correct"] == 24


def test_a_function_that_keeps_failing_stops_the_run(tmp_path):
    with pytest.raises(RunError, match="the reward function failed on 3 of 24 responses"):
        train(tmp_path, "return undefined_name")  # the third is more than a tenth of 24


def test_a_function_that_cannot_run_is_refused_before_anything_is_sampled(tmp_path):
    with pytest.raises(ConfigError, match="nothing_of_that_name"):
        train(tmp_path, "pass\nimport nothing_of_that_name")
    assert not list((tmp_path / "home").rglob("steps.jsonl"))
