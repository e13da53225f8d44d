"""curate from lists and gram-sets: with and without annotations, who decided, what is refused, what is exported."""

import json

import pytest

from hicra_cli.config.root import HicraConfig
from hicra_cli.core.errors import ArtifactError, ConfigError, DataError
from hicra_cli.core.records import Move
from hicra_cli.core.registry import Registry
from hicra_cli.grams.gram_set import GramSet
from hicra_cli.grams.lists import read_gram_list
from hicra_cli.stages import curate
from hicra_cli.stages.base import stage_key

from .curate_runs import TEXT, Talk, configured, curated, decisions_file, grams, lines, prepare


@pytest.fixture
def empty(tmp_path):
    with Registry.open(tmp_path / "home") as opened:
        yield opened


@pytest.fixture
def registry(empty, tmp_path):
    prepare(empty, tmp_path / "rollouts.jsonl", [TEXT] * 4)
    return empty


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text("# ours\nRed marbles are\tbranching\nlet us look elsewhere\nthis implies that\n")
    return path


def test_a_list_alone_becomes_a_gram_set_without_any_annotation(empty, mine):
    talk = Talk()
    artifact = curated(empty, imports=[mine], name="mine", progress=talk)
    assert artifact.ref == "gram-set:mine@v1"
    assert lines(artifact, "grams.jsonl")[1] == {
        "gram": "red marbles are", "move": "branching", "cluster": None, "document_frequency": None, "count": None,
        "confidence": None, "source": f"import:{mine}",
    }  # fmt: skip
    history = lines(artifact, "history.jsonl")
    assert {(line["verdict"], line["by"], line["rule"]) for line in history} == {("accept", f"import:{mine}", "listed")}
    assert artifact.summary["accepted_by"] == {"import": 3}
    assert artifact.summary["external_inputs"]["import-000"]["ref"] == str(mine)
    assert [note for note in talk.notes if "could not measure coverage" in note]


def test_a_list_joins_the_annotations_that_are_there(registry, mine):
    artifact = curated(registry, imports=[mine])
    sources = {line["gram"]: (line["source"], line["move"], line["count"]) for line in lines(artifact, "grams.jsonl")}
    assert sources == {
        "so let me check": ("lexicon", "backtracing", 4),
        "this implies that": (f"import:{mine}", "deduction", 4),
        "red marbles are": (f"import:{mine}", "branching", 4),
        "let us look elsewhere": (f"import:{mine}", None, None),
    }
    report = json.loads(artifact.file("coverage.json").read_text())
    assert report["never_matched"] == ["let us look elsewhere"]


def test_annotations_are_left_out_when_told_and_figures_come_from_the_newest_candidates(registry, mine):
    artifact = curated(registry, imports=[mine], annotations="none", name="mine")
    assert grams(artifact) == ["red marbles are", "this implies that", "let us look elsewhere"]
    assert [line["document_frequency"] for line in lines(artifact, "grams.jsonl")] == [4, 4, None]
    assert {role for _, role in registry.inputs(artifact)} == {"newest_candidates"}


def test_a_persons_decision_stands_above_a_list(registry, mine, tmp_path):
    path = decisions_file(tmp_path, {"gram": "red marbles are", "decision": "reject", "reason": "no plan"})
    artifact = curated(registry, imports=[mine], decisions=path)
    assert "red marbles are" not in grams(artifact)
    history = {line["gram"]: line for line in lines(artifact, "history.jsonl")}
    assert (history["red marbles are"]["by"], history["red marbles are"]["reason"]) == ("person", "no plan")


def test_without_annotations_and_lists_curate_says_what_to_do(empty):
    with pytest.raises(ArtifactError, match="annotations:default") as failure:
        curated(empty)
    assert "annotate-grams" in str(failure.value)
    with pytest.raises(DataError, match="--import"):
        curated(empty, annotations="none")


def test_named_annotations_must_be_there_even_with_a_list(empty, mine):
    with pytest.raises(ArtifactError, match="annotations:absent"):
        curated(empty, imports=[mine], annotations="annotations:absent")


def test_a_bad_list_publishes_nothing_and_loses_nothing(registry, mine):
    mine.write_text("red marbles are\nso we\n")
    with pytest.raises(DataError, match="has 2 words") as failure:
        curated(registry, imports=[mine])
    assert failure.value.where == f"{mine}:2"
    assert registry.list("gram-set") == []
    assert registry.unfinished("gram-set") == []
    config = HicraConfig.model_validate(
        {"home": registry.home, "collect": {"ngram_min": 2}, "curate": {"imports": [mine]}}
    )
    assert "so we" in grams(curate.run(config, registry, Talk()))
    with pytest.raises(DataError, match="--import"):
        curated(registry, imports=[mine.with_name("absent.txt")])


def test_a_decision_cannot_add_a_gram_of_two_or_sixty_words(registry, tmp_path):
    for gram, number in (("so we", 2), ("so " * 60, 60)):
        path = decisions_file(tmp_path, {"gram": gram, "decision": "accept"})
        with pytest.raises(DataError, match=f"with {number} words is accepted, 3 to 5") as failure:
            curated(registry, decisions=path)
        assert failure.value.where == str(path)
    assert curated(registry, decisions=decisions_file(tmp_path, {"gram": "so we", "decision": "reject"}))


def test_a_changed_list_is_another_run_and_an_equal_one_is_cached(registry, mine):
    first = curated(registry, imports=[mine])
    assert curated(registry, imports=[mine]).ref == first.ref
    mine.write_text(mine.read_text() + "wholly other words\n")
    assert curated(registry, imports=[mine]).ref != first.ref


def test_a_gram_set_is_gone_on_with_and_keeps_name_moves_and_sources(registry, tmp_path):
    first = curated(registry, name="first")
    path = decisions_file(tmp_path, {"gram": "red marbles are", "decision": "accept", "move": "branching"})
    second = curated(registry, gram_set="gram-set:first", decisions=path)
    assert second.ref == "gram-set:first@v2"
    assert {line["gram"]: (line["source"], line["move"]) for line in lines(second, "grams.jsonl")} == {
        "so let me check": ("lexicon", "backtracing"),
        "this implies that": ("lexicon", "deduction"),
        "red marbles are": ("person", "branching"),
    }
    history = {line["gram"]: line for line in lines(second, "history.jsonl")}
    assert (history["this implies that"]["by"], history["this implies that"]["reason"]) == (first.ref, "from lexicon")
    assert history["red marbles are"]["rule"] == "missed"
    assert second.summary["coverage"]["planning_words"] == 10 / 14


def test_a_file_and_a_folder_can_be_gone_on_with_too(empty, tmp_path):
    (tmp_path / "My Set").mkdir()
    GramSet.from_phrases(["let me think", "so we have"], [Move.DEDUCTION, None]).save(tmp_path / "My Set")
    artifact = curated(empty, gram_set=str(tmp_path / "My Set"))
    assert artifact.ref == "gram-set:my-set@v1"
    assert GramSet.load(artifact.path).digest != ""
    again = curated(empty, gram_set=str(tmp_path / "My Set" / "grams.jsonl"))
    assert grams(again) == grams(artifact) == ["let me think", "so we have"]
    for absent in ("no-such-set", str(tmp_path / "absent.jsonl")):
        with pytest.raises((ArtifactError, DataError), match="no gram-set"):
            curated(empty, gram_set=absent)


@pytest.mark.parametrize("name", ["out.txt", "out.jsonl"])
def test_the_accepted_grams_are_exported_also_when_the_run_is_cached(registry, tmp_path, name):
    target = tmp_path / "folder" / name
    for _ in range(2):
        artifact = curated(registry, export=target)
        assert {gram.text: gram.move for gram in read_gram_list(target)} == {
            line["gram"]: Move(line["move"]) for line in lines(artifact, "grams.jsonl")
        }
        target.unlink()
    assert artifact.ref == "gram-set:default@v1"


def test_what_was_exported_is_imported_again_as_the_same_grams(registry, empty, tmp_path):
    first = curated(registry, export=tmp_path / "out.txt")
    second = curated(registry, imports=[tmp_path / "out.txt"], annotations="none", name="again")
    assert sorted(grams(second)) == sorted(grams(first))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"placebo": True, "drop": 0.3}, "two controls"),
        ({"placebo": True, "imports": ["x.txt"]}, "imports does not apply"),
        ({"drop": 0.3, "annotations": "annotations:default"}, "annotations does not apply"),
        ({"gram_set": "default-en", "annotations": "annotations:default"}, "two places to start from"),
        ({"interactive": True, "audit": 10}, "two rounds"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings, message):
    from hicra_cli.config.load import load_config

    with pytest.raises(ConfigError, match=message):
        load_config(settings=[f"curate.{name}={json.dumps(value)}" for name, value in settings.items()], environ={})


def test_where_the_set_is_exported_to_does_not_matter_for_the_cache(registry, tmp_path):
    plans = [
        curate.plan(configured(registry, **settings), registry) for settings in ({}, {"export": tmp_path / "out.txt"})
    ]
    assert stage_key(curate.STAGE, plans[0]) == stage_key(curate.STAGE, plans[1])
