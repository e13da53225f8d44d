"""curate: annotations to a gram-set, decisions from a file and from a person, coverage."""

import json

import pytest

from hicra_cli.config.root import HicraConfig
from hicra_cli.core.errors import DataError, UsageError
from hicra_cli.core.progress import SilentProgress
from hicra_cli.core.records import Move
from hicra_cli.core.registry import Registry
from hicra_cli.grams.decisions import Decision
from hicra_cli.grams.gram_set import GramSet
from hicra_cli.stages import annotate_grams, collect_grams, curate
from hicra_cli.stages.base import execute

TEXT = "So let me check 7 times. This implies that 4 is more. Red marbles are here"


def prepare(registry, path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = HicraConfig.model_validate({"home": registry.home, "collect": {"rollouts": [path]}})
    collect_grams.run(config, registry, SilentProgress())
    annotate_grams.run(config, registry, SilentProgress())


@pytest.fixture
def registry(tmp_path):
    with Registry.open(tmp_path / "home") as opened:
        prepare(
            opened,
            tmp_path / "rollouts.jsonl",
            [{"problem": f"p{at}", "response": TEXT, "correct": True} for at in range(4)],
        )
        yield opened


def configured(registry, **settings) -> HicraConfig:
    return HicraConfig.model_validate({"home": registry.home, "curate": settings})


def curated(registry, *, ask=None, **settings):
    return curate.run(configured(registry, **settings), registry, SilentProgress(), ask=ask)


def lines(artifact, name):
    return [json.loads(line) for line in artifact.file(name).read_text().splitlines()]


def decisions_file(tmp_path, *rows):
    path = tmp_path / "decisions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


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
    assert {line["by"] for line in history.values()} == {"rule"}
    assert len(GramSet.load(artifact.file("grams.jsonl"))) == 2


def test_the_planning_share_is_measured_on_the_rollouts(registry):
    # A response has 14 words apart from the two numbers: so let me check / times / this implies that / is more /
    # red marbles are here. 4 + 3 of them are planning words; with the numbers there are 16 pieces.
    coverage = curated(registry).summary["coverage"]
    assert coverage == {"planning_words": 7 / 14, "planning_pieces": 7 / 16}


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

    def ask(question):
        asked.append(question.considered.gram)
        assert question.considered.contexts
        if question.considered.gram == "this implies that":
            return Decision("this implies that", "reject", reason="no")
        return "skip"

    artifact = curated(registry, interactive=True, ask=ask)
    assert asked == ["so let me check", "this implies that"] or set(asked) == {"so let me check", "this implies that"}
    assert [line["gram"] for line in lines(artifact, "grams.jsonl")] == ["so let me check"]

    stopped = []

    def stop(question):
        stopped.append(question.considered.gram)
        return "stop"

    again = curated(registry, interactive=True, ask=stop)
    assert len(stopped) == 1
    assert "this implies that" not in stopped
    assert again.digest == artifact.digest


def test_answers_given_before_an_interruption_are_kept(registry):
    def ask(question):
        if question.number == 2:
            raise KeyboardInterrupt
        return Decision(question.considered.gram, "reject")

    with pytest.raises(KeyboardInterrupt):
        curated(registry, interactive=True, ask=ask)
    kept = registry.home / "decisions" / "default.jsonl"
    assert len(kept.read_text().splitlines()) == 1
    artifact = curated(registry, decisions=kept)
    assert artifact.summary["by_person"] == 1


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
