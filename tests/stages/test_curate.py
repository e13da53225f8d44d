"""curate: annotations to a gram-set, decisions from a file and from a person, coverage."""

import json

import pytest

from hicra_cli.config.root import HicraConfig
from hicra_cli.core.errors import DataError, UsageError
from hicra_cli.core.progress import SilentProgress
from hicra_cli.core.records import Move
from hicra_cli.core.registry import Registry
from hicra_cli.grams.gram_set import GramSet
from hicra_cli.stages import annotate_grams, collect_grams, curate
from hicra_cli.stages.base import execute

from .curate_runs import TEXT, configured, curated, decisions_file, grams, lines, prepare


@pytest.fixture
def registry(tmp_path):
    with Registry.open(tmp_path / "home") as opened:
        prepare(opened, tmp_path / "rollouts.jsonl", [TEXT] * 4)
        yield opened


def test_the_gram_set_holds_accepted_grams_and_the_history_every_ruling(registry):
    artifact = curated(registry)
    assert lines(artifact, "grams.jsonl") == [
        {
            "gram": "so let me check", "move": "backtracing", "cluster": None, "document_frequency": 4, "count": 4,
            "confidence": 0.9, "source": "lexicon",
        },
        {
            "gram": "this implies that", "move": "deduction", "cluster": None, "document_frequency": 4, "count": 4,
            "confidence": 0.9, "source": "lexicon",
        },
    ]  # fmt: skip
    history = {line["gram"]: line for line in lines(artifact, "history.jsonl")}
    assert (history["let me check"]["verdict"], history["let me check"]["rule"]) == ("reject", "nested")
    assert history["let me check"]["reason"] == "4 of 4 uses of `let me check` are inside `so let me check`"
    assert history["red marbles are"]["rule"] == "not_strategic"
    assert {gram: line["by"] for gram, line in history.items() if line["verdict"] == "accept"} == {
        "so let me check": "lexicon",
        "this implies that": "lexicon",
    }
    assert (history["red marbles are"]["by"], history["let me check"]["by"]) == ("lexicon", "rule")
    assert len(GramSet.load(artifact.file("grams.jsonl"))) == 2


def test_the_planning_share_is_measured_on_the_rollouts(registry):
    # A response has 14 words apart from the two numbers: so let me check / times / this implies that / is more /
    # red marbles are here. 4 + 3 of them are planning words; with the numbers there are 16 pieces.
    artifact = curated(registry)
    assert artifact.summary["coverage"] == {
        "planning_words": 7 / 14,
        "planning_pieces": 7 / 16,
        "rollouts_without": 0.0,
        "rollout_median": 7 / 16,
        "grams_never_matched": 0,
    }
    report = json.loads(artifact.file("coverage.json").read_text())
    assert report["verdict"] == "high"
    assert report["moves"]["backtracing"]["planning_fraction"] == 4 / 16
    assert [(use["gram"], use["occurrences"]) for use in report["grams"]] == [
        ("so let me check", 4),
        ("this implies that", 4),
    ]
    assert artifact.file("review.html").read_text().startswith("<!")


def test_a_share_outside_the_bounds_is_warned_about(registry):
    talk = SilentProgress()
    curated(registry, progress=talk)
    assert [each for each in talk.warnings if "43.75% of the 64 pieces are inside grams, outside 0.5% to 15.0%" in each]
    talk = SilentProgress()
    wider = HicraConfig.model_validate({"home": registry.home, "train": {"coverage": {"high": 0.5}}})
    curate.run(wider, registry, talk)
    assert talk.warnings == []


def test_a_set_that_matches_nothing_is_refused_with_the_reason(registry, tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text("wholly other words\n")
    nothing = "none of the 64 words in 4 rollouts lies inside a gram"
    with pytest.raises(DataError, match=nothing):
        curated(registry, imports=[path], annotations="none", candidates="candidates:default")
    assert registry.list("gram-set") == []
    # the newest candidates may have nothing to do with a list: a warning then
    talk = SilentProgress()
    curated(registry, imports=[path], annotations="none", progress=talk)
    assert [each for each in talk.warnings if nothing in each]


def test_a_persons_decisions_add_and_remove_grams_and_stand_in_the_history(registry, tmp_path):
    path = decisions_file(
        tmp_path,
        {"gram": "this implies that", "decision": "reject", "reason": "not here"},
        {"gram": "Red marbles are", "decision": "accept", "move": "branching", "reason": "a joke"},
        {"gram": "let us look elsewhere", "decision": "accept"},
    )
    artifact = curated(registry, decisions=path)
    sources = {line["gram"]: (line["source"], line["move"]) for line in lines(artifact, "grams.jsonl")}
    assert sources == {
        "so let me check": ("lexicon", "backtracing"),
        "red marbles are": ("person", "branching"),
        "let us look elsewhere": ("person", None),
    }
    history = {line["gram"]: line for line in lines(artifact, "history.jsonl")}
    assert history["this implies that"]["by"] == "person"
    assert history["this implies that"]["reason"] == "not here"
    assert artifact.summary["by_person"] == 3


def test_a_changed_decisions_file_is_another_run_and_an_equal_one_is_cached(registry, tmp_path):
    path = decisions_file(tmp_path, {"gram": "this implies that", "decision": "reject"})
    first = curated(registry, decisions=path)
    assert curated(registry, decisions=path).ref == first.ref
    decisions_file(tmp_path, {"gram": "so let me check", "decision": "reject"})
    assert curated(registry, decisions=path).ref != first.ref


def test_nothing_accepted_publishes_nothing_and_says_what_fell_why(registry):
    with pytest.raises(DataError, match="by not_strategic") as failure:
        curated(registry, min_confidence=1.0)
    assert "--min-confidence" in str(failure.value)
    assert failure.value.exit_code == 2
    assert registry.list("gram-set") == []


def test_a_missing_or_malformed_decisions_file_publishes_nothing(registry, tmp_path):
    with pytest.raises(DataError, match="--decisions"):
        curated(registry, decisions=tmp_path / "none.jsonl")
    path = decisions_file(tmp_path, {"gram": "a b c", "decision": "perhaps"})
    with pytest.raises(DataError) as failure:
        curated(registry, decisions=path)
    assert failure.value.where == f"{path}:1"
    assert registry.list("gram-set") == []


def test_interactive_needs_someone_to_ask(registry):
    with pytest.raises(UsageError, match="terminal"):
        curated(registry, interactive=True)


def test_a_person_is_asked_about_open_grams_with_their_contexts_and_may_stop(registry):
    asked = []

    def ask(interview):
        while (question := interview.current) is not None:
            asked.append(question.considered.gram)
            assert question.considered.contexts
            if question.considered.gram == "this implies that":
                interview.decide("reject", reason="no")
            else:
                interview.skip()

    artifact = curated(registry, interactive=True, ask=ask)
    assert {"so let me check", "this implies that"} <= set(asked)
    assert grams(artifact) == ["so let me check"]
    assert lines(artifact, "decisions.jsonl")[0]["gram"] == "this implies that"

    def look(interview):
        assert "this implies that" not in [
            each.considered.gram for each in interview.questions if interview.decision(each.considered.gram) is None
        ]

    again = curated(registry, interactive=True, ask=look)
    assert grams(again) == grams(artifact)


def test_after_the_open_grams_a_person_is_asked_about_missed_ones(tmp_path):
    # No annotator calls marbles strategic; a person accepts red ones, so blue ones are one word away from the set.
    with Registry.open(tmp_path / "home") as registry:
        prepare(registry, tmp_path / "rollouts.jsonl", [TEXT + ". Blue marbles are there"] * 4)
        path = decisions_file(tmp_path, {"gram": "red marbles are", "decision": "accept", "move": "branching"})
        first = curated(registry, decisions=path)
        proposed = {line["gram"]: line for line in lines(first, "missed.jsonl")}
        assert proposed["blue marbles are"]["reason"] == "1 of 2 grams of the form `* marbles are` are in the set"
        assert proposed["blue marbles are"]["near"] == ["red marbles are"]
        assert proposed["blue marbles are"]["move"] == "branching"

        def ask(interview):
            places = {each.considered.gram: at for at, each in enumerate(interview.questions)}
            assert places["blue marbles are"] > places["so let me check"]
            question = interview.questions[places["blue marbles are"]]
            assert (question.suggested.rule, question.suggested.verdict) == ("missed", "reject")
            assert question.considered.contexts
            interview.pages.position = places["blue marbles are"]
            interview.decide("accept", reason="like the red ones")

        artifact = curated(registry, interactive=True, ask=ask, decisions=path)
        assert "blue marbles are" in grams(artifact)
        history = {line["gram"]: line for line in lines(artifact, "history.jsonl")}
        assert history["blue marbles are"]["by"] == "person"
        assert history["blue marbles are"]["rule"] == "missed"
        assert history["blue marbles are"]["document_frequency"] == 4
        assert "blue marbles are" not in [line["gram"] for line in lines(artifact, "missed.jsonl")]


def test_answers_given_before_an_interruption_are_kept(registry):
    def ask(interview):
        interview.decide("reject")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        curated(registry, interactive=True, ask=ask)
    kept = registry.home / "decisions" / "default.jsonl"
    assert len(kept.read_text().splitlines()) == 1
    artifact = curated(registry, decisions=kept)
    assert artifact.summary["by_person"] == 1


def test_a_blind_round_publishes_its_answers_and_figures(registry):
    def judge(interview):
        while (item := interview.current) is not None:
            assert not hasattr(interview, "strategic")
            interview.judge(item.gram in ("so let me check", "this implies that"))

    artifact = curated(registry, audit=4, ask=judge)
    assert artifact.summary["audit"]["precision"] == 1.0
    assert {line["gram"]: line["planning"] for line in lines(artifact, "audit.jsonl") if line["strategic"]} == {
        "so let me check": True,
        "this implies that": True,
    }
    with pytest.raises(UsageError, match=r"curate\.audit needs a terminal"):
        curated(registry, audit=4)


def test_a_persons_move_replaces_the_annotators(registry, tmp_path):
    path = decisions_file(tmp_path, {"gram": "so let me check", "decision": "accept", "move": "deduction"})
    artifact = curated(registry, decisions=path)
    assert GramSet.load(artifact.file("grams.jsonl")).grams[0].move is Move.DEDUCTION


def test_dry_planning_reads_the_decisions_and_writes_nothing(registry, tmp_path):
    path = decisions_file(tmp_path, {"gram": "this implies that", "decision": "reject"})
    plan = curate.plan(configured(registry, decisions=path), registry)
    assert set(plan.inputs) == {"annotations", "decisions"}
    assert registry.list("gram-set") == []


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        (
            "llama32_3b_rl_steps_400_800",
            {"this implies that": "deduction", "let's consider the case where": "branching"},
        ),
        ("qwen25math_math100x8", {"we need to find the": "deduction"}),
    ],
)
def test_real_rollouts_give_a_gram_set_of_a_few_per_cent_of_their_pieces(rollouts_dir, tmp_path, name, wanted):
    config = HicraConfig.model_validate(
        {"home": tmp_path / "home", "collect": {"rollouts": [rollouts_dir / f"{name}.jsonl.gz"]}}
    )
    with Registry.open(config.home) as registry:
        for stage in (collect_grams.STAGE, annotate_grams.STAGE):
            execute(stage, config, registry, SilentProgress())
        artifact = curate.run(config, registry, SilentProgress())
        found = {line["gram"]: line["move"] for line in lines(artifact, "grams.jsonl")}
    assert {gram: found.get(gram) for gram in wanted} == wanted
    assert 0.005 < artifact.summary["coverage"]["planning_pieces"] < 0.15


def test_the_same_inputs_give_the_same_bytes(registry):
    results = [
        execute(curate.STAGE, configured(registry), registry, SilentProgress(), force=True).artifact for _ in range(2)
    ]
    assert results[0].version != results[1].version
    assert results[0].digest == results[1].digest
