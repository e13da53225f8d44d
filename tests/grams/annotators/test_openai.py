"""What only servers of OpenAI's kind do: refuse parameters, refuse in words, run out of quota or of context."""

import json

import pytest

from hicra_cli.core.errors import ServiceError
from hicra_cli.grams.annotators.prompt import SYSTEM_PROMPT

from .asking import EXPECTED, GRAMS, LEDGER, SECRET, annotate, moves
from .service_server import Behaviour, Request, Response, answer_text, good, openai_envelope, reply, service_server


def refusing(message: str, *, param: str | None = None, code: str | None = None, status: int = 400) -> Response:
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": code}
    return Response(status, json.dumps({"error": error}).encode())


def without(name: str, response: Response, fallback: Behaviour = good) -> Behaviour:
    """A server that refuses requests with the parameter."""
    return lambda request: response if name in request.body else fallback(request)


def test_the_request_carries_schema_temperature_seed_key_and_data_apart_from_the_instruction(tmp_path):
    with service_server() as server:
        annotate("openai", server, tmp_path)
    request = server.requests[0]
    assert request.path == "/v1/chat/completions"
    assert request.headers["authorization"] == f"Bearer {SECRET}"
    assert request.body["model"] == "asked-model"
    assert request.body["temperature"] == 0
    assert isinstance(request.body["seed"], int)
    assert "max_completion_tokens" not in request.body
    assert request.body["response_format"]["json_schema"]["strict"] is True
    assert request.body["messages"][0] == {"role": "system", "content": SYSTEM_PROMPT}
    assert request.grams == list(GRAMS[:3])


@pytest.mark.parametrize(
    "response",
    [
        refusing(
            "Invalid parameter: 'response_format' of type 'json_schema' is not supported", param="response_format"
        ),
        refusing("json_schema is not supported by this server"),
        refusing("Unknown field", param="response_format.json_schema", status=422),
        # as vLLM 0.32 words it
        refusing("1 validation errors:\n  {'type': 'literal_error', 'loc': 'body.response_format.type', 'input': 'x'}"),
    ],
    ids=["named", "in words", "422", "vllm"],
)
def test_a_server_without_schemas_is_asked_for_a_json_object_and_then_for_plain_text(tmp_path, response):
    def fenced(request: Request) -> Response:
        return reply(request, "<think>```[1]```</think>\n```json\n" + answer_text(request) + "\n```")

    with service_server(otherwise=without("response_format", response, fenced)) as server:
        assert moves(annotate("openai", server, tmp_path)) == EXPECTED
    formats = [request.body.get("response_format", {}).get("type") for request in server.requests]
    # refused twice at first, and known to be refused from then on
    assert formats == ["json_schema", "json_object", None, None]


def test_refusals_in_flight_concede_one_step_only(tmp_path):
    def no_schema(request: Request) -> Response:
        if request.body.get("response_format", {}).get("type") == "json_schema":
            return refusing("no json_schema here", param="response_format")
        return good(request)

    with service_server(otherwise=no_schema) as server:
        assert moves(annotate("openai", server, tmp_path, batch_size=1, concurrency=6)) == EXPECTED
    assert all("response_format" in request.body for request in server.requests)


@pytest.mark.parametrize("name", ["temperature", "seed"])
def test_a_model_that_refuses_a_sampling_parameter_is_asked_without_it(tmp_path, name):
    refusal = refusing(f"Unsupported value: '{name}' does not support 0 with this model", param=name)
    with service_server(otherwise=without(name, refusal)) as server:
        assert moves(annotate("openai", server, tmp_path)) == EXPECTED
    assert [name in request.body for request in server.requests] == [True, False, False]


def test_the_limit_of_tokens_is_sent_and_never_given_up(tmp_path):
    refusal = refusing("max_completion_tokens is too large", param="max_completion_tokens")
    with (
        service_server(otherwise=without("max_completion_tokens", refusal)) as server,
        pytest.raises(ServiceError, match="max_completion_tokens is too large"),
    ):
        annotate("openai", server, tmp_path, max_output_tokens=4096)
    assert [request.body["max_completion_tokens"] for request in server.requests] == [4096]


def test_a_refusal_in_words_is_a_refusal(tmp_path):
    def refuses(request: Request) -> Response:
        if "this implies that" not in request.grams:
            return good(request)
        body = json.loads(openai_envelope("x"))
        body["choices"][0]["message"] = {"role": "assistant", "content": None, "refusal": "I cannot do that"}
        return Response(body=json.dumps(body).encode())

    with service_server(otherwise=refuses) as server:
        found = annotate("openai", server, tmp_path)
    assert [(each.gram, each.reason) for each in found if not each.labelled] == [
        ("this implies that", "refused: I cannot do that")
    ]


VLLM_TOO_LONG = (
    "This model's maximum context length is 4096 tokens. However, your prompt contains at least 4097 input tokens, "
    "which exceeds this limit even without any output tokens. (parameter=input_tokens, value=4097)"
)


@pytest.mark.parametrize(
    "response",
    [
        refusing("Too many tokens", code="context_length_exceeded"),
        refusing(VLLM_TOO_LONG, param="input_tokens"),
        Response(413, b"<html>Request Entity Too Large</html>", content_type="text/html"),
    ],
    ids=["openai", "vllm", "proxy"],
)
def test_a_prompt_too_long_for_the_model_is_halved(tmp_path, response):
    def small(request: Request) -> Response:
        return response if len(request.items) > 2 else good(request)

    with service_server(otherwise=small) as server:
        assert moves(annotate("openai", server, tmp_path, batch_size=6)) == EXPECTED
    assert [len(request.items) for request in server.requests] == [6, 3, 1, 2, 3, 1, 2]


def test_an_exhausted_quota_is_not_waited_out(tmp_path):
    empty = refusing("You exceeded your current quota", code="insufficient_quota", status=429)
    with service_server([good], otherwise=lambda request: empty) as server:
        with pytest.raises(ServiceError, match="exceeded your current quota"):
            annotate("openai", server, tmp_path)
        assert len(server.requests) == 2
    assert '"key"' in (tmp_path / LEDGER).read_text()


def test_without_a_key_no_key_of_the_environment_is_sent(monkeypatch, tmp_path):
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.setenv("GEMINI_API_KEY", SECRET)
    with service_server() as server:
        annotate("openai", server, tmp_path)
    assert all(SECRET not in json.dumps(request.headers) for request in server.requests)
