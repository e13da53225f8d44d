"""A task with a user's reward: the same problems, other verdicts."""

import json

import numpy as np
import pytest

from hicra_cli.config.root import HicraConfig
from hicra_cli.core.errors import ConfigError
from hicra_cli.core.records import FinishReason, Outcome, Rollout
from hicra_cli.stages.base import build_task

LENGTH_REWARD = "def score(prompt, response, answer, metadata, truncated):\n    return len(response) / 10\n"


def rollout(prompt, text, finish=FinishReason.STOP):
    nothing = np.zeros(0, dtype=np.int32)
    return Rollout(prompt, 0, nothing, nothing, text, finish, np.zeros(0, dtype=np.float32))


def config(folder, text, **task):
    (folder / "own.py").write_text(text)
    return HicraConfig.model_validate({"task": {"reward": f"{folder}/own.py:score", **task}})


def test_countdown_is_rewarded_by_the_function_and_keeps_its_problems(tmp_path):
    plain = build_task(HicraConfig())
    with build_task(config(tmp_path, LENGTH_REWARD)) as task:
        assert task.name == "countdown"
        assert task.stream(0, 20, seed=3) == plain.stream(0, 20, seed=3)
        assert task.held_out(5) == plain.held_out(5)
        prompt = task.stream(0, 1, seed=0)[0]
        verdicts = task.verdicts([rollout(prompt, "12345"), rollout(prompt, "", FinishReason.LENGTH)])
    assert [(each.reward, each.outcome) for each in verdicts] == [(0.5, Outcome.CORRECT), (0.0, Outcome.TRUNCATED)]


def test_the_function_sees_problem_gold_and_the_rows_fields_of_maths(tmp_path):
    rows = [{"problem": f"Q{number}", "answer": f"{number}", "level": number} for number in range(40)]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    text = LENGTH_REWARD.replace("len(response) / 10", "prompt == f'Q{answer}' and metadata['level']")
    with build_task(config(tmp_path, text, kind="maths", train_data=str(tmp_path / "t.jsonl"))) as task:
        prompts = task.problems()
        verdicts = task.verdicts([rollout(prompt, "") for prompt in prompts])
    assert [each.reward for each in verdicts] == [float(prompt.answer) for prompt in prompts]


def test_dropping_problems_reaches_the_task_underneath(tmp_path):
    task = build_task(config(tmp_path, LENGTH_REWARD))
    kept = {each.id for each in task.problems()[:7]}
    task.keep(kept)
    assert {each.id for each in task.stream(0, 50, seed=0)} == kept


def test_a_function_that_does_not_import_is_refused_on_entering(tmp_path):
    task = build_task(config(tmp_path, "import nothing_of_that_name"))
    with pytest.raises(ConfigError, match="nothing_of_that_name"), task:
        raise AssertionError("entered")
