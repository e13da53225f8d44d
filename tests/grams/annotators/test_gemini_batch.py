"""Gemini's Batch API: jobs survive the run that submitted them, and their results are matched by id."""

import os
import signal
import subprocess
import sys
import time

import pytest

from hicra_cli.core.errors import ServiceError
from hicra_cli.core.progress import SilentProgress
from hicra_cli.grams.annotators.service import estimate

from .asking import EXPECTED, GRAMS, LEDGER, SECRET, annotate, built, candidates, moves, settings
from .batch_server import BatchService
from .service_server import Request, Response, failing, service_server


def in_batches(server, folder, **changes):
    return annotate("gemini", server, folder, batch_api=True, **changes)


def test_a_job_holds_all_requests_and_its_results_label_all_grams(tmp_path):
    service = BatchService(pending=2)
    with service_server(otherwise=service) as server:
        found = in_batches(server, tmp_path)
        again = in_batches(server, tmp_path)
    assert moves(found) == EXPECTED
    assert again == found
    assert len(service.creates) == 1
    assert service.looks == ["batches/job-0"] * 3
    assert service.singles == []
    (job,) = service.jobs.values()
    assert len(job["requests"]) == 2
    assert "systemInstruction" in job["requests"][0]["request"]


@pytest.mark.parametrize(
    "edit",
    [
        lambda responses: responses[::-1],
        lambda responses: [{"response": each["response"]} for each in responses[::-1]],
        lambda responses: responses * 2,
    ],
    ids=["other order", "without metadata", "twice"],
)
def test_results_are_matched_by_id_never_by_position(tmp_path, edit):
    service = BatchService(edit=edit)
    with service_server(otherwise=service) as server:
        annotator = built("gemini", server, tmp_path, batch_api=True, input_price=1.0, output_price=1.0)
        found = list(annotator.annotate(candidates(*GRAMS), SilentProgress()))
    assert moves(found) == EXPECTED
    assert service.singles == []
    # two answers of 100 and 75 tokens at half of one dollar a million
    assert annotator.spent.cost == pytest.approx(2 * 175 * 0.5 / 1e6)
    assert annotator.spent.lost_cost == 0.0


def test_what_a_job_leaves_open_is_asked_one_by_one(tmp_path):
    def half(responses):
        return [{"error": {"code": 3, "message": "bad item"}, "metadata": responses[0]["metadata"]}, *responses[1:]]

    service = BatchService(edit=half)
    progress = SilentProgress()
    with service_server(otherwise=service) as server:
        assert moves(in_batches(server, tmp_path, progress=progress)) == EXPECTED
    assert [each.grams for each in service.singles] == [list(GRAMS[:3])]
    assert any("bad item" in warning for warning in progress.warnings)


def test_a_missing_response_is_asked_one_by_one(tmp_path):
    service = BatchService(edit=lambda responses: responses[:1])
    with service_server(otherwise=service) as server:
        assert moves(in_batches(server, tmp_path)) == EXPECTED
    assert [each.grams for each in service.singles] == [list(GRAMS[3:])]


@pytest.mark.parametrize("state", ["BATCH_STATE_FAILED", "BATCH_STATE_EXPIRED", "BATCH_STATE_CANCELLED"])
def test_a_failed_job_is_a_service_error_and_a_resumed_run_submits_anew(tmp_path, state):
    service = BatchService(state=state)
    with service_server(otherwise=service) as server:
        with pytest.raises(ServiceError, match="ended as"):
            in_batches(server, tmp_path)
        service.state = "BATCH_STATE_SUCCEEDED"
        assert moves(in_batches(server, tmp_path)) == EXPECTED
    assert len(service.creates) == 2
    assert service.looks[-1] == "batches/job-1"


def test_a_job_without_any_usable_answer_ends_the_run_instead_of_paying_the_full_price(tmp_path):
    service = BatchService(edit=lambda responses: [{"error": {"message": f"no {SECRET}"}} for _ in responses])
    with service_server(otherwise=service) as server, pytest.raises(ServiceError, match="no usable answer") as failure:
        in_batches(server, tmp_path)
    assert service.singles == []
    assert SECRET not in str(failure.value) + (tmp_path / LEDGER).read_text()


def test_a_lost_reply_to_a_submission_is_not_submitted_twice(tmp_path):
    service = BatchService()
    service.answer_creates = [lambda request: Response(body=b'{"na', cut_at=4)]
    with service_server(otherwise=service) as server:
        assert moves(in_batches(server, tmp_path)) == EXPECTED
    assert len(service.creates) == 1


def test_a_run_that_lost_its_connection_while_submitting_finds_the_job_again(tmp_path):
    service = BatchService()
    service.answer_creates = [failing(500, "late")]
    with service_server(otherwise=service) as server:
        with pytest.raises(ServiceError, match="late"):
            in_batches(server, tmp_path, max_attempts=1)
        assert moves(in_batches(server, tmp_path, max_attempts=1)) == EXPECTED
    assert len(service.creates) == 1


def test_a_refused_submission_costs_nothing_and_is_no_open_job(tmp_path):
    service = BatchService()
    service.answer_creates = [failing(403, "not for you")]
    with service_server(otherwise=service) as server:
        annotator = built("gemini", server, tmp_path, batch_api=True, input_price=1.0, output_price=1.0)
        with pytest.raises(ServiceError, match="not for you"):
            list(annotator.annotate(candidates(*GRAMS), SilentProgress()))
        assert (annotator.spent.cost, annotator.spent.lost_cost) == (0.0, 0.0)


def test_polling_survives_a_service_that_stumbles(tmp_path):
    service = BatchService(pending=3)
    stumbles = iter([False, False, True, True, False])

    def sometimes(request: Request) -> Response:
        return failing(503)(request) if next(stumbles, False) else service(request)

    with service_server(otherwise=sometimes) as server:
        assert moves(in_batches(server, tmp_path)) == EXPECTED
    assert len(service.creates) == 1


def test_the_estimate_of_a_batch_is_half_the_price():
    with service_server() as server:
        prices = {"input_price": 1.0, "output_price": 2.0}
        half = estimate("gemini", settings("gemini", server, batch_api=True, **prices), candidates(*GRAMS), votes=1)
        full = estimate("gemini", settings("gemini", server, **prices), candidates(*GRAMS), votes=1)
    assert full.cost is not None
    assert half.cost == pytest.approx(full.cost / 2)


KILLED = """
import sys
from pathlib import Path
from tests.grams.annotators.test_gemini_batch import in_batches
from tests.grams.annotators.service_server import ServiceServer, good
server = ServiceServer([], good)
server.base_url = sys.argv[1]
in_batches(server, Path(sys.argv[2]))
"""


@pytest.mark.parametrize("moment", ["submitting", "waiting"])
def test_a_killed_run_goes_on_waiting_for_the_same_job(tmp_path, moment):
    service = BatchService(pending=10**6 if moment == "waiting" else 0)
    if moment == "submitting":  # the job exists, but its name never arrives
        service.answer_creates = [lambda request: Response(hang_s=30)]
    with service_server(otherwise=service) as server:
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, server.base_url, str(tmp_path)],
            env={**os.environ, "NO_PROXY": "127.0.0.1", "GEMINI_API_KEY": SECRET},
        )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not (service.looks if moment == "waiting" else service.creates):
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        for job in service.jobs.values():
            job["left"] = 1
        assert moves(in_batches(server, tmp_path)) == EXPECTED
    assert len(service.creates) == 1
