"""annotate-grams: offline, and with a service that fails half way."""

import json
from typing import Any

import pytest

from hicra_cli.config.annotate_service import GeminiConfig, OpenAIConfig, ServiceConfig
from hicra_cli.config.root import HicraConfig
from hicra_cli.config.section import Section
from hicra_cli.core.errors import ArtifactError, ConfigError, ServiceError
from hicra_cli.core.progress import SilentProgress
from hicra_cli.core.records import Outcome
from hicra_cli.core.registry import Registry
from hicra_cli.metrics.agreement import cohen_kappa
from hicra_cli.stages import annotate_grams, collect_grams
from hicra_cli.stages.base import execute, stage_key
from hicra_cli.stages.solutions import solutions_of

from ..grams.annotators.service_server import answer_text, failing, good, move_of, reply, service_server
from .candidates import publish_candidates

TEXTS = ("so let me check it", "this implies that we can", "another way to see it", "the sum is equal to the rest")


SECTIONS: dict[str, type[Section]] = {"gemini": GeminiConfig, "service": ServiceConfig}


@pytest.fixture
def registry(tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("GOOGLE_API_KEY", raising=False)
    monkeypatch.setenv("GEMINI_API_KEY", "AIza-secret-of-the-test")
    with Registry.open(tmp_path / "home") as opened:
        publish_candidates(opened, TEXTS)
        yield opened


def configured(registry, **settings) -> HicraConfig:
    """A setting goes to annotate, or to its section `gemini` or `service` where it is a field of that."""
    annotate: dict[str, Any] = {"gemini": {}, "service": {}}
    for name, value in settings.items():
        section = next((at for at, kind in SECTIONS.items() if name in kind.model_fields), None)
        (annotate[section] if section else annotate)[name] = value
    return HicraConfig.model_validate({"home": registry.home, "annotate": annotate})


def lines(artifact, name="annotations.jsonl"):
    return [json.loads(line) for line in artifact.file(name).read_text().splitlines()]


def test_the_lexicon_annotates_every_candidate_offline(registry, monkeypatch):
    monkeypatch.delenv("GEMINI_API_KEY")
    artifact = annotate_grams.run(configured(registry), registry, SilentProgress())
    found = {line["gram"]: line for line in lines(artifact)}
    # grams of 3, 4 and 5 words: 3 + 2 + 1 in each text of five words, 5 + 4 + 3 in the one of seven
    assert len(found) == artifact.summary["grams"] == artifact.summary["labelled"] == 30
    assert found["let me check"]["move"] == "backtracing"
    assert found["this implies that"]["move"] == "deduction"
    assert found["another way to"]["move"] == "branching"
    assert found["sum is equal"]["move"] is None
    assert registry.inputs(artifact)[0][1] == "candidates"


def test_only_the_most_widespread_are_annotated(registry):
    artifact = annotate_grams.run(configured(registry, max_grams=5), registry, SilentProgress())
    assert (artifact.summary["grams"], artifact.summary["left_out"]) == (5, 25)


def test_without_candidates_the_error_says_what_is_missing(registry):
    with pytest.raises(ArtifactError, match="other"):
        annotate_grams.run(configured(registry, candidates="candidates:other"), registry, SilentProgress())


def test_without_a_key_gemini_is_refused_with_exit_code_4_and_nothing_is_lost(registry, monkeypatch):
    monkeypatch.delenv("GEMINI_API_KEY")
    with pytest.raises(ServiceError, match="GEMINI_API_KEY"):
        annotate_grams.run(configured(registry, annotators=["gemini"]), registry, SilentProgress())
    assert registry.list("annotations") == []
    assert registry.resolve("candidates:default").version == 1


def test_a_run_that_the_service_broke_is_resumed_and_gives_the_bytes_of_an_unbroken_one(registry):
    with service_server() as server:
        config = configured(
            registry, annotators=["gemini"], base_url=server.base_url, batch_size=5, concurrency=1, name="unbroken"
        )
        whole = annotate_grams.run(config, registry, SilentProgress())
        asked = len(server.requests)
    assert asked == 6
    with service_server([good, good, failing(403, "blocked")]) as server:
        config = configured(
            registry, annotators=["gemini"], base_url=server.base_url, batch_size=5, concurrency=1, name="broken"
        )
        with pytest.raises(ServiceError, match="blocked") as failure:
            execute(annotate_grams.STAGE, config, registry, SilentProgress())
        assert "--resume" in str(failure.value)
        resumed = execute(annotate_grams.STAGE, config, registry, SilentProgress(), resume=True).artifact
        assert len(server.requests) == 3 + (asked - 2)
    assert resumed.file("annotations.jsonl").read_bytes() == whole.file("annotations.jsonl").read_bytes()
    assert resumed.digest == whole.digest
    assert [entry.path for entry in resumed.files] == ["annotations.jsonl"]
    assert {line["gram"]: line["move"] or "none" for line in lines(resumed)} == {
        line["gram"]: move_of(line["gram"]) for line in lines(resumed)
    }


def two_judges(registry, server, **settings) -> HicraConfig:
    return configured(
        registry,
        annotators=["lexicon", "gemini"],
        votes=2,
        base_url=server.base_url,
        batch_size=10,
        concurrency=1,
        **settings,
    )


def test_several_judgements_are_combined_kept_and_compared(registry):
    with service_server() as server:
        artifact = annotate_grams.run(two_judges(registry, server), registry, SilentProgress())
        assert len(server.requests) == 2 * 3  # two votes on 30 grams in batches of 10
    assert [entry.path for entry in artifact.files] == ["annotations.jsonl", "disagreements.jsonl", "judgements.jsonl"]
    annotations, judgements = lines(artifact), lines(artifact, "judgements.jsonl")
    assert [(each["annotator"], each["vote"]) for each in judgements[:3]] == [
        ("lexicon", 0),
        ("gemini", 0),
        ("gemini", 1),
    ]
    assert [each["gram"] for each in judgements[::3]] == [each["gram"] for each in annotations]
    assert {each["annotator"] for each in annotations} == {"lexicon+gemini"}
    agreement = artifact.summary["agreement"]
    # the server says the same in both votes
    assert agreement["votes"] == {"gemini": 1.0}
    labels = {
        name: [_label(each) for each in judgements if (each["annotator"], each["vote"]) == (name, 0)]
        for name in ("lexicon", "gemini")
    }
    assert agreement["kappa"] == {"lexicon-gemini": round(cohen_kappa(labels["lexicon"], labels["gemini"]), 4)}
    disputed = lines(artifact, "disagreements.jsonl")
    apart = sum(first != second for first, second in zip(*labels.values(), strict=True))
    assert len(disputed) == agreement["disputed"] == apart > 0
    assert [each["help"] for each in disputed] == sorted((each["help"] for each in disputed), reverse=True)
    assert {each["reason"] for each in disputed[0]["judgements"]} > {f"about {disputed[0]['gram']}"}


def _label(row) -> str:
    return row["move"] if row["move"] and row["confidence"] >= 0.5 else "none"


def test_a_run_broken_in_its_second_vote_is_resumed_without_asking_the_first_again(registry):
    with service_server() as server:
        whole = annotate_grams.run(two_judges(registry, server, name="unbroken"), registry, SilentProgress())
    with service_server([good] * 4 + [failing(403, "blocked")]) as server:
        config = two_judges(registry, server, name="broken")
        with pytest.raises(ServiceError, match="blocked"):
            execute(annotate_grams.STAGE, config, registry, SilentProgress())
        resumed = execute(annotate_grams.STAGE, config, registry, SilentProgress(), resume=True).artifact
        assert len(server.requests) == 5 + 2  # of six batches four were answered
    assert resumed.digest == whole.digest
    assert list((registry.home / "staging").iterdir()) == []


def test_model_and_key_of_every_service_are_looked_for_before_the_first_is_asked(registry, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with service_server() as server:
        config = configured(registry, annotators=["gemini", "openai"], base_url=server.base_url)
        with pytest.raises(ConfigError, match=r"annotate\.openai\.model"):
            annotate_grams.run(config, registry, SilentProgress())
        config = config.model_copy(
            update={"annotate": config.annotate.model_copy(update={"openai": OpenAIConfig(model="any")})}
        )
        with pytest.raises(ServiceError, match="OPENAI_API_KEY"):
            annotate_grams.run(config, registry, SilentProgress())
        assert server.requests == []


def test_the_estimate_counts_the_requests_that_will_be_sent_and_sends_none(registry, monkeypatch):
    monkeypatch.delenv("GEMINI_API_KEY")
    with service_server() as server:
        found = annotate_grams.estimates(two_judges(registry, server), registry)
        assert server.requests == []
    assert list(found) == ["gemini"]
    assert found["gemini"].requests == 2 * 3
    first = lines(annotate_grams.run(configured(registry), registry, SilentProgress()))[0]["gram"]
    assert json.dumps(first) in found["gemini"].first_prompt
    assert annotate_grams.estimates(configured(registry), registry) == {}


def test_what_a_service_has_billed_is_in_the_summary(registry):
    with service_server() as server:
        config = two_judges(registry, server, input_price=1.0, output_price=2.0)
        artifact = annotate_grams.run(config, registry, SilentProgress())
    # each of 6 answers is billed 100 tokens in and 50 out with 25 of thought: 600 x $1 + 450 x $2 per million
    assert artifact.summary["cost"] == {
        "requests": 6,
        "input_tokens": 600,
        "output_tokens": 450,
        "usd": 0.0015,
        "lost_usd": 0.0,
    }
    assert "cost" not in annotate_grams.run(configured(registry), registry, SilentProgress()).summary


def test_a_ceiling_of_cost_stops_the_run_which_a_higher_one_resumes(registry):
    with service_server() as server:
        prices = {"input_price": 1000.0, "output_price": 1000.0, "max_output_tokens": 256}
        low = two_judges(registry, server, **prices, max_cost=0.001)
        with pytest.raises(ServiceError, match="ceiling") as failure:
            execute(annotate_grams.STAGE, low, registry, SilentProgress())
        assert failure.value.exit_code == 4
        assert server.requests == []
        high = two_judges(registry, server, **prices, max_cost=1000)
        assert execute(annotate_grams.STAGE, high, registry, SilentProgress(), resume=True).artifact.version == 1


def test_votes_change_the_key_of_a_service_and_not_of_the_lexicon(registry):
    def key(**settings):
        return stage_key(annotate_grams.STAGE, annotate_grams.plan(configured(registry, **settings), registry))

    assert key(votes=3) == key()
    assert key(annotators=["gemini"], votes=3) != key(annotators=["gemini"])
    assert key(annotators=["gemini"], input_price=1.0, output_price=1.0, max_cost=5.0) == key(annotators=["gemini"])
    assert key(annotators=["lexicon", "gemini"]) != key(annotators=["gemini", "lexicon"])


def test_solutions_are_those_the_candidates_were_counted_on(registry, tmp_path):
    path = tmp_path / "more.jsonl"
    rows = [{"problem": f"p{at}", "response": TEXTS[at % 4], "correct": at % 3 == 0} for at in range(12)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for successful_only, expected in ((True, 4), (False, 12)):
        collect = {"rollouts": [path], "successful_only": successful_only, "min_document_frequency": 1}
        config = HicraConfig.model_validate({"home": registry.home, "collect": {**collect, "name": "more"}})
        solutions = solutions_of(registry, collect_grams.run(config, registry, SilentProgress()))
        # read twice, because clusters are counted in a pass of their own
        assert len(list(solutions())) == len(list(solutions())) == expected
    assert {each.text for each in solutions()} == set(TEXTS)


def test_candidates_without_their_run_count_what_is_successful_by_default(registry):
    wrong = publish_candidates(registry, TEXTS, name="wrong", outcome=Outcome.WRONG)
    assert list(solutions_of(registry, wrong)()) == []
    assert len(list(solutions_of(registry, registry.resolve("candidates:default"))())) == 12


def test_concurrency_and_patience_do_not_change_the_cache_key_but_the_model_does(registry):
    with service_server() as server:
        common = {"annotators": ["gemini"], "base_url": server.base_url}
        first = annotate_grams.run(configured(registry, **common), registry, SilentProgress())
        patient = configured(registry, **common, concurrency=9, timeout_s=7, max_attempts=2, retry_budget_s=1)
        assert annotate_grams.run(patient, registry, SilentProgress()).ref == first.ref
        other = configured(registry, **common, model="gemini-2.5-pro")
        assert annotate_grams.run(other, registry, SilentProgress()).ref != first.ref


def test_no_file_of_the_home_holds_the_key(registry):
    def echo(request):
        return reply(request, answer_text(request).replace("about", "key AIza-secret-of-the-test"))

    with service_server([echo, failing(403, "AIza-secret-of-the-test")]) as server:
        config = configured(registry, annotators=["gemini"], base_url=server.base_url, batch_size=5, concurrency=1)
        with pytest.raises(ServiceError):
            annotate_grams.run(config, registry, SilentProgress())
    for path in registry.home.rglob("*"):
        assert not path.is_file() or b"AIza-secret" not in path.read_bytes(), path


class Phases(SilentProgress):
    """Remembers what was worked on."""

    def __init__(self) -> None:
        super().__init__()
        self.labels: list[str] = []

    def phase(self, label: str, total: int | None = None):
        self.labels.append(label)
        return super().phase(label, total)


def clustered(registry, **settings) -> HicraConfig:
    config = configured(registry, **settings)
    cluster = {"embedder": "lsa", "keep_fraction": 1.0}
    return HicraConfig.model_validate(
        config.model_dump() | {"annotate": config.annotate.model_dump() | {"cluster": cluster}}
    )


def test_clusters_are_numbered_in_the_annotations_and_told_in_a_file(registry):
    artifact = annotate_grams.run(clustered(registry, annotators=["lexicon", "cluster"]), registry, SilentProgress())
    clusters = json.loads(artifact.file("clusters.json").read_text())
    assert (clusters["grams"], clusters["documents"], clusters["solutions"]) == (30, 3, 12)
    assert artifact.summary["clusters"] == clusters["clusters"]
    assert {line["cluster"] for line in lines(artifact)} == set(range(clusters["clusters"]))
    assert {(parent.kind, role) for parent, role in registry.inputs(artifact)} == {
        ("candidates", "candidates"),
        ("rollouts", "rollouts"),
    }
    assert "lexicon-cluster" in artifact.summary["agreement"]["kappa"]


def test_an_encoder_is_part_of_the_key_by_its_content(registry, tmp_path):
    def planned(embedder: str):
        config = configured(registry, annotators=["cluster"], cluster={"embedder": embedder})
        plan = annotate_grams.plan(config, registry)
        return plan, stage_key(annotate_grams.STAGE, plan)

    folder = tmp_path / "encoder"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    plan, first = planned(str(folder))
    assert plan.inputs["embedder"].ref == plan.settings["cluster"]["embedder"] == "encoder"
    (folder / "config.json").write_text('{"hidden_size": 8}')
    assert planned(str(folder))[1] != first
    assert "embedder" not in planned("lsa")[0].inputs


def test_a_resumed_run_does_not_cluster_again(registry):
    with service_server() as server:
        common = {"annotators": ["cluster", "gemini"], "base_url": server.base_url}
        whole = annotate_grams.run(clustered(registry, **common, name="unbroken"), registry, SilentProgress())
    with service_server([failing(403, "blocked")]) as server:
        config = clustered(registry, annotators=["cluster", "gemini"], base_url=server.base_url, name="broken")
        with pytest.raises(ServiceError, match="blocked"):
            execute(annotate_grams.STAGE, config, registry, SilentProgress())
        progress = Phases()
        resumed = execute(annotate_grams.STAGE, config, registry, progress, resume=True).artifact
    assert progress.labels == ["annotate"]
    assert resumed.digest == whole.digest
