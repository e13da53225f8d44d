import json

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from hicra_cli.core.errors import HicraError, TrainingError
from hicra_cli.core.progress import SilentProgress
from hicra_cli.core.registry import Registry
from hicra_cli.stages.base import execute
from hicra_cli.stages.train.run import STAGE
from tests.stages.runs import comparable_steps, digests, small_config


def train(home, **settings):
    with Registry.open(home) as registry:
        result = execute(STAGE, small_config(home, **settings), registry, SilentProgress())
        policies = [registry.resolve(each["policy"]) for each in result.artifact.summary["policies"]]
        return result.artifact, policies


def weights(policy):
    return load_file(policy.path / "model.safetensors")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return train(tmp_path_factory.mktemp("run"))


def test_a_run_publishes_its_records_its_rollouts_and_its_policies(run):
    artifact, policies = run
    steps = comparable_steps(artifact.path)
    assert [each["step"] for each in steps] == [1, 2, 3, 4]
    assert [each["step"] for each in artifact.summary["policies"]] == [2, 4]
    assert sorted(digests(artifact.path, "rollouts/*")) == [
        f"rollouts/step-{step:06d}.parquet" for step in (1, 2, 3, 4)
    ]
    assert not (artifact.path / "checkpoints").exists()
    assert (policies[1].path / "tokenizer.json").exists()
    assert json.loads((policies[1].path / "hicra.json").read_text())["step"] == 4


def test_the_record_agrees_with_the_stored_rollouts(run):
    artifact, _ = run
    for record in comparable_steps(artifact.path):
        table = pq.read_table(artifact.path / "rollouts" / f"step-{record['step']:06d}.parquet").to_pylist()
        assert len(table) == 16
        tokens = [token for row in table for token in row["planning_mask"]]
        assert record["hicra/planning_fraction"] == sum(tokens) / len(tokens)
        assert record["reward/mean"] == sum(row["reward"] for row in table) / 16
        assert record["tokens/response"] == sum(len(row["token_ids"]) for row in table)
        entropy = [value for row in table for value in row["token_entropy"]]
        assert record["policy/token_entropy_nats"] == pytest.approx(sum(entropy) / len(entropy), abs=1e-6)
        assert record["policy/mismatch_max_nats"] is None or record["policy/mismatch_max_nats"] < 1e-4


def test_the_same_seed_gives_the_same_bytes(run, tmp_path):
    artifact, policies = run
    again, again_policies = train(tmp_path)
    assert comparable_steps(again.path) == comparable_steps(artifact.path)
    assert digests(again.path, "rollouts/*") == digests(artifact.path, "rollouts/*")
    for first, second in zip(policies, again_policies, strict=True):
        assert digests(first.path, "*.safetensors") == digests(second.path, "*.safetensors")


def test_alpha_zero_is_grpo_bit_for_bit_and_alpha_changes_the_weights(tmp_path, run):
    _, amplified = run
    _, grpo = train(tmp_path / "grpo", algo="grpo")
    _, zero = train(tmp_path / "zero", alpha=0.0)
    assert digests(zero[-1].path, "*.safetensors") == digests(grpo[-1].path, "*.safetensors")
    assert digests(amplified[-1].path, "*.safetensors") != digests(grpo[-1].path, "*.safetensors")


def test_the_cut_into_micro_batches_does_not_change_the_update(tmp_path):
    _, whole = train(tmp_path / "whole", steps=1, token_budget=65536)
    _, cut = train(tmp_path / "cut", steps=1, token_budget=64, head_chunk=16)
    for name, tensor in weights(whole[-1]).items():
        # Adam's first step is lr * sign(gradient): compare away from gradients that are rounding noise
        torch.testing.assert_close(weights(cut[-1])[name], tensor, atol=3e-4, rtol=0)


def test_entropy_regularisation_also_learns_from_groups_without_signal(tmp_path):
    artifact, _ = train(tmp_path, algo="entropy-reg", steps=1)
    (record,) = comparable_steps(artifact.path)
    assert record["tokens/computed"] == record["tokens/response"]


def test_groups_without_signal_are_skipped_in_compute_and_kept_in_the_counts(run):
    for record in comparable_steps(run[0].path):
        table = pq.read_table(run[0].path / "rollouts" / f"step-{record['step']:06d}.parquet").to_pylist()
        groups = [table[start : start + 4] for start in range(0, 16, 4)]
        live = [group for group in groups if len({row["reward"] for row in group}) > 1]
        assert record["tokens/computed"] == sum(len(row["token_ids"]) for group in live for row in group)
        assert record["groups/no_signal_fraction"] == 1 - len(live) / 4


def test_dynamic_filtering_replaces_groups_without_signal(tmp_path):
    artifact, _ = train(tmp_path, dynamic_filtering=True, steps=2, max_resamples=6)
    for record in comparable_steps(artifact.path):
        assert record["groups/count"] == 4
        assert record["groups/no_signal_fraction"] == 0
        assert record["groups/filtered"] > 0


def test_the_response_limit_grows_when_too_many_responses_are_cut(tmp_path):
    artifact, _ = train(tmp_path, steps=3, response_limits=[8, 16, 48])
    limits = [record["response/limit_tokens"] for record in comparable_steps(artifact.path)]
    assert limits == [8, 16, 48]


def test_an_equal_run_is_cached_and_another_seed_is_not(tmp_path):
    config = small_config(tmp_path, steps=1)
    with Registry.open(tmp_path) as registry:
        first = execute(STAGE, config, registry, SilentProgress())
        assert execute(STAGE, config, registry, SilentProgress()).artifact.ref == first.artifact.ref
        other = config.model_copy(update={"seed": 4})
        assert not execute(STAGE, other, registry, SilentProgress()).cached


def test_hicra_stops_when_no_token_is_a_planning_token_and_publishes_nothing(tmp_path):
    with Registry.open(tmp_path) as registry:
        draft = registry.begin("gram-set", "foreign")
        (draft.path / "grams.jsonl").write_text('{"gram": "by the pigeonhole principle", "move": "deduction"}\n')
        draft.publish()
    with pytest.raises(TrainingError, match=r"none of the .* is a planning token"):
        train(tmp_path, gram_set="gram-set:foreign")
    with Registry.open(tmp_path) as registry:
        assert registry.list("training") == []


def test_a_coverage_outside_the_bounds_warns_once(tmp_path):
    progress = SilentProgress()
    with Registry.open(tmp_path) as registry:
        execute(STAGE, small_config(tmp_path, steps=2, coverage={"high": 0.001}), registry, progress)
    assert len([each for each in progress.warnings if "planning tokens, outside" in each]) == 1


@pytest.mark.parametrize(
    ("settings", "exit_code"),
    [({"policy": "policy:absent"}, 3), ({"gram_set": "gram-set:absent"}, 3), ({"policy": "./absent"}, 2)],
)
def test_a_policy_or_gram_set_that_is_not_there_ends_with_its_exit_code(tmp_path, settings, exit_code):
    with pytest.raises(HicraError, match="absent") as caught:
        train(tmp_path, **settings)
    assert caught.value.exit_code == exit_code


def test_the_evaluation_inside_a_run_names_the_best_policy(tmp_path):
    artifact, policies = train(tmp_path, eval_every=2, eval_prompts=8)
    accuracy = {
        each["step"]: each["eval/accuracy"] for each in comparable_steps(artifact.path) if "eval/accuracy" in each
    }
    assert sorted(accuracy) == [2, 4]
    with Registry.open(tmp_path) as registry:
        best = registry.resolve("policy:hicra@best")
    assert best.ref == policies[0 if accuracy[2] >= accuracy[4] else 1].ref


@pytest.mark.gpu
def test_a_run_on_a_gpu_keeps_engine_and_trainer_together(tmp_path, device):
    """`pytest -m gpu --device cuda`; bfloat16 compute over float32 masters."""
    config = small_config(tmp_path, steps=2).model_copy(update={"device": device})
    with Registry.open(tmp_path) as registry:
        artifact = execute(STAGE, config, registry, SilentProgress()).artifact
    for record in comparable_steps(artifact.path):
        assert record["policy/probe_nats"] < 0.25
        assert record["policy/mismatch_max_nats"] is None or record["policy/mismatch_max_nats"] < 0.25
