"""What goes wrong between hicra and a service, one trap at a time: each on order, for both services."""

import json
import time
import warnings

import pytest

from hicra_cli.core.errors import ServiceError
from hicra_cli.core.progress import SilentProgress

from .asking import EXPECTED, GRAMS, LEDGER, SECRET, annotate, moves
from .service_server import (
    Request,
    Response,
    answer_text,
    edited,
    failing,
    good,
    reply,
    saying,
    service_server,
)


def test_a_rate_limit_is_waited_out_for_as_long_as_the_header_says(provider, tmp_path):
    with service_server([failing(429, headers={"Retry-After": "1"})]) as server:
        assert moves(annotate(provider, server, tmp_path)) == EXPECTED
    assert server.requests[1].at - server.requests[0].at >= 1.0


def test_a_rate_limit_is_waited_out_for_as_long_as_the_detail_says(provider, tmp_path):
    retry_info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "0.7s"}
    with service_server([failing(429, details=[retry_info])]) as server:
        assert moves(annotate(provider, server, tmp_path)) == EXPECTED
    assert server.requests[1].at - server.requests[0].at >= 0.7


def test_being_told_to_slow_down_is_no_failed_attempt(provider, tmp_path):
    with service_server([failing(429)] * 4) as server:
        assert moves(annotate(provider, server, tmp_path, max_attempts=2)) == EXPECTED
    assert [len(request.items) for request in server.requests] == [3] * 6


def test_a_wait_beyond_the_budget_ends_the_run_and_keeps_the_answers(provider, tmp_path):
    with service_server([good, failing(429, headers={"Retry-After": "3600"})]) as server:
        with pytest.raises(ServiceError, match="retry_budget_s") as failure:
            annotate(provider, server, tmp_path)
        assert "--resume" in str(failure.value)
        assert moves(annotate(provider, server, tmp_path)) == EXPECTED
    # first batch, the limited second batch, and only the second batch again
    assert [len(request.items) for request in server.requests] == [3, 3, 3]
    assert server.requests[1].text == server.requests[2].text


def test_requests_leave_no_faster_than_the_rate(provider, tmp_path):
    # 600 a minute: one each 0.1 s
    with service_server() as server:
        started = time.monotonic()
        annotate(provider, server, tmp_path, batch_size=1, concurrency=6, requests_per_minute=600)
    last = max(request.at for request in server.requests)
    assert last - started >= 0.1 * (len(GRAMS) - 1)


def test_server_errors_and_lost_connections_are_tried_again(provider, tmp_path):
    def cut(request: Request) -> Response:
        whole = good(request)
        return Response(body=whole.body, cut_at=len(whole.body) // 2)

    html = lambda request: Response(500, b"<html>oops", {})  # noqa: E731
    script = [failing(500), failing(503), html, cut]
    with service_server(script) as server:
        assert moves(annotate(provider, server, tmp_path)) == EXPECTED
    assert len(server.requests) == 6


def test_a_service_that_stays_down_ends_with_exit_code_4_after_the_attempts(provider, tmp_path):
    with (
        service_server(otherwise=failing(500, "still down")) as server,
        pytest.raises(ServiceError, match=r"3 attempts failed.*still down") as failure,
    ):
        annotate(provider, server, tmp_path, max_attempts=3)
    assert failure.value.exit_code == 4
    # three attempts with the batch, three with control items alone
    assert [len(request.items) for request in server.requests] == [3, 3, 3, 0, 0, 0]


def test_a_batch_that_the_service_stumbles_over_does_not_end_the_run(provider, tmp_path):
    def stumbles(request: Request) -> Response:
        return failing(500, "internal")(request) if "this implies that" in request.grams else good(request)

    with service_server(otherwise=stumbles) as server:
        found = annotate(provider, server, tmp_path, max_attempts=2)
    assert [each.gram for each in found if not each.labelled] == ["this implies that"]
    assert "2 attempts failed" in found[1].reason


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_a_refused_key_or_unknown_model_is_not_tried_again(provider, tmp_path, status):
    with (
        service_server(otherwise=failing(status, "bad")) as server,
        pytest.raises(ServiceError, match=f"{status}.*bad"),
    ):
        annotate(provider, server, tmp_path)
    assert len(server.requests) == 1


def test_nobody_listening_is_a_service_error_that_names_the_address(provider, tmp_path):
    with service_server() as server:
        pass
    with pytest.raises(ServiceError, match="attempts failed") as failure:
        annotate(provider, server, tmp_path, max_attempts=2)
    assert server.base_url in str(failure.value.where)


@pytest.mark.parametrize(
    "behaviour",
    [
        lambda request: reply(request, answer_text(request)[:-20]),
        lambda request: reply(request, answer_text(request).replace('"id": "g', '"id": "h', 1)),
        lambda request: reply(request, answer_text(request).replace("0.9", '"0.9"')),
        lambda request: reply(request, answer_text(request).replace("0.9", "1.5")),
        lambda request: reply(request, answer_text(request).replace("0.9", "NaN")),
        lambda request: reply(request, answer_text(request).replace('"reason"', '"x": 1, "reason"')),
        lambda request: reply(request, answer_text(request).replace("answers", "labels")),
        lambda request: reply(request, "```json\n" + answer_text(request) + "\n```"),
        saying('{"answers": []}'),
        saying(""),
        saying("", finish_reason="SAFETY"),
        edited(lambda entries: entries * 2),
        edited(lambda entries: [entries[0], *entries]),
        edited(lambda entries: entries[1:]),
        edited(lambda entries: [*entries, {**entries[0], "id": "g0"}]),
        edited(lambda entries: [{**each, "id": index} for index, each in enumerate(entries)]),
        edited(lambda entries: {each["id"]: each for each in entries}),
    ],
    ids=[
        "cut json", "wrong id", "text as number", "confidence above 1", "not a number", "extra key", "other form",
        "fenced", "no answers", "empty text", "refused", "all twice", "one twice", "one missing", "one too many",
        "positions as ids", "object",
    ],
)  # fmt: skip
def test_an_unusable_answer_is_asked_again_as_a_whole(provider, tmp_path, behaviour):
    with service_server([behaviour]) as server:
        assert moves(annotate(provider, server, tmp_path)) == EXPECTED
    assert server.requests[0].text == server.requests[1].text
    assert len(server.requests) == 3


def test_an_answer_that_was_too_long_is_asked_in_halves_at_once(provider, tmp_path):
    def cuts_long_ones(request: Request) -> Response:
        text = answer_text(request)
        return reply(request, text[:50], finish_reason="MAX_TOKENS") if len(request.items) > 2 else reply(request, text)

    with service_server(otherwise=cuts_long_ones) as server:
        assert moves(annotate(provider, server, tmp_path, batch_size=6)) == EXPECTED
    assert [len(request.items) for request in server.requests] == [6, 3, 1, 2, 3, 1, 2]


def test_a_gram_the_service_refuses_is_isolated_and_stays_unlabelled(provider, tmp_path):
    def refuses(request: Request) -> Response:
        if "this implies that" in request.grams:
            return saying("", finish_reason="SAFETY")(request)
        return good(request)

    with service_server(otherwise=refuses) as server:
        found = annotate(provider, server, tmp_path)
        again = annotate(provider, server, tmp_path)
    refused = next(each for each in found if each.gram == "this implies that")
    assert (refused.labelled, refused.move, refused.confidence) == (False, None, 0.0)
    assert refused.reason.startswith("refused: ")
    assert moves(found) == {**EXPECTED, "this implies that": "none"}
    assert again == found
    # [a P b] twice, [a] once, [P b] twice, [P] twice, [b] once; then the second batch; nothing when repeated
    assert [len(request.items) for request in server.requests] == [3, 3, 1, 2, 2, 1, 1, 1, 3]


def test_many_refused_grams_in_a_row_stay_unlabelled_when_control_items_are_judged_well(provider, tmp_path):
    bad = [f"refuse this {number}" for number in range(25)]

    def refuses(request: Request) -> Response:
        if any(gram.startswith("refuse") for gram in request.grams):
            return saying("", finish_reason="SAFETY")(request)
        return good(request)

    with service_server(otherwise=refuses) as server:
        found = annotate(provider, server, tmp_path, grams=[*bad, *GRAMS], batch_size=1)
    assert [each.labelled for each in found] == [False] * 25 + [True] * 6


def test_a_service_that_answers_nothing_usable_stops_the_run_instead_of_labelling_nothing(provider, tmp_path):
    with (
        service_server(otherwise=saying("I am sorry")) as server,
        pytest.raises(ServiceError, match=r"no.* usable answer"),
    ):
        annotate(provider, server, tmp_path)
    assert '"key"' not in (tmp_path / LEDGER).read_text()


def test_a_reply_that_drips_is_cut_at_the_deadline(provider, tmp_path):
    drip = lambda request: Response(body=b" " * 1000, drip_s=0.05)  # noqa: E731
    started = time.monotonic()
    with service_server([drip]) as server:
        assert moves(annotate(provider, server, tmp_path, timeout_s=0.5)) == EXPECTED
    assert time.monotonic() - started < 40  # the whole drip would take 50 s
    assert len(server.requests) == 3


def test_a_silent_server_is_left_at_the_deadline(provider, tmp_path):
    with (
        service_server(otherwise=lambda request: Response(hang_s=2)) as server,
        pytest.raises(ServiceError, match=r"within 0\.3 s"),
    ):
        annotate(provider, server, tmp_path, timeout_s=0.3, max_attempts=2)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_so_the_key_stays_home(provider, tmp_path, status):
    with service_server() as other:
        away = {"Location": f"{other.base_url}/v1/models/x:generateContent"}
        with (
            service_server(otherwise=failing(status, headers=away)) as server,
            pytest.raises(ServiceError, match="redirects elsewhere"),
        ):
            annotate(provider, server, tmp_path)
    assert other.requests == []
    assert len(server.requests) == 1


@pytest.mark.parametrize("content_type", ["text/html", "application/json"])
@pytest.mark.parametrize(
    "body", [b"<html>log in</html>", b"[]", b'"text"', b"null", b'{"candidates": 7, "choices": 7}', b"", b"\xff\xfe"]
)
def test_something_else_than_the_api_at_the_address_is_a_service_error(provider, tmp_path, body, content_type):
    page = lambda request: Response(body=body, content_type=content_type)  # noqa: E731
    with service_server(otherwise=page) as server, pytest.raises(ServiceError) as failure:
        annotate(provider, server, tmp_path, max_attempts=2)
    assert server.base_url in str(failure.value.where)


def test_a_server_that_echoes_the_key_does_not_get_it_into_errors_answers_or_files(provider, tmp_path):
    def echo(request: Request) -> Response:
        return reply(request, answer_text(request).replace("about", f"key {SECRET}"), model=f"model {SECRET}")

    progress = SilentProgress()
    script = [echo, failing(503, f"{SECRET} is late"), failing(403, f"key {SECRET} is blocked")]
    with service_server(script) as server, pytest.raises(ServiceError) as failure:
        annotate(provider, server, tmp_path, progress=progress)
    assert SECRET not in str(failure.value)
    assert failure.value.__context__ is None
    assert failure.value.__cause__ is None
    assert SECRET not in "".join(progress.warnings)
    kept = (tmp_path / LEDGER).read_text()
    assert SECRET not in kept
    assert "_API_KEY]" in kept


def test_not_even_the_most_talkative_log_holds_the_key(provider, tmp_path, caplog):
    with caplog.at_level("DEBUG"), service_server([failing(500, SECRET)]) as server:
        annotate(provider, server, tmp_path)
    assert caplog.records
    assert SECRET not in caplog.text


def test_the_key_is_in_a_header_only(provider, tmp_path):
    with service_server() as server:
        annotate(provider, server, tmp_path)
    for request in server.requests:
        assert SECRET not in request.path
        assert SECRET not in json.dumps(request.body)
        assert sum(SECRET in value for value in request.headers.values()) == 1


def test_an_unknown_finish_reason_is_a_refusal_and_warns_nobody(provider, tmp_path):
    def odd(request: Request) -> Response:
        body = good(request).body.replace(b'"STOP"', b'"NEW_REASON"').replace(b'"stop"', b'"new_reason"')
        return Response(body=body)

    with service_server([odd]) as server, warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert moves(annotate(provider, server, tmp_path)) == EXPECTED
    assert len(server.requests) == 3


def test_a_key_that_leaves_the_machine_unencrypted_is_warned_about(provider, tmp_path):
    with service_server() as server:
        for address, warned in (("http://some.host/v1", 1), ("https://some.host/v1", 0), (server.base_url, 0)):
            progress = SilentProgress()
            annotate(provider, server, tmp_path, grams=[], progress=progress, base_url=address)
            assert len(progress.warnings) == warned


def test_a_password_in_the_address_is_not_shown(provider, tmp_path):
    with service_server(otherwise=failing(403, "no")) as server:
        address = server.base_url.replace("http://", "http://me:hidden-word@")
        with pytest.raises(ServiceError) as failure:
            annotate(provider, server, tmp_path, base_url=address)
    assert "hidden-word" not in str(failure.value)
    assert "127.0.0.1" in str(failure.value.where)
