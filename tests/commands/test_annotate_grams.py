"""hicra annotate-grams as typed: lists of annotators, the service an option means, a dry run that sends nothing."""

import os
import signal
import subprocess
import sys
import time

import pytest

from hicra_cli.core.registry import Registry
from tests.commands.run_hicra import clean_environment, document, hicra
from tests.grams.annotators.service_server import Response, good, service_server
from tests.stages.candidates import publish_candidates

TEXTS = ("so let me check it", "this implies that we can", "another way to see it")
NO_KEYS = {"GEMINI_API_KEY": "", "GOOGLE_API_KEY": "", "OPENAI_API_KEY": ""}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder whose registry holds candidates:default, 18 grams."""
    path = tmp_path_factory.mktemp("annotate")
    with Registry.open(path / ".hicra") as registry:
        publish_candidates(registry, TEXTS)
    return path


def annotate(folder, *arguments, check=0):
    return hicra("annotate-grams", *arguments, cwd=folder, check=check, **NO_KEYS)


def test_a_dry_run_shows_what_would_be_sent_and_what_it_costs(folder):
    done = annotate(folder, "--annotator", "lexicon,gemini", "--votes", "3", "--batch-size", "10", "--dry-run")
    assert "would publish annotations:default" in done.stdout
    first = done.stdout.partition("First request to gemini, all the text it sends:")[2]
    assert "backtracing" in first
    assert '"let me check"' in first
    found = document(
        annotate(folder, "--annotator", "gemini", "--votes", "3", "--batch-size", "10", "--dry-run", "--json")
    )
    estimate = found["data"]["estimates"]["gemini"]
    assert estimate["requests"] == 3 * 2  # 18 grams in tens, three times
    assert estimate["cost"] > 0
    assert estimate["first_prompt"].strip() in first.replace("\r", "")
    assert not (folder / ".hicra" / "artifacts" / "annotations").exists()


def test_annotators_are_a_list_with_commas_or_repeated(folder):
    both = document(annotate(folder, "--annotator", "lexicon,gemini", "--dry-run", "--json"))
    repeated = document(annotate(folder, "--annotator", "lexicon", "--annotator", "gemini", "--dry-run", "--json"))
    assert both["data"]["settings"] == repeated["data"]["settings"]
    assert both["data"]["settings"]["annotators"] == ["lexicon", "gemini"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--annotator", "lexicon,lexicon"), 2, "named twice"),
        (("--annotator", "lexikon"), 2, "lexicon"),
        (("--annotator", "gemini,openai", "--model", "m"), 2, "two services"),
        (("--annotator", "openai"), 2, "annotate.openai.model"),
        (("--annotator", "openai", "--model", "m"), 4, "OPENAI_API_KEY"),
        (("--annotator", "lexicon,gemini"), 4, "GEMINI_API_KEY"),
        (("--candidates", "candidates:none"), 3, "candidates:none"),
    ],
)
def test_what_cannot_work_is_said_before_anything_is_asked(folder, arguments, code, words):
    assert words in annotate(folder, *arguments, check=code).stderr


def test_model_and_address_belong_to_the_service_that_is_asked(folder):
    arguments = (
        "--annotator",
        "openai",
        "--model",
        "mine",
        "--base-url",
        "http://127.0.0.1:9/v1",
        "--dry-run",
        "--json",
    )
    settings = document(annotate(folder, *arguments))["data"]["settings"]
    assert settings["openai"] == {"model": "mine", "base_url": "http://127.0.0.1:9/v1"}
    gemini = document(annotate(folder, "--annotator", "gemini", "--model", "mine", "--dry-run", "--json"))
    assert gemini["data"]["settings"]["gemini"]["model"] == "mine"


def test_a_killed_run_goes_on_where_it_was_and_asks_nothing_twice(folder):
    keys = {"GEMINI_API_KEY": "AIza-test", "NO_PROXY": "127.0.0.1"}
    with service_server() as server:
        whole = hicra(*_votes(server), "--name", "whole", "--json", cwd=folder, check=0, **keys)
        assert len(server.requests) == 2 * 5  # 18 grams in fours, two votes
    with service_server([good] * 7, otherwise=lambda request: Response(hang_s=30)) as server:
        process = subprocess.Popen(
            [sys.executable, "-m", "hicra_cli", *_votes(server), "--name", "killed"],
            cwd=folder,
            env=clean_environment(**keys),
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 60
        while len(server.requests) < 8 and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert len(server.requests) == 8
        answered = {frozenset(request.grams) for request in server.requests[5:7]}
        server._otherwise = good
        resumed = hicra(*_votes(server), "--name", "killed", "--resume", "--json", cwd=folder, check=0, **keys)
        again = [frozenset(request.grams) for request in server.requests[8:]]
    assert len(again) == 3
    assert answered.isdisjoint(again)
    digests = [document(done)["artifacts"][0]["digest"] for done in (whole, resumed)]
    assert digests[0] == digests[1]


def _votes(server) -> tuple[str, ...]:
    address = ("--base-url", server.base_url, "--batch-size", "4", "--concurrency", "1")
    return ("annotate-grams", "--annotator", "lexicon,gemini", "--votes", "2", *address)
