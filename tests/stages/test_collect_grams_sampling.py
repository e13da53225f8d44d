"""collect-grams: sampling policies and checkpoints, kept rollout by rollout."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from hicra_cli.config.root import HicraConfig
from hicra_cli.core.progress import SilentProgress
from hicra_cli.core.records import FinishReason, Prompt, Rollout
from hicra_cli.core.registry import Registry
from hicra_cli.grams.rollout_file import RolloutRow, read_rollouts
from hicra_cli.stages import collect_grams, rollouts
from hicra_cli.stages.base import execute
from hicra_cli.stages.sampled_rollouts import SampledRollouts

ROOT = Path(__file__).parents[2]


@pytest.fixture
def registry(tmp_path):
    with Registry.open(tmp_path / "home") as opened:
        yield opened


SMALL = {"num_prompts": 24, "samples": 2, "min_document_frequency": 1, "successful_only": False}


def sampling(registry, **collect) -> HicraConfig:
    return HicraConfig.model_validate(
        {"home": registry.home, "device": "cpu", "threads": 1, "collect": {**SMALL, **collect}}
    )


def sampled(registry, artifact) -> list[RolloutRow]:
    ((source, _),) = registry.inputs(artifact)
    return list(read_rollouts(source.file("rollouts.parquet")))


def test_the_embedded_policy_is_sampled_and_graded(registry):
    artifact = collect_grams.run(sampling(registry), registry, SilentProgress())
    ((source, _),) = registry.inputs(artifact)
    kept = list(read_rollouts(source.file("rollouts.parquet")))
    assert len(kept) == 48
    assert {row.policy for row in kept} == {"nano"}
    assert all(row.outcome is not None and row.token_ids is not None and row.text for row in kept)
    assert [entry.path for entry in source.files] == ["rollouts.parquet"]
    assert source.summary["external_inputs"]["policy-000"]["ref"] == "nano"


def test_each_policy_draws_the_same_samples_of_the_same_prompts(registry, nano_path):
    config = sampling(registry, policies=["nano", str(nano_path)], num_prompts=3, samples=2)
    rows = sampled(registry, collect_grams.run(config, registry, SilentProgress()))
    drawn = {
        policy: [(row.prompt_id, row.sample) for row in rows if row.policy == policy]
        for policy in {r.policy for r in rows}
    }
    assert len(drawn) == 2
    first, second = drawn.values()
    assert first == second
    assert len(first) == 6


def test_the_checkpoints_of_a_training_are_sampled_with_their_steps(registry, nano_path):
    references = []
    for step in (10, 20, 30):
        draft = registry.begin("policy", "t")
        for path in nano_path.iterdir():
            if path.is_file():
                (draft.path / path.name).write_bytes(path.read_bytes())
        references.append({"step": step, "policy": draft.publish(summary={"step": step}).ref})
    draft = registry.begin("training", "t")
    (draft.path / "policies.json").write_text(json.dumps(references))
    draft.publish()
    config = sampling(registry, training="training:t", points=2, num_prompts=2, samples=1)
    artifact = collect_grams.run(config, registry, SilentProgress())
    assert [(row.step, row.policy) for row in sampled(registry, artifact)] == [
        (10, "policy:t@v1"), (10, "policy:t@v1"), (30, "policy:t@v3"), (30, "policy:t@v3"),
    ]  # fmt: skip
    assert artifact.summary["groups"] == {
        "policy:t@v1, step 10": {"rollouts": 2, "counted": 2}, "policy:t@v3, step 30": {"rollouts": 2, "counted": 2},
    }  # fmt: skip
    # A policy named by itself knows its step too.
    named = sampling(registry, policies=["policy:t@v2"], num_prompts=1, samples=1)
    assert [row.step for row in sampled(registry, collect_grams.run(named, registry, SilentProgress()))] == [20]


def test_more_prompts_than_the_task_has_are_drawn_once(registry, tmp_path):
    problems = tmp_path / "train.jsonl"
    problems.write_text("".join(json.dumps({"problem": f"{at}+1?", "answer": str(at + 1)}) + "\n" for at in range(12)))
    progress = SilentProgress()
    short = {"max_new_tokens": 4}
    config = sampling(registry, num_prompts=24, samples=1, sampling=short).model_dump(mode="json")
    config["task"] |= {"kind": "maths", "train_data": str(problems), "id_field": None}
    artifact = execute(rollouts.STAGE, HicraConfig.model_validate(config), registry, progress).artifact
    ids = [row.prompt_id for row in read_rollouts(artifact.file("rollouts.parquet"))]
    assert len(ids) == len(set(ids)) < 24
    assert any("fewer than collect.num_prompts" in warning for warning in progress.warnings)


def kept_lines(home: Path) -> list[bytes]:
    return [
        line for path in home.glob("staging/*/files/sampled/*.jsonl") for line in path.read_bytes().splitlines(True)
    ]


def start(config: HicraConfig, tmp_path: Path) -> subprocess.Popen[bytes]:
    path = tmp_path / "config.json"
    path.write_text(config.model_dump_json())
    command = [sys.executable, "-m", "tests.stages.collect_process", str(path)]
    return subprocess.Popen(command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"})


def test_a_sampling_killed_in_the_middle_goes_on_with_the_missing_rollouts_only(registry, tmp_path):
    config = sampling(registry, num_prompts=160, samples=2)
    with Registry.open(tmp_path / "whole") as other:
        source = execute(rollouts.STAGE, config, other, SilentProgress()).artifact
        whole = list(read_rollouts(source.file("rollouts.parquet")))
        unbroken = source.file("rollouts.parquet").read_bytes()

    process = start(config, tmp_path)
    while len(kept_lines(registry.home)) < 20:
        assert process.poll() is None, "finished before it could be killed"
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = [line for line in kept_lines(registry.home) if line.endswith(b"\n")]
    assert 20 <= len(before) < 320

    drawn: list[tuple[str, int]] = []
    config_again = start_and_record(config, registry, drawn)
    done = {(row["prompt"], row["sample"]) for row in map(json.loads, before)}
    assert set(drawn) == {(row.prompt_id, row.sample) for row in whole} - done
    assert len(drawn) == 320 - len(done)
    again = sampled(registry, config_again)
    assert [(row.prompt_id, row.sample, row.text, row.outcome) for row in again] == [
        (row.prompt_id, row.sample, row.text, row.outcome) for row in whole
    ]
    ((source, _),) = registry.inputs(config_again)
    assert source.file("rollouts.parquet").read_bytes() == unbroken


def start_and_record(config, registry, drawn):
    """Resume in this process and note what the engine was asked for, by what it added to the draft."""
    real = SampledRollouts.add

    def add(self, rollout):
        drawn.append((rollout.prompt.id, rollout.sample))
        real(self, rollout)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(SampledRollouts, "add", add)
        return execute(collect_grams.STAGE, config, registry, SilentProgress(), resume=True).artifact


def rollout(prompt: Prompt, sample: int, *tokens: int, text: str = "so") -> Rollout:
    logprobs = (-np.array(tokens) / 3).astype(np.float32)
    ids = np.array(tokens, np.int32)
    return Rollout(prompt, sample, np.array([7], np.int32), ids, text, FinishReason.LENGTH, logprobs)


def test_kept_rollouts_are_read_back_exactly_and_in_order(tmp_path):
    first, second = Prompt("a", "1+1?", "2"), Prompt("b", "1+2?", "3")
    with SampledRollouts(tmp_path / "x.jsonl") as kept:
        kept.add(rollout(second, 0, 5))
        kept.add(rollout(first, 1, 3, 4, text="half \ud83d pair\u2028"))
        kept.add(rollout(first, 0, 1, 2))
    with SampledRollouts(tmp_path / "x.jsonl") as kept:
        assert not kept.torn
        assert len(kept) == 3
        assert kept.missing("b", range(2)) == (1,)
        kept.add(rollout(second, 1, 6))
        back = list(kept.read([first, second], range(2)))
    assert [(each.prompt, each.sample, each.token_ids.tolist()) for each in back] == [
        (first, 0, [1, 2]), (first, 1, [3, 4]), (second, 0, [5]), (second, 1, [6]),
    ]  # fmt: skip
    assert back[1].text == "half \ud83d pair\u2028"
    assert back[1].finish_reason is FinishReason.LENGTH
    np.testing.assert_array_equal(back[1].sampler_logprobs, np.array([-1, -4 / 3], np.float32))


def test_a_torn_last_line_is_cut_and_its_rollout_is_missing(tmp_path):
    prompt, path = Prompt("a", "1+1?", "2"), tmp_path / "x.jsonl"
    with SampledRollouts(path) as kept:
        kept.add(rollout(prompt, 0, 1))
        whole = path.read_bytes()
        kept.add(rollout(prompt, 1, 2))
    path.write_bytes(path.read_bytes()[:-5])
    with SampledRollouts(path) as kept:
        assert kept.torn
        assert kept.missing("a", range(2)) == (1,)
        assert path.read_bytes() == whole
