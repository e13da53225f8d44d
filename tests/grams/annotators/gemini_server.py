"""The loopback server by the names of its Gemini half."""

from .service_server import (
    GEMINI_USAGE,
    Behaviour,
    Request,
    Response,
    answer_text,
    failing,
    good,
    move_of,
    saying,
)
from .service_server import ServiceServer as GeminiServer
from .service_server import gemini_envelope as envelope
from .service_server import service_server as gemini_server

__all__ = [
    "GEMINI_USAGE", "Behaviour", "GeminiServer", "Request", "Response", "answer_text", "envelope", "failing",
    "gemini_server", "good", "move_of", "saying",
]  # fmt: skip
