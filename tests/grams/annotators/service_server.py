"""A loopback server that speaks what hicra uses of the Gemini API and of OpenAI's, and misbehaves on order."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from hicra_cli.grams.annotators.canaries import ROUTINE, STRATEGIC

MODEL = "served-model-001"
# Each good answer is billed: 100 tokens in, 50 out and 25 of thought.
GEMINI_USAGE = {"promptTokenCount": 100, "candidatesTokenCount": 50, "thoughtsTokenCount": 25, "totalTokenCount": 175}
OPENAI_USAGE = {"prompt_tokens": 100, "completion_tokens": 75, "total_tokens": 175}


@dataclass
class Request:
    """One request as it arrived."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    at: float
    method: str = "POST"

    @property
    def provider(self) -> str:
        return "openai" if self.path.endswith("/chat/completions") else "gemini"

    @property
    def text(self) -> str:
        """The user part."""
        if self.provider == "openai":
            return self.body["messages"][-1]["content"]  # type: ignore[no-any-return]
        return self.body["contents"][0]["parts"][0]["text"]  # type: ignore[no-any-return]

    @property
    def all_items(self) -> list[dict[str, Any]]:
        """The items with the control items."""
        items: list[dict[str, Any]] = json.loads(self.text)["items"]
        return items

    @property
    def items(self) -> list[dict[str, Any]]:
        """The items without the control items."""
        return [item for item in self.all_items if item["gram"] not in STRATEGIC and item["gram"] not in ROUTINE]

    @property
    def grams(self) -> list[str]:
        return [item["gram"] for item in self.items]


@dataclass
class Response:
    """What to answer. `drip_s`: seconds between single bytes of the body; `hang_s`: silence before anything;
    `cut_at`: bytes of the body after which the connection is reset."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    drip_s: float = 0.0
    hang_s: float = 0.0
    cut_at: int | None = None


Behaviour = Callable[[Request], Response]


def move_of(gram: str) -> str:
    """A move that depends on the gram alone; a model that knows its job knows the control items."""
    if gram in STRATEGIC or gram in ROUTINE:
        return "deduction" if gram in STRATEGIC else "none"
    return ("deduction", "branching", "backtracing", "none")[sum(map(ord, gram)) % 4]


def answers_to(request: Request) -> list[dict[str, Any]]:
    return [
        {"id": item["id"], "move": move_of(item["gram"]), "confidence": 0.9, "reason": f"about {item['gram']}"}
        for item in request.all_items
    ]


def answer_text(request: Request) -> str:
    return json.dumps({"answers": answers_to(request)})


def gemini_envelope(text: str, *, finish_reason: str = "STOP", model: str = MODEL) -> bytes:
    candidate = {"content": {"role": "model", "parts": [{"text": text}]}, "finishReason": finish_reason}
    return json.dumps({"candidates": [candidate], "modelVersion": model, "usageMetadata": GEMINI_USAGE}).encode()


def openai_envelope(text: str, *, finish_reason: str = "stop", model: str = MODEL) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish_reason}
    body = {"id": "c", "object": "chat.completion", "created": 1, "model": model, "choices": [choice]}
    return json.dumps(body | {"usage": OPENAI_USAGE}).encode()


FINISH = {"STOP": "stop", "MAX_TOKENS": "length", "SAFETY": "content_filter"}


def reply(request: Request, text: str, *, finish_reason: str = "STOP", model: str = MODEL) -> Response:
    """A text in the envelope of the API that was asked."""
    if request.provider == "openai":
        return Response(body=openai_envelope(text, finish_reason=FINISH[finish_reason], model=model))
    return Response(body=gemini_envelope(text, finish_reason=finish_reason, model=model))


def good(request: Request) -> Response:
    return reply(request, answer_text(request))


def edited(edit: Callable[[list[dict[str, Any]]], Any]) -> Behaviour:
    """A good answer whose list of entries was changed."""
    return lambda request: reply(request, json.dumps({"answers": edit(answers_to(request))}))


def failing(
    status: int, message: str = "no", *, headers: dict[str, str] | None = None, details: Any = None
) -> Behaviour:
    error = {"error": {"code": status, "status": "X", "message": message, "details": details or []}}
    return lambda request: Response(status, json.dumps(error).encode(), headers or {})


def saying(text: str, *, finish_reason: str = "STOP") -> Behaviour:
    return lambda request: reply(request, text, finish_reason=finish_reason)


class ServiceServer:
    """`script`: behaviours of the first requests, in order of arrival; `otherwise` of all others."""

    def __init__(self, script: list[Behaviour], otherwise: Behaviour) -> None:
        self.requests: list[Request] = []
        self._script = list(script)
        self._otherwise = otherwise
        self._lock = threading.Lock()
        self.base_url = ""

    def respond(self, request: Request) -> Response:
        with self._lock:
            self.requests.append(request)
            behaviour = self._script.pop(0) if self._script else self._otherwise
        return behaviour(request)


@contextmanager
def service_server(script: list[Behaviour] | None = None, otherwise: Behaviour = good) -> Iterator[ServiceServer]:
    """A server on a free port of 127.0.0.1, stopped at the end."""
    server = ServiceServer(script or [], otherwise)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            raw = self.rfile.read(length)
            if len(raw) < length:
                return  # the client was stopped while it was sending
            body = json.loads(raw) if raw else {}
            headers = {name.lower(): value for name, value in self.headers.items()}
            response = server.respond(Request(self.path, headers, body, time.monotonic(), self.command))
            time.sleep(response.hang_s)
            try:
                self.send_response(response.status)
                self.send_header("content-type", response.content_type)
                self.send_header("content-length", str(len(response.body)))
                for name, value in response.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self._send_body(response)
            except (BrokenPipeError, ConnectionResetError):
                return  # the client lost patience: what the test is about

        do_GET = do_POST

        def _send_body(self, response: Response) -> None:
            if response.cut_at is not None:
                self.wfile.write(response.body[: response.cut_at])
                self.wfile.flush()
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            if not response.drip_s:
                self.wfile.write(response.body)
                return
            for byte in response.body:
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
                time.sleep(response.drip_s)

        def log_message(self, format: str, *args: Any) -> None:
            return None

    http = _Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    server.base_url = f"http://127.0.0.1:{http.server_address[1]}"
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64
