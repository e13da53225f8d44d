"""The connection to a server of OpenAI's completions API: attempts, deadlines, refusals, and no key in any message.

A request is repeated where another attempt may help: the connection broke, the server was busy or starting, the answer
came in another form. Parameters that only make a request more explicit (`optional`) are left out, for the rest of the
run, where the server refuses them; one that changes what is sampled never is. Redirects are not followed.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from hicra_cli.config.engine import EngineConfig
from hicra_cli.config.keys import ServiceKey, service_key
from hicra_cli.core.errors import ServiceError, UsageError
from hicra_cli.engine.completions import Completion, read_completion
from hicra_cli.grams.annotators.client import LOCAL, RETRYABLE_STATUS, Trouble, hint_of, short, trusted_roots
from hicra_cli.grams.annotators.patience import Patience

if TYPE_CHECKING:
    import httpx2

KEY_VARIABLE = "OPENAI_API_KEY"
LONGEST_BODY_BYTES = 256 * 1024 * 1024
# Questions about the server itself are answered at once, or it is no use waiting.
LISTING_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model as the server lists it. context: tokens that prompt and response may have, None where it is not told."""

    name: str
    context: int | None


@dataclass(frozen=True, slots=True)
class Wish:
    """A request for one response. required: what decides the response; optional: what a server need not understand."""

    name: str
    required: Mapping[str, Any]
    optional: Mapping[str, Any]
    max_tokens: int


class CompletionServer:
    """An async context manager, used inside one event loop. left_out: optional parameters the server has refused."""

    def __init__(self, config: EngineConfig, patience: Patience, left_out: set[str]) -> None:
        self._config = config
        self._patience = patience
        self._left_out = left_out
        self._key = server_key()
        self._http = _open(config, self._key)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def models(self) -> list[ServedModel] | None:
        """What the server lists; None where it has no list. Raises ServiceError where nobody answers."""
        attempt = 0
        while True:
            attempt += 1
            found = await self._exchange("GET", "/models", None, min(LISTING_TIMEOUT_S, self._config.timeout_s))
            if isinstance(found, _Answer) and found.status in (200, 403, 404, 405, 501):
                return _listed(found.content) if found.status == 200 else None
            trouble = self._refusal(found) if isinstance(found, _Answer) else found
            await self._wait(attempt, attempt, trouble, "models")

    async def complete(self, wish: Wish) -> Completion:
        """The response to a wish, after as many attempts as are allowed. Raises ServiceError when all hope ends."""
        attempt = failed = 0
        while True:
            await self._patience.ready()
            body = {**wish.required, **{k: v for k, v in wish.optional.items() if k not in self._left_out}}
            found = await self._exchange("POST", "/completions", body, self._config.timeout_s)
            if isinstance(found, _Answer):
                if found.status == 200:
                    completion = read_completion(found.content, max_tokens=wish.max_tokens)
                    if isinstance(completion, Completion):
                        return completion
                    found = completion
                elif self._concedes(found, body, wish):
                    continue
                else:
                    found = self._refusal(found)
            attempt += 1
            failed += found.kind != "limited"
            await self._wait(attempt, failed, found, wish.name)

    def fatal(self, message: str) -> ServiceError:
        """The failure for good, with what to do."""
        key = KEY_VARIABLE if self._key is None else f"{KEY_VARIABLE} (it is set)"
        return ServiceError(
            f"the server cannot be used: {short(self._redact(message))}",
            where=self._config.base_url,
            fix=f"Check engine.base_url, engine.model ({self._config.model}) and {key}; then repeat with --resume: "
            "responses so far are kept",
        )

    async def _wait(self, attempt: int, failed: int, trouble: Trouble, name: str) -> None:
        if failed >= self._config.max_attempts:
            raise self.fatal(f"{failed} attempts failed, the last one with: {trouble.reason}")
        delay_s = self._patience.delay_s(attempt, hint_s=trouble.hint_s, request=name)
        if not self._patience.allows(delay_s):
            raise self.fatal(
                f"waiting {delay_s:.0f} s more would exceed engine.retry_budget_s "
                f"({self._config.retry_budget_s:g} s): {trouble.reason}"
            )
        if trouble.kind == "limited":
            self._patience.hold_all(delay_s)
            await self._patience.ready()
        else:
            await asyncio.sleep(delay_s)

    async def _exchange(
        self, method: str, path: str, body: Mapping[str, Any] | None, timeout_s: float
    ) -> "_Answer | Trouble":
        """One request and its whole answer within the deadline."""
        import httpx2

        malformed = ""
        try:
            async with asyncio.timeout(timeout_s):
                return await self._fetch(method, path, body)
        except TimeoutError:
            return Trouble("lost", f"no complete answer within {timeout_s:g} s")
        except (httpx2.InvalidURL, httpx2.UnsupportedProtocol) as error:
            malformed = f"the address is malformed: {error}"
        except httpx2.HTTPError as error:
            return Trouble("lost", short(self._redact(f"{type(error).__name__} {error}".strip())))
        # Raised here, not above: the library's exception holds the request and with it the key.
        raise self.fatal(malformed)

    async def _fetch(self, method: str, path: str, body: Mapping[str, Any] | None) -> "_Answer":
        import httpx2

        async with self._http.stream(method, self._config.base_url + path, json=body) as response:
            content = bytearray()
            async for chunk in response.aiter_bytes():
                content += chunk
                if len(content) > LONGEST_BODY_BYTES:
                    raise httpx2.DecodingError("the answer has no end", request=response.request)
            return _Answer(response.status_code, response.headers, bytes(content))

    def _concedes(self, answer: "_Answer", body: Mapping[str, Any], wish: Wish) -> bool:
        """Whether the server refused optional parameters by name; they are left out from now on.

        Requests in flight meet the same refusal: what was asked then decides, not what is known now.
        """
        if answer.status not in (400, 422):
            return False
        text = answer.content.decode("utf-8", "replace")
        refused = {name for name in wish.optional if name in body and name in text}
        self._left_out |= refused
        return bool(refused)

    def _refusal(self, answer: "_Answer") -> Trouble:
        """What a status other than 200 means. Raises ServiceError where another attempt cannot help."""
        text = f"{answer.status} {_message(answer.content)}".strip()
        if 300 <= answer.status < 400:
            raise self.fatal(f"{answer.status}: the address redirects elsewhere; nothing was sent there")
        if answer.status == 429 and b"insufficient_quota" in answer.content:
            raise self.fatal(text)  # no credit is left: waiting brings none
        if answer.status == 429:
            return Trouble("limited", short(self._redact(text)), hint_of(answer.headers, None))
        if answer.status in RETRYABLE_STATUS or answer.status >= 500:
            return Trouble("failed", short(self._redact(text)), hint_of(answer.headers, None))
        raise self.fatal(text)

    def _redact(self, text: str) -> str:
        return text.replace(self._key.secret, f"[{self._key.variable}]") if self._key else text


def server_key() -> ServiceKey | None:
    """The key from the environment; a server on this machine needs none. ServiceError for what can be no key."""
    key = service_key(KEY_VARIABLE)
    if key is not None and (not (key.secret.isascii() and key.secret.isprintable()) or " " in key.secret):
        raise ServiceError(f"{KEY_VARIABLE} is no key: it holds blanks or characters that no key has")
    return key


def sends_key_in_the_clear(config: EngineConfig) -> bool:
    """Whether the key leaves this machine without encryption."""
    parts = urlsplit(config.base_url)
    return server_key() is not None and parts.scheme == "http" and parts.hostname not in LOCAL


@dataclass(frozen=True, slots=True)
class _Answer:
    """An HTTP answer that has arrived in full."""

    status: int
    headers: Any
    content: bytes


def _open(config: EngineConfig, key: ServiceKey | None) -> "httpx2.AsyncClient":
    try:
        import httpx2
    except ImportError as error:
        raise UsageError("the engine openai needs the package httpx2", fix="pip install 'hicra[openai]'") from error
    # Uncompressed: a small body could otherwise unfold into an endless one.
    headers = {"accept-encoding": "identity"} | ({"authorization": f"Bearer {key.secret}"} if key else {})
    return httpx2.AsyncClient(
        headers=headers,
        follow_redirects=False,
        timeout=None,  # ours, for the whole exchange
        limits=httpx2.Limits(max_connections=config.concurrency, max_keepalive_connections=config.concurrency),
        verify=trusted_roots(),
    )


def _listed(content: bytes) -> list[ServedModel] | None:
    """The models in a listing; None where it is none."""
    try:
        data = json.loads(content)["data"]
        return [ServedModel(str(each["id"]), _context(each.get("max_model_len"))) for each in data]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _context(value: Any) -> int | None:
    return value if isinstance(value, int) and value > 0 else None


def _message(content: bytes) -> str:
    """What a refusal says: its message, else its first characters."""
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        body = None
    error = body.get("error", body) if isinstance(body, dict) else None
    message = error.get("message") if isinstance(error, dict) else error
    return message if isinstance(message, str) else content[:200].decode("utf-8", "replace")
