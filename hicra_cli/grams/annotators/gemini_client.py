"""Gemini through google-genai: what the SDK raises or silently returns, told apart."""

import warnings
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

from .client import Outcome, Reply, Service, ServiceClient, Trouble, hint_of, trusted_roots
from .prices import Usage
from .prompt import RESPONSE_SCHEMA, SYSTEM_PROMPT

if TYPE_CHECKING:
    from google.genai import types

DEFAULT_ADDRESS = "https://generativelanguage.googleapis.com"


class GeminiClient(ServiceClient):
    """Asks with structured output; validates nothing beyond the answer's being complete."""

    def __init__(self, service: Service) -> None:
        from google import genai
        from google.genai import types

        super().__init__(service)
        # A finish reason that the SDK does not know is a warning on stderr there and a refusal here.
        warnings.filterwarnings("ignore", message=".* is not a valid ", category=UserWarning, module="google.genai")
        roots = {"verify": trusted_roots()}
        secret = service.key.secret if service.key else ""
        self.sdk = genai.Client(
            api_key=secret,
            vertexai=False,
            http_options=types.HttpOptions(
                base_url=service.address,
                httpx_async_client=self._http,
                client_args={**roots, "follow_redirects": False},
                async_client_args={**roots, "follow_redirects": False},
            ),
        )
        self.settings = types.GenerateContentConfig(
            system_instruction=SYSTEM_PROMPT,
            temperature=service.temperature,
            seed=service.seed,
            max_output_tokens=service.max_output_tokens,
            response_mime_type="application/json",
            response_json_schema=RESPONSE_SCHEMA,
        )

    async def _send(self, items: str) -> Outcome:
        from google.genai import errors

        try:
            response = await self.sdk.aio.models.generate_content(
                model=self.service.model, contents=items, config=self.settings
            )
        except errors.APIError as error:
            return self.refused(error)
        return self.usable(response)

    async def called(self, work: Awaitable[Any]) -> Any:
        """The result of another call of the SDK, or the Trouble or ServiceError it comes to."""
        return await self._guarded(self._refusals_of(work))

    async def _refusals_of(self, work: Awaitable[Any]) -> Any:
        from google.genai import errors

        try:
            return await work
        except errors.APIError as error:
            return self.refused(error)

    def refused(self, error: Any) -> Outcome:
        """What an error status of the API means."""
        details = error.details if isinstance(error.details, dict) else {}
        inner = details.get("error")
        listed = inner.get("details") if isinstance(inner, dict) else None
        hint_s = hint_of(getattr(error.response, "headers", None), listed)
        return self.refusal(int(error.code or 0), f"{error.status or ''} {error.message or ''}".strip(), hint_s)

    def usable(self, response: "types.GenerateContentResponse") -> Reply | Trouble:
        """Look at the block reason, the candidate, its finish reason and then its text, in this order."""
        usage = _usage(response.usage_metadata)
        feedback = response.prompt_feedback
        if feedback is not None and feedback.block_reason is not None:
            return Trouble("unusable", f"refused: {_name(feedback.block_reason)}", usage=usage)
        candidate = response.candidates[0] if response.candidates else None
        if candidate is None:
            return Trouble("unusable", "answer without a candidate", usage=usage)
        finish = _name(candidate.finish_reason) if candidate.finish_reason is not None else "STOP"
        if finish == "MAX_TOKENS":
            return Trouble("cut", f"cut: {finish}", usage=usage)
        if finish != "STOP":
            return Trouble("unusable", f"refused: {finish}", usage=usage)
        parts = (candidate.content.parts if candidate.content else None) or []
        text = "".join(part.text for part in parts if part.text and not part.thought)
        if not text:
            return Trouble("unusable", "empty answer", usage=usage)
        model = response.model_version or self.service.model
        return Reply(self.service.redact(text), self.service.redact(model), usage)


def _usage(metadata: Any) -> Usage | None:
    """Billed tokens: thoughts count as output."""
    if metadata is None or metadata.prompt_token_count is None:
        return None
    outputs = (metadata.candidates_token_count or 0) + (metadata.thoughts_token_count or 0)
    return Usage(max(0, metadata.prompt_token_count), max(0, outputs))


def _name(value: Any) -> str:
    return str(getattr(value, "value", value))
