"""curate for a control: names, contents, what the summary says, and that training never takes one by accident."""

import json

import pytest

from hicra_cli.config.root import HicraConfig
from hicra_cli.core.errors import ArtifactError, DataError
from hicra_cli.core.registry import Registry
from hicra_cli.grams.gram_set import GramSet
from hicra_cli.stages.train.run import resolve_grams

from .curate_runs import Talk, curated, grams, lines, prepare

TEXTS = [
    "So let me check 7. This implies that 4 is more. Red marbles are here. Blue boxes were there 1 the tall tree grows"
] * 4


@pytest.fixture
def registry(tmp_path):
    with Registry.open(tmp_path / "home") as opened:
        prepare(opened, tmp_path / "rollouts.jsonl", TEXTS)
        yield opened


def test_a_placebo_is_made_of_the_newest_default_set_and_named_after_it(registry):
    source = curated(registry)
    artifact = curated(registry, placebo=True)
    assert artifact.ref == "gram-set:default-placebo@v1"
    assert {role: parent.ref for parent, role in registry.inputs(artifact)}["gram_set"] == source.ref
    control = artifact.summary["control"]
    assert (control["kind"], control["of"], control["unmatched"]) == ("placebo", source.ref, 0)
    assert control["document_frequency_log_distance"] == 0  # every gram is in all four problems
    assert not set(grams(artifact)) & set(grams(source))
    assert sorted(len(gram.split()) for gram in grams(artifact)) == sorted(len(gram.split()) for gram in grams(source))
    history = lines(artifact, "history.jsonl")
    assert {line["rule"] for line in history} == {"placebo"}
    assert "stands for `so let me check`: 4 uses in 4 problems, 4 in 4" in [line["reason"] for line in history]
    assert json.loads(artifact.file("coverage.json").read_text())["planning"]["words"]["planning"] > 0
    assert artifact.file("review.html").stat().st_size > 1000


def test_another_seed_draws_another_placebo_and_the_same_seed_is_cached(registry):
    curated(registry)
    drawn = [curated(registry, placebo=True, seed=seed) for seed in (0, 0, 1, 2, 3)]
    assert drawn[0].ref == drawn[1].ref
    assert len({each.digest for each in drawn}) > 1


def test_no_gram_that_annotators_call_strategic_is_a_placebo(registry):
    source = curated(registry)
    strategic = {line["gram"] for line in lines(source, "history.jsonl") if line["move"]}
    assert "let me check" in strategic
    assert not strategic & set(grams(curated(registry, placebo=True)))


def test_a_third_is_left_out_and_the_history_says_which(registry, tmp_path):
    phrases = ["red marbles are", *(f"let me {letter}" for letter in "abcdefghi")]
    GramSet.from_phrases(phrases).save(tmp_path)
    artifact = curated(registry, gram_set=str(tmp_path / "grams.jsonl"), name="ten")
    assert artifact.summary["grams"] == 10
    thinned = curated(registry, gram_set="gram-set:ten", drop=0.3)
    assert thinned.ref == "gram-set:ten-drop-30@v1"
    assert thinned.summary["control"] == {"of": artifact.ref, "kind": "drop", "fraction": 0.3, "dropped": 3}
    verdicts = {line["gram"]: line["verdict"] for line in lines(thinned, "history.jsonl")}
    assert sorted(gram for gram, verdict in verdicts.items() if verdict == "accept") == grams(thinned)
    assert (len(verdicts), len(grams(thinned))) == (10, 7)
    assert curated(registry, gram_set="gram-set:ten", drop=0.5, name="half").ref == "gram-set:half@v1"


def test_a_placebo_without_candidates_or_without_a_gram_set_says_what_to_do(tmp_path):
    with Registry.open(tmp_path / "home") as registry:
        with pytest.raises(ArtifactError, match="gram-set:default"):
            curated(registry, placebo=True)
        GramSet.from_phrases(["let me think"]).save(tmp_path)
        with pytest.raises(ArtifactError, match="drawn from candidates") as failure:
            curated(registry, placebo=True, gram_set=str(tmp_path))
        assert "collect-grams" in str(failure.value)


def test_a_set_of_lengths_the_candidates_do_not_have_cannot_have_a_placebo(registry, tmp_path):
    GramSet.from_phrases(["a much longer gram than any here"]).save(tmp_path)
    with pytest.raises(DataError, match="lengths"):
        curated(registry, placebo=True, gram_set=str(tmp_path))


def test_training_takes_the_newest_set_that_is_no_control(registry):
    source = curated(registry)
    curated(registry, placebo=True)
    curated(registry, drop=0.5)
    config = HicraConfig.model_validate({"home": registry.home, "train": {"algo": "hicra"}})
    chosen = resolve_grams(config, registry)
    assert chosen is not None
    assert chosen.ref == source.ref
    named = HicraConfig.model_validate({"home": registry.home, "train": {"gram_set": "gram-set:default-placebo"}})
    placebo = resolve_grams(named, registry)
    assert placebo is not None
    assert placebo.ref == "gram-set:default-placebo@v1"


def test_grams_that_nothing_can_stand_for_are_warned_about(registry, tmp_path):
    phrases = ["let me think", "a much longer gram than any here"]
    GramSet.from_phrases(phrases).save(tmp_path)
    talk = Talk()
    artifact = curated(registry, placebo=True, gram_set=str(tmp_path), progress=talk)
    assert (artifact.summary["control"]["unmatched"], artifact.summary["control"]["unknown_frequency"]) == (1, 0)
    assert [each for each in talk.warnings if "1 grams have no n-gram of their length left" in each]
