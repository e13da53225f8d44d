"""collect-grams: from files and from policies to rollouts and candidates."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hicra_cli.config.root import HicraConfig
from hicra_cli.core.errors import ArtifactError, DataError, RunError
from hicra_cli.core.progress import SilentProgress
from hicra_cli.core.registry import Registry
from hicra_cli.grams.candidate_file import read_candidates
from hicra_cli.grams.rollout_file import read_rollouts
from hicra_cli.stages import collect_grams, rollouts


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
    artifact = collected(registry, configured(registry, path, merge_phrases=False))
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
    assert {"so let me", "so let me check it", "so let me doubt it"} == {
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
    assert registry.unfinished("rollouts") == []  # reading begins anew, so nothing is kept of it


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


def test_failures_are_counted_for_comparison_only(registry, tmp_path):
    lines = [
        {"problem": f"p{at}", "response": response, "correct": correct}
        for at in range(4)
        for response, correct in (("so let me check", True), ("so let me check", False), ("so let me guess", False))
    ]
    artifact = collected(registry, configured(registry, write(tmp_path / "r.jsonl", lines), merge_phrases=False))
    found = {each.gram: each for each in read_candidates(artifact.file("candidates.parquet"))}
    assert (found["so let me"].solutions, found["so let me"].failures) == (4, 8)
    assert (found["let me check"].solutions, found["let me check"].failures) == (4, 4)
    assert "let me guess" not in found
    assert (artifact.summary["solutions"], artifact.summary["failures"]) == (4, 8)
    check, let = (found[gram].scores.log_odds for gram in ("let me check", "so let me"))
    assert check is not None
    assert let is not None
    assert check > let


def test_candidates_come_by_rank_with_contexts_and_nothing_else_is_published(registry, tmp_path):
    artifact = collected(registry, configured(registry, write(tmp_path / "r.jsonl", rows()), contexts=2))
    found = read_candidates(artifact.file("candidates.parquet"))
    ranks = [each.scores.rank for each in found]
    assert ranks == sorted(ranks, reverse=True)
    assert all(len(each.contexts) == 2 and each.gram in each.contexts[0].lower().replace(",", "") for each in found)
    assert sorted(entry.path for entry in artifact.files) == ["candidates.parquet", "counts.json"]


def test_names_of_the_problems_and_windows_of_phrases_are_dropped_and_counted(registry, tmp_path):
    lines = [
        {"problem": f"Who is it that Ann met when Ann was {at}?", "response": "So let me ask Ann.", "correct": True}
        for at in range(4)
    ]
    path = write(tmp_path / "r.jsonl", lines)
    artifact = collected(registry, configured(registry, path))
    assert [each.gram for each in read_candidates(artifact.file("candidates.parquet"))] == ["so let me ask"]
    # with "ann": let me ask ann, me ask ann, so let me ask ann; inside the longest: so let me, let me ask
    assert artifact.summary["dropped"]["names"] == 3
    assert artifact.summary["dropped"]["nested"] == 2
    kept = collected(registry, configured(registry, path, drop_names=False))
    assert [each.gram for each in read_candidates(kept.file("candidates.parquet"))] == ["so let me ask ann"]


def test_the_summary_shows_how_rollouts_are_spread_over_policies_and_steps(registry, tmp_path):
    lines = [{**row, "step": step} for row in rows() for step in (0, 100)]
    artifact = collected(registry, configured(registry, write(tmp_path / "r.jsonl", lines)))
    assert artifact.summary["groups"] == {
        "m, step 0": {"rollouts": 12, "counted": 4}, "m, step 100": {"rollouts": 12, "counted": 4},
    }  # fmt: skip
    # Two steps: growth is known, and nothing grew.
    assert {each.scores.growth for each in read_candidates(artifact.file("candidates.parquet"))} == {0.0}


def test_memory_and_workers_do_not_count_again(registry, tmp_path):
    path = write(tmp_path / "r.jsonl", rows())
    first = collected(registry, configured(registry, path, memory="500MB", workers=1))
    assert collected(registry, configured(registry, path, memory="2GB", workers=2)).ref == first.ref
    assert collected(registry, configured(registry, path, rank_by="document_frequency")).ref != first.ref


def test_a_rollouts_artifact_is_used_as_it_is(registry, tmp_path):
    first = collected(registry, configured(registry, write(tmp_path / "r.jsonl", rows())))
    ((source, _),) = registry.inputs(first)
    again = collected(registry, configured(registry, source.ref, name="again"))
    assert again.digest == first.digest
    assert registry.inputs(again) == [(source, "rollouts")]
    assert registry.list("rollouts") == [source]


def test_an_unknown_rollouts_artifact_is_an_artifact_error(registry):
    with pytest.raises(ArtifactError, match="none"):
        collected(registry, configured(registry, "rollouts:none"))


def training(registry, *, steps=(1, 2), files=True):
    """A training that stored rollouts under the trainer's column names."""
    draft = registry.begin("training", "t")
    (draft.path / "steps.jsonl").write_text("")
    for step in steps if files else ():
        (draft.path / "rollouts").mkdir(exist_ok=True)
        columns = {
            "prompt_id": [f"p{at}" for at in range(3)], "sample": [0] * 3, "prompt": ["1+1?"] * 3, "answer": ["2"] * 3,
            "text": ["so let me check"] * 3, "outcome": ["correct"] * 3, "finish_reason": ["stop"] * 3,
            "token_ids": [[1]] * 3, "step": [step] * 3, "policy": ["nano"] * 3,
        }  # fmt: skip
        pq.write_table(pa.table(columns), draft.path / "rollouts" / f"step-{step:06d}.parquet")
    return draft.publish()


def test_the_rollouts_of_a_training_are_read_with_their_steps(registry, tmp_path):
    trained = training(registry)
    artifact = collected(registry, configured(registry, "training:t"))
    ((source, _),) = registry.inputs(artifact)
    kept = list(read_rollouts(source.file("rollouts.parquet")))
    assert [(row.step, row.prompt_id, row.problem, row.gold) for row in kept[::2]] == [
        (1, "p0", "1+1?", "2"), (1, "p2", "1+1?", "2"), (2, "p1", "1+1?", "2"),
    ]  # fmt: skip
    assert registry.inputs(source) == [(trained, "source-000")]


def test_a_training_without_rollouts_says_so(registry):
    training(registry, files=False)
    with pytest.raises(ArtifactError, match="kept no rollouts"):
        collected(registry, configured(registry, "training:t"))


def test_a_folder_and_a_file_are_read_one_after_the_other(registry, tmp_path):
    (tmp_path / "all" / "sub").mkdir(parents=True)
    write(tmp_path / "all" / "b.jsonl", rows(2))
    write(tmp_path / "all" / "sub" / "c.jsonl", rows(1))
    extra = write(tmp_path / "x.jsonl", rows(4)[6:])
    config = HicraConfig.model_validate({"home": registry.home, "collect": {"rollouts": [tmp_path / "all", extra]}})
    artifact = collected(registry, config)
    ((source, _),) = registry.inputs(artifact)
    kept = list(read_rollouts(source.file("rollouts.parquet")))
    assert [row.text for row in kept] == [row["response"] for row in rows(2) + rows(1) + rows(4)[6:]]
    # the third file meets the first problem again: its samples are numbered on
    assert [row.sample for row in kept] == [0, 1, 2, 0, 1, 2, 3, 4, 5, 0, 1, 2, 0, 1, 2]
    assert len(source.summary["external_inputs"]) == 3


def test_an_artifact_and_a_file_together_become_new_rollouts(registry, tmp_path):
    ((source, _),) = registry.inputs(
        collected(registry, configured(registry, write(tmp_path / "r.jsonl", rows(2)), min_document_frequency=2))
    )
    more = write(tmp_path / "x.jsonl", rows(4)[6:])
    config = HicraConfig.model_validate({"home": registry.home, "collect": {"rollouts": [source.ref, more]}})
    ((merged, _),) = registry.inputs(collected(registry, config))
    assert merged.summary["rollouts"] == 12
    assert registry.inputs(merged) == [(source, "source-000")]


def test_a_killed_counting_leaves_no_scratch_behind(registry, tmp_path, monkeypatch):
    config = configured(registry, write(tmp_path / "r.jsonl", rows()))

    def killed(*arguments, scratch, **options):
        (scratch / "spilled").write_bytes(b"x")
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(collect_grams, "count_grams", killed)
        with pytest.raises(KeyboardInterrupt):
            collected(registry, config)
    assert not list(registry.home.glob("staging/*/files/scratch"))
    assert collected(registry, config).summary["candidates"] == 1
