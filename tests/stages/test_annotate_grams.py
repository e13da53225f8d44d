"""annotate-grams: offline, and with a service that fails half way."""

import json
from typing import Any

import pytest

from hicra_cli.config.annotate_service import GeminiConfig, ServiceConfig
from hicra_cli.config.root import HicraConfig
from hicra_cli.config.section import Section
from hicra_cli.core.errors import ArtifactError, ServiceError
from hicra_cli.core.progress import SilentProgress
from hicra_cli.core.registry import Registry
from hicra_cli.stages import annotate_grams, collect_grams
from hicra_cli.stages.base import execute

from ..grams.annotators.gemini_server import Response, envelope, failing, gemini_server, good, move_of

TEXTS = ("so let me check it", "this implies that we can", "another way to see it", "the sum is equal to the rest")


SECTIONS: dict[str, type[Section]] = {"gemini": GeminiConfig, "service": ServiceConfig}


@pytest.fixture
def registry(tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("GOOGLE_API_KEY", raising=False)
    monkeypatch.setenv("GEMINI_API_KEY", "AIza-secret-of-the-test")
    path = tmp_path / "rollouts.jsonl"
    rows = [{"problem": f"p{at}", "response": text, "correct": True} for at in range(3) for text in TEXTS]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with Registry.open(tmp_path / "home") as opened:
        collect_grams.run(
            HicraConfig.model_validate({"home": opened.home, "collect": {"rollouts": [path]}}), opened, SilentProgress()
        )
        yield opened


def configured(registry, **settings) -> HicraConfig:
    """A setting goes to annotate, or to its section `gemini` or `service` where it is a field of that."""
    annotate: dict[str, Any] = {"gemini": {}, "service": {}}
    for name, value in settings.items():
        section = next((at for at, kind in SECTIONS.items() if name in kind.model_fields), None)
        (annotate[section] if section else annotate)[name] = value
    return HicraConfig.model_validate({"home": registry.home, "annotate": annotate})


def lines(artifact):
    return [json.loads(line) for line in artifact.file("annotations.jsonl").read_text().splitlines()]


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
    with gemini_server() as server:
        config = configured(
            registry, annotators=["gemini"], base_url=server.base_url, batch_size=5, concurrency=1, name="unbroken"
        )
        whole = annotate_grams.run(config, registry, SilentProgress())
        asked = len(server.requests)
    assert asked == 6
    with gemini_server([good, good, failing(403, "blocked")]) as server:
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


def test_concurrency_and_patience_do_not_change_the_cache_key_but_the_model_does(registry):
    with gemini_server() as server:
        common = {"annotators": ["gemini"], "base_url": server.base_url}
        first = annotate_grams.run(configured(registry, **common), registry, SilentProgress())
        patient = configured(registry, **common, concurrency=9, timeout_s=7, max_attempts=2, retry_budget_s=1)
        assert annotate_grams.run(patient, registry, SilentProgress()).ref == first.ref
        other = configured(registry, **common, model="gemini-2.5-pro")
        assert annotate_grams.run(other, registry, SilentProgress()).ref != first.ref


def test_no_file_of_the_home_holds_the_key(registry):
    def echo(request):
        reply = json.loads(good(request).body)
        text = reply["candidates"][0]["content"]["parts"][0]["text"]
        return Response(body=envelope(text.replace("about", "key AIza-secret-of-the-test")))

    with gemini_server([echo, failing(403, "AIza-secret-of-the-test")]) as server:
        config = configured(registry, annotators=["gemini"], base_url=server.base_url, batch_size=5, concurrency=1)
        with pytest.raises(ServiceError):
            annotate_grams.run(config, registry, SilentProgress())
    for path in registry.home.rglob("*"):
        assert not path.is_file() or b"AIza-secret" not in path.read_bytes(), path
