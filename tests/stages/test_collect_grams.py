"""collect-grams: from files and from policies to rollouts and candidates."""

import json

import pytest

from hicra_cli.config.root import HicraConfig
from hicra_cli.core.errors import ArtifactError, DataError, RunError
from hicra_cli.core.progress import SilentProgress
from hicra_cli.core.registry import Registry
from hicra_cli.grams.candidate_file import read_candidates
from hicra_cli.grams.rollout_file import read_rollouts
from hicra_cli.stages import collect_grams, rollouts
from hicra_cli.stages.base import execute


@pytest.fixture
def registry(tmp_path):
    with Registry.open(tmp_path / "home") as opened:
        yield opened


def rows(number: int = 4) -> list[dict[str, object]]:
    """`number` problems, each solved rightly, wrongly and unjudged."""
    return [
        {"problem": f"problem {at}", "response": f"So let me {verb} it, says {at}.", "correct": correct, "model": "m"}
        for at in range(number)
        for verb, correct in (("check", True), ("guess", False), ("doubt", None))
    ]


def write(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def configured(registry, path, **collect) -> HicraConfig:
    return HicraConfig.model_validate({"home": registry.home, "collect": {"rollouts": [path], **collect}})


def collected(registry, config):
    return collect_grams.run(config, registry, SilentProgress())


def test_successful_solutions_are_counted_and_the_rest_is_named(registry, tmp_path):
    path = write(tmp_path / "r.jsonl", rows())
    artifact = collected(registry, configured(registry, path))
    found = read_candidates(artifact.file("candidates.parquet"))
    assert {each.gram for each in found} == {
        "so let me", "let me check", "me check it", "check it says", "so let me check", "let me check it",
        "me check it says", "so let me check it", "let me check it says",
    }  # fmt: skip
    assert {each.document_frequency for each in found} == {4}
    assert artifact.summary["left_out"] == {"unknown": 4, "wrong": 4}
    assert json.loads(artifact.file("counts.json").read_text())["problems"] == 4


def test_the_rollouts_become_an_artifact_that_the_candidates_name_as_input(registry, tmp_path):
    artifact = collected(registry, configured(registry, write(tmp_path / "r.jsonl", rows())))
    ((source, role),) = registry.inputs(artifact)
    assert (source.kind, role) == ("rollouts", "rollouts")
    kept = list(read_rollouts(source.file("rollouts.parquet")))
    assert [row.text for row in kept] == [row["response"] for row in rows()]
    assert source.summary["outcomes"] == {"correct": 4, "unknown": 4, "wrong": 4}


def test_other_counting_settings_do_not_read_or_sample_again(registry, tmp_path):
    path = write(tmp_path / "r.jsonl", rows())
    first = collected(registry, configured(registry, path))
    assert collected(registry, configured(registry, path)).ref == first.ref
    second = collected(registry, configured(registry, path, unknown_is_success=True))
    assert second.ref != first.ref
    assert registry.inputs(second) == registry.inputs(first)
    assert {"so let me doubt", "so let me check"} <= {
        each.gram for each in read_candidates(second.file("candidates.parquet"))
    }
    everything = collected(registry, configured(registry, path, successful_only=False))
    assert everything.summary["solutions"] == 12


def test_a_changed_file_is_read_again(registry, tmp_path):
    path = write(tmp_path / "r.jsonl", rows())
    first = collected(registry, configured(registry, path))
    write(path, rows(5))
    assert collected(registry, configured(registry, path)).ref != first.ref


def test_the_order_of_the_rows_does_not_change_the_candidates(registry, tmp_path):
    forward = collected(registry, configured(registry, write(tmp_path / "a.jsonl", rows())))
    backward = collected(registry, configured(registry, write(tmp_path / "b.jsonl", rows()[::-1])))
    assert forward.digest == backward.digest


def test_rollouts_without_a_verdict_are_graded_against_their_gold(registry, tmp_path):
    lines = [
        {"problem": f"p{at}", "response": f"so let me see now: \\boxed{{{answer}}}", "gold": "0.5"}
        for at in range(3)
        for answer in ("0.50", "7")
    ]
    artifact = collected(registry, configured(registry, write(tmp_path / "r.jsonl", lines)))
    assert artifact.summary["solutions"] == 3
    assert artifact.summary["left_out"] == {"wrong": 3}


def test_a_rollouts_artifact_can_be_read_again_as_a_file(registry, tmp_path):
    artifact = collected(registry, configured(registry, write(tmp_path / "r.jsonl", rows())))
    ((source, _),) = registry.inputs(artifact)
    again = collected(registry, configured(registry, source.file("rollouts.parquet")))
    assert again.digest == artifact.digest


def test_without_success_nothing_is_published_and_the_outcomes_are_named(registry, tmp_path):
    path = write(tmp_path / "r.jsonl", [row for row in rows() if row["correct"] is not True])
    with pytest.raises(RunError, match="4 unknown, 4 wrong") as failure:
        collected(registry, configured(registry, path))
    assert "unknown_is_success" in str(failure.value)
    assert registry.list("candidates") == []


def test_too_few_problems_say_which_threshold_they_miss(registry, tmp_path):
    path = write(tmp_path / "r.jsonl", rows(2))
    with pytest.raises(RunError, match="in 3 of 2 problems"):
        collected(registry, configured(registry, path))


def test_a_malformed_line_is_named_and_nothing_is_published(registry, tmp_path):
    path = write(tmp_path / "r.jsonl", rows())
    with path.open("a") as stream:
        stream.write('{"problem": "p"}\n')
    with pytest.raises(DataError) as failure:
        collected(registry, configured(registry, path))
    assert failure.value.where == f"{path}:13"
    assert registry.list() == []


def test_a_missing_and_an_empty_file_are_data_errors(registry, tmp_path):
    with pytest.raises(DataError, match="--rollouts"):
        collected(registry, configured(registry, tmp_path / "none.jsonl"))
    with pytest.raises(DataError, match="no rollout"):
        collected(registry, configured(registry, write(tmp_path / "empty.jsonl", [])))


def test_an_unknown_training_is_an_artifact_error(registry):
    config = HicraConfig.model_validate({"home": registry.home, "collect": {"training": "training:none"}})
    with pytest.raises(ArtifactError):
        collected(registry, config)


def test_points_are_spread_evenly_over_the_run():
    checkpoints = [(step, f"policy:x@v{step}") for step in range(1, 10)]
    assert [step for step, _ in rollouts.spread(checkpoints, 3)] == [1, 5, 9]
    assert [step for step, _ in rollouts.spread(checkpoints, 1)] == [9]
    assert rollouts.spread(checkpoints, 20) == checkpoints
    assert [step for step, _ in rollouts.spread(checkpoints, 5)] == [1, 3, 5, 7, 9]


SMALL = {"num_prompts": 24, "samples": 2, "min_document_frequency": 1, "successful_only": False}


def sampling(registry, **collect) -> HicraConfig:
    return HicraConfig.model_validate(
        {"home": registry.home, "device": "cpu", "threads": 1, "collect": {**SMALL, **collect}}
    )


def test_the_embedded_policy_is_sampled_and_graded(registry):
    artifact = collected(registry, sampling(registry))
    ((source, _),) = registry.inputs(artifact)
    kept = list(read_rollouts(source.file("rollouts.parquet")))
    assert len(kept) == 48
    assert {row.policy for row in kept} == {"nano"}
    assert all(row.outcome is not None and row.token_ids is not None and row.text for row in kept)
    lengths = [(len(row.token_ids), len(row.sampler_logprobs)) for row in kept]  # type: ignore[arg-type]
    assert all(tokens == logprobs for tokens, logprobs in lengths)
    assert not (source.path / "parts").exists()
    assert source.summary["external_inputs"]["policy-000"]["ref"] == "nano"


def test_a_killed_sampling_goes_on_with_the_missing_chunks_and_gives_the_same_bytes(registry, tmp_path, monkeypatch):
    monkeypatch.setattr(rollouts, "PROMPTS_PER_CHUNK", 8)
    config = sampling(registry)
    with Registry.open(tmp_path / "whole") as other:
        whole = execute(rollouts.STAGE, config, other, SilentProgress()).artifact

    class Killed(BaseException):
        pass

    def replace(source, target, real=rollouts.os.replace):
        real(source, target)
        if target.name.endswith("000000008.parquet"):
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(rollouts.os, "replace", replace)
        with pytest.raises(Killed):
            collected(registry, config)
    (waiting,) = registry.unfinished("rollouts")
    parts = sorted(path.name for path in registry.home.glob("staging/*/files/parts/*"))
    assert parts == ["policy-000-000000000.parquet", "policy-000-000000008.parquet"]
    artifact = collected(registry, config)
    ((source, _),) = registry.inputs(artifact)
    assert source.digest == whole.digest
    assert registry.unfinished("rollouts") == [] or waiting.key != source.key
