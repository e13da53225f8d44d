"""Shards of an evaluation: every question once, and merged the bytes and the key of the whole."""

import json

import pytest

from hicra_cli.core.errors import ArtifactError, UsageError
from hicra_cli.core.progress import SilentProgress
from hicra_cli.core.registry import Registry
from hicra_cli.grams.gram_set import GramSet
from hicra_cli.stages.base import execute
from hicra_cli.stages.eval_merge import merge_stage
from tests.stages.test_eval import config, evaluate, rows_of, summary_of

FILES = ("samples.jsonl", "summary.json")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A registry with the three shards of 8 countdown questions and 2 of a file, which has none for shard 3."""
    home = tmp_path_factory.mktemp("shards")
    (home / "two.jsonl").write_text(
        '{"id": "one", "problem": "What is 1 + 1?", "answer": "2"}\n'
        '{"id": "two", "problem": "What is 1 + 2?", "answer": "3"}\n'
    )
    for number in (1, 2, 3):
        evaluate(settings(home, shard=f"{number}/3"))
    return home


def settings(home, *, at=None, **changes):
    return config(at or home, bench=["countdown", str(home / "two.jsonl")], **changes)


def merge(home, *references, force=False, **changes):
    with Registry.open(home) as registry:
        return execute(merge_stage(references), settings(home, **changes), registry, SilentProgress(), force=force)


def names(*numbers):
    return [f"evaluation:nano-countdown-two.shard-{number}-of-3" for number in numbers]


def test_every_question_is_in_one_shard(home):
    with Registry.open(home) as registry:
        parts = [rows_of(registry.resolve(name)) for name in names(1, 2, 3)]
    questions = [{(row["bench"], row["question"]) for row in rows} for rows in parts]
    assert [len(each) for each in questions] == [3 + 1, 3 + 1, 2]
    assert len(set.union(*questions)) == 10
    assert [len(rows) for rows in parts] == [8, 8, 4]


def test_a_shard_says_which_part_it_is(home):
    with Registry.open(home) as registry:
        summary = summary_of(registry.resolve(names(2)[0]))
    assert (summary["shard"]["number"], summary["shard"]["count"]) == (2, 3)
    assert summary["bench"]["countdown"]["questions"] == 3


def test_merged_shards_have_the_bytes_and_the_key_of_the_whole(home, tmp_path):
    whole = evaluate(settings(home, at=tmp_path)).artifact
    merged = merge(home, *names(3, 1, 2)).artifact
    assert merged.ref == whole.ref == "evaluation:nano-countdown-two@v1"
    for name in FILES:
        assert (merged.path / name).read_bytes() == (whole.path / name).read_bytes()
    assert merged.summary == whole.summary
    again = evaluate(settings(home))  # the whole is there already
    assert again.cached
    assert again.artifact.ref == merged.ref
    with Registry.open(home) as registry:
        roles = {role: parent.name for parent, role in registry.inputs(merged)}
    assert roles == {f"shard-{number}": f"nano-countdown-two.shard-{number}-of-3" for number in (1, 2, 3)}


def test_shards_from_another_machine_are_merged_by_the_digests_of_what_they_were_made_from(tmp_path):
    there, here = tmp_path / "there", tmp_path / "here"
    with Registry.open(there) as registry:
        for phrase in ("let's start with", "the answer is"):
            draft = registry.begin("gram-set", "g")
            GramSet.from_phrases([phrase]).save(draft.path)
            draft.publish(inputs=[], summary={})
    merged = []
    for version in (1, 2):
        asked = {"gram_set": f"gram-set:g@v{version}", "name": f"g{version}"}
        shards = [evaluate(config(there, shard=f"{number}/2", **asked)).artifact for number in (1, 2)]
        with Registry.open(there) as registry:
            registry.export_bundle(shards, tmp_path / f"{version}.zip", with_lineage=False)
        with Registry.open(here) as registry:
            imported = registry.import_bundle(tmp_path / f"{version}.zip")
        merged.append(merge(here, *(each.ref for each in imported), name="same"))
        whole = evaluate(config(there, **asked)).artifact
        for name in FILES:
            assert (merged[-1].artifact.path / name).read_bytes() == (whole.path / name).read_bytes()
    assert [each.cached for each in merged] == [False, False]  # other gram-sets, other evaluations


def test_merged_shards_may_get_a_name_of_their_own(home):
    assert merge(home, *names(1, 2, 3), name="joined").artifact.ref.startswith("evaluation:joined@")


def test_missing_double_and_foreign_shards_are_refused_by_name(home):
    with pytest.raises(UsageError, match="of the 3 shards of nano-countdown-two, 2/3 are not given"):
        merge(home, *names(1, 3))
    with pytest.raises(UsageError, match="shard 1/3 was given twice"):
        merge(home, *names(1, 1, 2, 3))
    other = evaluate(settings(home, shard="2/3", samples=1)).artifact
    with pytest.raises(UsageError, match="no shards of one evaluation") as failure:
        merge(home, *names(1), other.ref, *names(3))
    assert "settings.bench.countdown.samples: 2 -> 1" in failure.value.what
    whole = evaluate(config(home, name="whole")).artifact
    with pytest.raises(UsageError, match="no shard but a whole evaluation"):
        merge(home, *names(1, 2), whole.ref)


def test_a_shard_without_a_sample_is_refused_with_the_question(home, tmp_path):
    damaged = settings(home, at=tmp_path, shard="1/1", samples=2)
    artifact = evaluate(damaged).artifact
    path = artifact.path / "samples.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.chmod(0o644)
    path.write_bytes(b"".join([*lines[:3], *lines[4:]]))
    with Registry.open(tmp_path) as registry:
        found = registry.resolve(artifact.ref, check=False)
        stage = merge_stage([artifact.ref])
        assert json.loads((found.path / "summary.json").read_text())["shard"]["count"] == 1
        with pytest.raises(ArtifactError):
            execute(stage, damaged, registry, SilentProgress())
