"""One request to Gemini: a deadline for the whole of it, no redirects, no retries, and no key in any message.

What the SDK does by itself and must not: it follows a redirect and sends the key along, ends a response that drips
never, and returns cut, refused or empty answers without an error. Everything it can raise is mapped to `Trouble`
(worth another attempt or another batch) or to a ServiceError (for good) here.
"""

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from hicra_cli.config.annotate import AnnotateConfig
from hicra_cli.config.keys import ServiceKey
from hicra_cli.core.errors import HicraError, ServiceError

from .gemini_prompt import RESPONSE_SCHEMA, SYSTEM_PROMPT
from .patience import seconds_of_hint

if TYPE_CHECKING:
    from google.genai import types

MESSAGE_LIMIT = 300
RETRYABLE_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete answer: its text, and the exact model that wrote it."""

    text: str
    model: str


@dataclass(frozen=True, slots=True)
class Trouble:
    """No usable answer this time.

    kind: `limited` (rate limit: all requests wait), `failed` (try again), `unusable` (the answer is at fault: cut,
    refused, empty). hint_s: how long the service asks to wait.
    """

    kind: Literal["limited", "failed", "unusable"]
    reason: str
    hint_s: float | None = None


class GeminiClient:
    """Holds the connection. An async context manager, used inside one event loop."""

    def __init__(self, config: AnnotateConfig, key: ServiceKey) -> None:
        import httpx2
        from google import genai
        from google.genai import types

        self._config = config
        self._key = key
        # Our own transport: the SDK would take aiohttp where that is installed, which has other ideas of redirects.
        self._http = httpx2.AsyncClient(follow_redirects=False, timeout=config.service.timeout_s)
        self._client = genai.Client(
            api_key=key.secret,
            vertexai=False,
            http_options=types.HttpOptions(base_url=config.gemini.base_url, httpx_async_client=self._http),
        )
        self._settings = types.GenerateContentConfig(
            system_instruction=SYSTEM_PROMPT,
            temperature=config.service.temperature,
            response_mime_type="application/json",
            response_json_schema=RESPONSE_SCHEMA,
        )

    async def __aenter__(self) -> "GeminiClient":
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._http.aclose()

    async def ask(self, items: str) -> Reply | Trouble:
        """Send the items once. Raises ServiceError where asking again cannot help."""
        outcome = await self._attempt(items)
        if isinstance(outcome, HicraError):
            raise outcome  # outside of the handler: the SDK's exception may hold the key and must not be chained
        return outcome

    async def _attempt(self, items: str) -> Reply | Trouble | ServiceError:
        import httpx2
        from google.genai import errors

        try:
            async with asyncio.timeout(self._config.service.timeout_s):
                response = await self._client.aio.models.generate_content(
                    model=self._config.gemini.model, contents=items, config=self._settings
                )
        except TimeoutError:
            return Trouble("failed", f"no complete answer within {self._config.service.timeout_s:g} s")
        except errors.APIError as error:
            return self._refused_request(error)
        except (httpx2.InvalidURL, httpx2.UnsupportedProtocol) as error:
            return self.fatal(f"the address is malformed: {error}")
        except httpx2.HTTPError as error:
            return Trouble("failed", f"{type(error).__name__} {self._redact(str(error))}".strip())
        except json.JSONDecodeError:
            return Trouble("failed", "the answer is no JSON; is this the address of the API?")
        except (ValueError, TypeError, AttributeError) as error:
            # What the SDK raises on JSON of another form: pydantic's error, its own, or a stumble over the types.
            return Trouble("failed", f"the answer is not of the API's form ({type(error).__name__})")
        return self._usable(response)

    def _usable(self, response: "types.GenerateContentResponse") -> Reply | Trouble:
        """Look at the block reason, the candidate, its finish reason and then its text, in this order."""
        feedback = response.prompt_feedback
        if feedback is not None and feedback.block_reason is not None:
            return Trouble("unusable", f"refused: {_name(feedback.block_reason)}")
        candidate = response.candidates[0] if response.candidates else None
        if candidate is None:
            return Trouble("unusable", "answer without a candidate")
        if candidate.finish_reason is not None and _name(candidate.finish_reason) != "STOP":
            word = "cut" if _name(candidate.finish_reason) == "MAX_TOKENS" else "refused"
            return Trouble("unusable", f"{word}: {_name(candidate.finish_reason)}")
        parts = (candidate.content.parts if candidate.content else None) or []
        text = "".join(part.text for part in parts if part.text and not part.thought)
        if not text:
            return Trouble("unusable", "empty answer")
        return Reply(self._redact(text), self._redact(response.model_version or self._config.gemini.model))

    def _refused_request(self, error: Any) -> Trouble | ServiceError:
        message = f"{error.code} {error.status or ''} {error.message or ''}".strip()
        if error.code == 429:
            return Trouble("limited", self._redact(message), _hint(error))
        if error.code in RETRYABLE_STATUS or error.code >= 500:
            return Trouble("failed", self._redact(message), _hint(error))
        if 300 <= error.code < 400:
            return self.fatal(f"{error.code}: the address redirects elsewhere; the key was not sent there")
        return self.fatal(message)

    def fatal(self, message: str) -> ServiceError:
        """The failure for good, with what to do."""
        return ServiceError(
            f"Gemini cannot be used: {short(self._redact(message))}",
            where=self._config.gemini.base_url or "the default address of the Gemini API",
            fix=f"Check {self._key.variable}, annotate.gemini.model ({self._config.gemini.model}) and "
            "annotate.gemini.base_url, then repeat with --resume: answers so far are kept. `--annotator lexicon` needs "
            "no service",
        )

    def _redact(self, text: str) -> str:
        """Text from outside without the key."""
        return text.replace(self._key.secret, f"[{self._key.variable}]")


def short(text: str) -> str:
    """A foreign message as one printable line."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return line if len(line) <= MESSAGE_LIMIT else line[: MESSAGE_LIMIT - 1] + "…"


def _name(value: Any) -> str:
    return str(getattr(value, "value", value))


def _hint(error: Any) -> float | None:
    """The longer of Retry-After and the RetryInfo detail, in seconds."""
    headers = getattr(error.response, "headers", None) or {}
    hints = [seconds_of_hint(headers.get("retry-after"))]
    details = error.details if isinstance(error.details, dict) else {}
    inner = details.get("error")
    listed = inner.get("details") if isinstance(inner, dict) else None
    for detail in listed if isinstance(listed, list) else []:
        delay = detail.get("retryDelay") if isinstance(detail, dict) else None
        hints.append(seconds_of_hint(delay) if isinstance(delay, str) else None)
    return max((hint for hint in hints if hint is not None), default=None)
