"""Everything at once: thousands of grams against a server that misbehaves at random, and runs killed at any moment."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from hicra_cli.core.errors import ServiceError
from hicra_cli.core.progress import SilentProgress
from hicra_cli.grams.annotators.ledger import Ledger

from .asking import LEDGER, SECRET, VARIABLE, annotate, moves
from .service_server import (
    Behaviour,
    Request,
    Response,
    ServiceServer,
    answer_text,
    edited,
    failing,
    good,
    move_of,
    reply,
    saying,
    service_server,
)

RETRY_INFO = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "0.03s"}]
# What can go wrong, and how often among a hundred faults. A redirect ends a run, so it is rare.
FAULTS: list[tuple[int, Behaviour]] = [
    (10, failing(429, f"slow down {SECRET}", headers={"Retry-After": "0.02"})),
    (8, failing(429, details=RETRY_INFO)),
    (10, failing(500, f"oops {SECRET}")),
    (8, failing(503)),
    (6, lambda request: Response(502, b"<html>bad gateway</html>", content_type="text/html")),
    (2, lambda request: Response(hang_s=1.6)),
    (2, lambda request: Response(body=b" " * 400, drip_s=0.02)),
    (8, lambda request: Response(body=b"<html>log in</html>", content_type="text/html")),
    (8, lambda request: Response(body=good(request).body, cut_at=len(good(request).body) // 3)),
    (8, lambda request: reply(request, answer_text(request)[:-9])),
    (6, lambda request: reply(request, answer_text(request)[:30], finish_reason="MAX_TOKENS")),
    (5, saying("", finish_reason="SAFETY")),
    (5, edited(lambda entries: [{**each, "id": "g0"} if each is entries[0] else each for each in entries])),
    (5, edited(lambda entries: [*entries, entries[0]])),
    (5, edited(lambda entries: entries[1:])),
    (4, edited(lambda entries: [{**each, "move": "branching"} for each in entries])),
    (1, failing(307, headers={"Location": "http://127.0.0.1:9/elsewhere"})),
]  # fmt: skip


class Misbehaving:
    """A seeded mix of good answers and faults; grams with `refuse` in them are never answered."""

    def __init__(self, seed: int, *, faults_fraction: float = 0.3) -> None:
        self._random = random.Random(seed)
        self._fraction = faults_fraction
        self._lock = threading.Lock()

    def __call__(self, request: Request) -> Response:
        with self._lock:
            faulty = self._random.random() < self._fraction
            weights = [weight for weight, _ in FAULTS]
            fault = self._random.choices([behaviour for _, behaviour in FAULTS], weights)[0]
        if faulty:
            return fault(request)
        if any("refuse" in gram for gram in request.grams):
            return saying("", finish_reason="SAFETY")(request)
        return good(request)


def many(count: int) -> list[str]:
    """Every 500th gram is one that the service refuses."""
    return [f"let us {'refuse' if number % 500 == 250 else 'try'} number {number}" for number in range(count)]


def finish(provider, server, folder, grams, progress):
    """Run, and resume as often as the service ended a run. Returns (annotations, messages of all failures)."""
    messages: list[str] = []
    while True:
        try:
            found = annotate(
                provider, server, folder, grams=grams, progress=progress, batch_size=40, concurrency=12, timeout_s=1.2,
                max_output_tokens=4096, input_price=1.0, output_price=2.0,
            )  # fmt: skip
            return found, messages
        except ServiceError as error:
            messages.append(f"{error} {error.__cause__} {error.__context__}")
            assert len(messages) < 40


@pytest.mark.parametrize(
    ("provider", "count"),
    [("gemini", 10_000), ("openai", 1000), pytest.param("openai", 10_000, marks=pytest.mark.slow)],
)
def test_every_gram_ends_labelled_once_or_unlabelled_with_a_reason(provider, tmp_path, count):
    grams = many(count)
    progress = SilentProgress()
    every_fault_once = [behaviour for _, behaviour in FAULTS]
    with service_server(every_fault_once, otherwise=Misbehaving(seed=4)) as server:
        found, messages = finish(provider, server, tmp_path, grams, progress)
    assert [each.gram for each in found] == grams
    for each in found:
        if each.labelled:
            assert (each.move.value if each.move else "none") == move_of(each.gram)
        else:
            assert each.reason
            assert (each.move, each.confidence) == (None, 0.0)
    assert all(not each.labelled for each in found if "refuse" in each.gram)
    assert sum(each.labelled for each in found) >= 0.95 * count
    rows = [json.loads(line) for line in (tmp_path / LEDGER).read_text().splitlines()]
    kept = Counter(answer["key"] for row in rows for answer in row.get("answers", []))
    assert len(kept) == count
    assert set(kept.values()) == {1}
    for text in ((tmp_path / LEDGER).read_text(), *messages, *progress.warnings, *(each.reason for each in found)):
        assert SECRET not in text


KILLED = """
import sys
from pathlib import Path
from tests.grams.annotators.test_faults import run_once
run_once(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
"""
KILL_GRAMS = [f"let us try {number}" for number in range(60)]
IN_FLIGHT, BATCH = 3, 3


def run_once(provider, base_url: str, folder: Path):
    server = ServiceServer([], good)
    server.base_url = base_url
    return annotate(
        provider, server, folder, KILL_GRAMS, batch_size=BATCH, concurrency=IN_FLIGHT, max_output_tokens=500
    )


def kept_grams(ledger: Path) -> list[str]:
    """The grams of all whole lines, by the server's reason "about GRAM"."""
    lines = ledger.read_bytes().splitlines(keepends=True) if ledger.exists() else []
    rows = [json.loads(line) for line in lines if line.endswith(b"\n")]
    return [answer["reason"].removeprefix("about ") for row in rows for answer in row.get("answers", [])]


@pytest.mark.parametrize("kills", [2, pytest.param(12, marks=pytest.mark.slow)])
def test_a_killed_run_loses_at_most_what_was_in_flight_and_pays_nothing_twice(provider, tmp_path, kills):
    def slowly(request: Request) -> Response:
        time.sleep(0.04)
        return good(request)

    folder, whole = tmp_path / "killed", tmp_path / "whole"
    folder.mkdir()
    whole.mkdir()
    ledger = folder / LEDGER
    moments = random.Random(kills)
    with service_server(otherwise=slowly) as server:
        for _ in range(kills):
            known = set(kept_grams(ledger))
            before = len(server.requests)
            enough = len(known) + moments.randint(1, 60 // kills - 3)
            kill_when(ledger, enough, provider, server, folder)
            asked = [gram for request in server.requests[before:] for gram in request.grams]
            assert not known & set(asked)  # what was answered before is not asked again
            assert len(set(asked) - set(kept_grams(ledger))) <= IN_FLIGHT * BATCH
        known, before = set(kept_grams(ledger)), len(server.requests)
        resumed = run_once(provider, server.base_url, folder)
        asked = [gram for request in server.requests[before:] for gram in request.grams]
        assert sorted(asked) == sorted(set(KILL_GRAMS) - known)
        unbroken = run_once(provider, server.base_url, whole)
    assert resumed == unbroken
    assert moves(resumed) == {gram: move_of(gram) for gram in KILL_GRAMS}
    assert SECRET.encode() not in ledger.read_bytes()


INTERRUPTED = """
import signal, sys
from pathlib import Path
from tests.grams.annotators.test_faults import run_once

def stop(number, frame):
    raise KeyboardInterrupt

if sys.argv[4] == "handled":  # as the command line does
    signal.signal(signal.SIGINT, stop)
run_once(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
"""


@pytest.mark.parametrize("handler", ["default", "handled"])
def test_an_interrupt_ends_the_run_though_requests_hang_and_keeps_what_was_answered(provider, tmp_path, handler):
    ledger = tmp_path / LEDGER

    def hangs(request: Request) -> Response:
        return Response(hang_s=60) if len(kept_grams(ledger)) >= BATCH else good(request)

    with service_server(otherwise=hangs) as server:
        process = subprocess.Popen(
            [sys.executable, "-c", INTERRUPTED, provider, server.base_url, str(tmp_path), handler],
            env={**os.environ, "NO_PROXY": "127.0.0.1", VARIABLE[provider]: SECRET},
            stderr=subprocess.PIPE,
        )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and len(kept_grams(ledger)) < BATCH:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)  # the hanging requests would take a minute
        assert b"KeyboardInterrupt" in errors
        assert SECRET.encode() not in errors
        assert Ledger(ledger).torn_bytes == 0
    assert len(kept_grams(ledger)) >= BATCH


def kill_when(ledger: Path, enough: int, provider, server: ServiceServer, folder: Path) -> None:
    """Start a run in a process of its own and kill it once the ledger holds so many grams."""
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, provider, server.base_url, str(folder)],
        env={**os.environ, "NO_PROXY": "127.0.0.1", VARIABLE[provider]: SECRET},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None and len(kept_grams(ledger)) < enough:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    output, _ = process.communicate()
    assert SECRET.encode() not in output
