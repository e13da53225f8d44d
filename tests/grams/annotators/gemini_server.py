"""A loopback server that speaks the part of the Gemini API that hicra uses, and misbehaves on order."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Request:
    """One request as it arrived."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    at: float

    @property
    def items(self) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = json.loads(self.body["contents"][0]["parts"][0]["text"])["items"]
        return items


@dataclass
class Response:
    """What to answer. `drip_s`: seconds between single bytes of the body; `hang_s`: silence before anything."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    drip_s: float = 0.0
    hang_s: float = 0.0


Behaviour = Callable[[Request], Response]


def answer_text(request: Request) -> str:
    """A good answer: the move depends on the gram alone, so that equal grams are always labelled alike."""
    answers = [
        {"id": item["id"], "move": move_of(item["gram"]), "confidence": 0.9, "reason": f"about {item['gram']}"}
        for item in request.items
    ]
    return json.dumps({"answers": answers})


def move_of(gram: str) -> str:
    return ("deduction", "branching", "backtracing", "none")[sum(map(ord, gram)) % 4]


def envelope(text: str, *, finish_reason: str = "STOP") -> bytes:
    candidate = {"content": {"role": "model", "parts": [{"text": text}]}, "finishReason": finish_reason}
    return json.dumps({"candidates": [candidate], "modelVersion": "gemini-test-001"}).encode()


def good(request: Request) -> Response:
    return Response(body=envelope(answer_text(request)))


def failing(
    status: int, message: str = "no", *, headers: dict[str, str] | None = None, details: Any = None
) -> Behaviour:
    error = {"error": {"code": status, "status": "X", "message": message, "details": details or []}}
    return lambda request: Response(status, json.dumps(error).encode(), headers or {})


def saying(text: str, *, finish_reason: str = "STOP") -> Behaviour:
    return lambda request: Response(body=envelope(text, finish_reason=finish_reason))


class GeminiServer:
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
def gemini_server(script: list[Behaviour] | None = None, otherwise: Behaviour = good) -> Iterator[GeminiServer]:
    """A server on a free port of 127.0.0.1, stopped at the end."""
    server = GeminiServer(script or [], otherwise)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["content-length"])
            body = json.loads(self.rfile.read(length))
            headers = {name.lower(): value for name, value in self.headers.items()}
            response = server.respond(Request(self.path, headers, body, time.monotonic()))
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
            if not response.drip_s:
                self.wfile.write(response.body)
                return
            for byte in response.body:
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
                time.sleep(response.drip_s)

        def log_message(self, format: str, *args: Any) -> None:
            return None

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    thread = threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    server.base_url = f"http://127.0.0.1:{http.server_address[1]}"
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
