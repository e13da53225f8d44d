"""What only Gemini's API does: its request, its block reasons, thoughts beside the answer."""

import json

import pytest

from hicra_cli.grams.annotators.prompt import SYSTEM_PROMPT

from .asking import EXPECTED, GRAMS, SECRET, annotate, moves
from .service_server import Request, Response, answer_text, service_server


def test_the_request_carries_schema_temperature_key_header_and_data_apart_from_the_instruction(tmp_path):
    with service_server() as server:
        annotate("gemini", server, tmp_path)
    request = server.requests[0]
    assert "/models/gemini-2.5-flash:generateContent" in request.path
    assert SECRET not in request.path
    assert request.headers["x-goog-api-key"] == SECRET
    generation = request.body["generationConfig"]
    assert generation["temperature"] == 0
    assert isinstance(generation["seed"], int)
    assert "maxOutputTokens" not in generation
    assert generation["responseMimeType"] == "application/json"
    assert "responseJsonSchema" in generation
    assert request.body["systemInstruction"]["parts"] == [{"text": SYSTEM_PROMPT}]
    assert request.grams == list(GRAMS[:3])
    assert request.items[0]["contexts"] == ["so let me check we see", "elsewhere"]


@pytest.mark.parametrize(
    "body",
    [
        b'{"candidates": []}',
        b'{"promptFeedback": {"blockReason": "SAFETY"}}',
        b'{"candidates": [{"finishReason": "PROHIBITED_CONTENT"}]}',
        b'{"candidates": [{"content": {"role": "model"}, "finishReason": "STOP"}]}',
    ],
    ids=["no candidate", "prompt blocked", "prohibited", "no parts"],
)
def test_an_answer_without_content_is_asked_again(tmp_path, body):
    with service_server([lambda request: Response(body=body)]) as server:
        assert moves(annotate("gemini", server, tmp_path)) == EXPECTED
    assert server.requests[0].text == server.requests[1].text
    assert len(server.requests) == 3


def test_thoughts_before_the_answer_are_no_part_of_it(tmp_path):
    def thinks(request: Request) -> Response:
        parts = [{"text": '{"answers": [', "thought": True}, {"text": answer_text(request)}]
        candidate = {"content": {"role": "model", "parts": parts}, "finishReason": "STOP"}
        return Response(body=json.dumps({"candidates": [candidate]}).encode())

    with service_server(otherwise=thinks) as server:
        found = annotate("gemini", server, tmp_path)
    assert moves(found) == EXPECTED
    assert {each.model for each in found} == {"gemini-2.5-flash"}  # the one asked: the answer names none
