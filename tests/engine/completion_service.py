"""A model behind OpenAI's completions API on loopback: what it says is a function of prompt and seed."""

import json
import zlib
from typing import Any

from tests.engine.tiny_models import tiny_tokenizer
from tests.grams.annotators.service_server import Behaviour, Request, Response

MODEL = "served"
TOKENIZER = tiny_tokenizer()


def models(*, names: tuple[str, ...] = (MODEL,), **more: Any) -> Response:
    return Response(body=json.dumps({"object": "list", "data": [{"id": name, **more} for name in names]}).encode())


def listing(otherwise: Behaviour, *, answer: Response | None = None) -> Behaviour:
    """A server with a list of models, which answers requests for responses as told."""
    return lambda request: (answer or models()) if request.path == "/v1/models" else otherwise(request)


def words_for(prompt: Any, seed: int) -> str:
    """What the model says."""
    return f"so {zlib.crc32(json.dumps([prompt, seed]).encode()) % 100_000}"


def ids_of(text: str) -> list[int]:
    return [int(each) for each in TOKENIZER(text, add_special_tokens=False)["input_ids"]]


def completion(request: Request, **changes: Any) -> dict[str, Any]:
    """An answer as vLLM gives it; `changes` of the choice, or of the whole where it has such a field."""
    body = request.body
    text = str(changes.get("text", words_for(body["prompt"], body["seed"])))
    prompt = body["prompt"] if isinstance(body["prompt"], list) else ids_of(body["prompt"])
    token_ids = [*ids_of(text), 1]
    choice = {
        "index": 0, "text": text, "finish_reason": "stop", "logprobs": None,
        "token_ids": token_ids, "prompt_token_ids": prompt,
    }  # fmt: skip
    usage = {"prompt_tokens": len(prompt), "completion_tokens": len(token_ids)}
    whole = {"id": "cmpl-1", "object": "text_completion", "model": body["model"], "choices": [choice], "usage": usage}
    for name, value in changes.items():
        (whole if name in whole else choice)[name] = value
    return whole


def answering(**changes: Any) -> Behaviour:
    return lambda request: Response(body=json.dumps(completion(request, **changes)).encode())


def refusing(status: int, message: str, *, code: str | None = None, **headers: str) -> Behaviour:
    body = {"error": {"message": message, "code": code}}
    return lambda request: Response(status, json.dumps(body).encode(), headers)


good = answering()
