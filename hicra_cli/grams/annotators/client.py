"""One request to a service: a deadline for the whole of it, no redirects, no retries, and no key in any message.

What the SDKs do by themselves and must not: follow a redirect with the key, never end a response that drips, retry
behind our back, return cut, refused or empty answers without an error. A client maps everything that can happen to a
`Reply`, to a `Trouble` (worth another attempt or another batch) or to a ServiceError (for good).
"""

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from hicra_cli.config.keys import ServiceKey
from hicra_cli.core.errors import ServiceError

from .patience import seconds_of_hint
from .prices import Usage

if TYPE_CHECKING:
    import ssl

    import httpx2

MESSAGE_LIMIT = 300
LOCAL = ("127.0.0.1", "localhost", "::1")
RETRYABLE_STATUS = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
# The longest answer to 500 items is below 1 MB; the result of a batch job holds at most a few dozen of them.
LONGEST_BODY_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete answer: its text, the exact model that wrote it, and what it is billed (None: not told)."""

    text: str
    model: str
    usage: Usage | None


@dataclass(frozen=True, slots=True)
class Trouble:
    """No usable answer this time.

    kind: `limited` (rate limit: all requests wait), `failed` (not answered and not billed: try again), `lost` (perhaps
    answered and billed, but not received: try again), `unusable` (the answer is at fault: refused, empty), `cut` (too
    long for one answer: a smaller batch may do). hint_s: how long the service asks to wait. usage: what is billed.
    """

    kind: Literal["limited", "failed", "lost", "unusable", "cut"]
    reason: str
    hint_s: float | None = None
    usage: Usage | None = None


Outcome = Reply | Trouble | ServiceError


@dataclass(frozen=True, slots=True)
class Service:
    """Where and how to ask. title: for messages. seed: sent along. max_output_tokens: None leaves it to the service."""

    name: Literal["gemini", "openai"]
    title: str
    model: str
    address: str
    key: ServiceKey | None
    temperature: float
    timeout_s: float
    seed: int
    max_output_tokens: int | None = None

    def redact(self, text: str) -> str:
        """Text from outside without the key."""
        return text.replace(self.key.secret, f"[{self.key.variable}]") if self.key else text

    @property
    def shown_address(self) -> str:
        """The address without a user name or password that may stand in it."""
        parts = urlsplit(self.address)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()

    @property
    def sends_key_in_the_clear(self) -> bool:
        """Whether the key leaves this machine without encryption."""
        parts = urlsplit(self.address)
        return self.key is not None and parts.scheme == "http" and parts.hostname not in LOCAL

    def fatal(self, message: str) -> ServiceError:
        """The failure for good, with what to do."""
        check = [self.key.variable] if self.key else []
        check.append(f"annotate.{self.name}.model ({self.model}) and annotate.{self.name}.base_url")
        return ServiceError(
            f"{self.title} cannot be used: {short(self.redact(message))}",
            where=self.shown_address,
            fix=f"Check {', '.join(check)}, then repeat with --resume: answers so far are kept. `--annotator lexicon` "
            "needs no service",
        )


class ServiceClient(ABC):
    """Holds the connection. An async context manager, used inside one event loop."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._http = _open(service.timeout_s)

    async def __aenter__(self) -> "ServiceClient":
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._http.aclose()

    async def ask(self, items: str) -> Outcome:
        """Send the items once. Nothing is raised: an exception of an SDK may hold the key and must not be chained."""
        outcome: Outcome = await self._guarded(self._send(items))
        return outcome

    @abstractmethod
    def _send(self, items: str) -> Any:
        """A coroutine that gives an Outcome; it handles what its SDK raises beyond the transport's errors."""

    async def _guarded(self, work: Any) -> Any:
        """The coroutine's result within the deadline, or what its failure means."""
        try:
            async with asyncio.timeout(self.service.timeout_s):
                return await work
        except TimeoutError:
            return Trouble("lost", f"no complete answer within {self.service.timeout_s:g} s")
        except json.JSONDecodeError:
            return Trouble("lost", "the answer is no JSON; is this the address of the API?")
        except (ValueError, TypeError, AttributeError, KeyError, IndexError) as error:
            # What an SDK raises on JSON of another form: pydantic's error, its own, or a stumble over the types.
            return Trouble("lost", f"the answer is not of the API's form ({type(error).__name__})")
        except Exception as error:
            trouble = self.transport_trouble(error)
            if trouble is None:
                raise
            return trouble

    def transport_trouble(self, error: BaseException) -> Trouble | ServiceError | None:
        """What a failure of the connection means; None where the error is none of the transport's."""
        import httpx2

        if isinstance(error, (httpx2.InvalidURL, httpx2.UnsupportedProtocol)):
            return self.service.fatal(f"the address is malformed: {error}")
        if not isinstance(error, httpx2.HTTPError):
            return None
        sent = not isinstance(error, (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout))
        reason = f"{type(error).__name__} {self.service.redact(str(error))}".strip()
        return Trouble("lost" if sent else "failed", short(reason))

    def refusal(self, status: int, message: str, hint_s: float | None) -> Trouble | ServiceError:
        """What an HTTP status other than 200 means."""
        text = short(self.service.redact(f"{status} {message}".strip()))
        if status == 429:
            return Trouble("limited", text, hint_s)
        if status == 413:
            return Trouble("cut", text)
        if status in RETRYABLE_STATUS or status >= 500:
            return Trouble("failed", text, hint_s)
        if 300 <= status < 400:
            return self.service.fatal(f"{status}: the address redirects elsewhere; the key was not sent there")
        return self.service.fatal(text)


def short(text: str) -> str:
    """A foreign message as one printable line."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return line if len(line) <= MESSAGE_LIMIT else line[: MESSAGE_LIMIT - 1] + "…"


def hint_of(headers: Any, details: Any) -> float | None:
    """The longest of Retry-After (and OpenAI's retry-after-ms) and Google's RetryInfo detail, in seconds."""
    found = [seconds_of_hint(headers.get("retry-after"))] if headers is not None else []
    if headers is not None and (milliseconds := seconds_of_hint(headers.get("retry-after-ms"))) is not None:
        found.append(milliseconds / 1000)
    for detail in details if isinstance(details, list) else []:
        delay = detail.get("retryDelay") if isinstance(detail, dict) else None
        found.append(seconds_of_hint(delay) if isinstance(delay, str) else None)
    return max((hint for hint in found if hint is not None), default=None)


def _open(timeout_s: float) -> "httpx2.AsyncClient":
    """Our own transport: both SDKs would follow redirects, and one takes another library where it is installed."""
    import httpx2

    class Limited(httpx2.AsyncByteStream):
        """A body that ends in an error when it grows past every sensible answer."""

        def __init__(self, response: httpx2.Response) -> None:
            self._response = response
            self._stream = response.stream

        async def __aiter__(self) -> AsyncIterator[bytes]:
            left = LONGEST_BODY_BYTES
            async for chunk in self._stream:  # type: ignore[union-attr]  # an async client's stream
                left -= len(chunk)
                if left < 0:
                    raise httpx2.DecodingError("the answer has no end", request=self._response.request)
                yield chunk

        async def aclose(self) -> None:
            await self._stream.aclose()  # type: ignore[union-attr]

    async def limit(response: httpx2.Response) -> None:
        response.stream = Limited(response)

    return httpx2.AsyncClient(
        follow_redirects=False, timeout=timeout_s, event_hooks={"response": [limit]}, verify=trusted_roots()
    )


@cache
def trusted_roots() -> "ssl.SSLContext":
    """The certificates that are trusted; reading them takes longer than anything else about a client."""
    import httpx2

    return httpx2.create_ssl_context()
