"""Any server that speaks OpenAI's chat completions: OpenAI itself, a proxy, a vLLM on this machine.

Servers differ in what they accept. Where one refuses a parameter (the schema, the temperature, the seed, the limit of
tokens) the request is sent again without it, or with a weaker form of it, and so are all later ones of the run.
"""

import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from .client import Outcome, Reply, Service, ServiceClient, Trouble, hint_of
from .prices import Usage
from .prompt import RESPONSE_SCHEMA, SYSTEM_PROMPT

SCHEMA_FORMAT = {
    "type": "json_schema",
    "json_schema": {"name": "judgements", "strict": True, "schema": RESPONSE_SCHEMA},
}
FORMATS: tuple[dict[str, Any] | None, ...] = (SCHEMA_FORMAT, {"type": "json_object"}, None)


class _Body(BaseModel):
    """The part of a completion that is read; all else a server may send is ignored."""

    model_config = ConfigDict(extra="ignore")


class _Message(_Body):
    content: str | None = None
    refusal: str | None = None


class _Choice(_Body):
    message: _Message
    finish_reason: str | None = None


class _UsageBody(_Body):
    prompt_tokens: int = Field(ge=0)
    completion_tokens: int = Field(0, ge=0)


class _Completion(_Body):
    choices: list[_Choice]
    model: str | None = None
    usage: _UsageBody | None = None


class OpenAIClient(ServiceClient):
    """Asks with a JSON schema where the server can; the body is read strictly, not by the SDK's lenient models."""

    def __init__(self, service: Service) -> None:
        import openai

        super().__init__(service)
        secret = service.key.secret if service.key else None
        self._sdk = openai.AsyncOpenAI(
            # A server without a key still gets a header: the SDK would otherwise look for a key by itself.
            api_key=secret or "none",
            base_url=service.address,
            max_retries=0,
            timeout=service.timeout_s,
            http_client=self._http,
        )
        self._format = 0
        self._left_out: set[str] = set()

    async def _send(self, items: str) -> Outcome:
        import openai

        while True:
            asked = self._parameters()
            try:
                response = await self._sdk.chat.completions.with_raw_response.create(
                    model=self.service.model,
                    messages=[{"role": "system", "content": SYSTEM_PROMPT}, {"role": "user", "content": items}],
                    **asked,
                )
                return self._usable(_Completion.model_validate_json(response.http_response.content))
            except openai.APIStatusError as error:
                if self._concedes(error, asked):
                    continue
                return self._refused(error)
            except openai.APIConnectionError as error:
                cause = error.__cause__ or error.__context__
                return (self.transport_trouble(cause) if cause else None) or Trouble("lost", type(error).__name__)

    def _parameters(self) -> dict[str, Any]:
        asked: dict[str, Any] = {"temperature": self.service.temperature, "seed": self.service.seed}
        if self.service.max_output_tokens is not None:
            asked["max_completion_tokens"] = self.service.max_output_tokens
        if FORMATS[self._format] is not None:
            asked["response_format"] = FORMATS[self._format]
        return {name: value for name, value in asked.items() if name not in self._left_out}

    def _concedes(self, error: Any, asked: dict[str, Any]) -> bool:
        """Whether the server refused one of the parameters, and the request can be sent without it.

        Requests in flight at the same time meet the same refusal: what was asked then decides, not what is known now.
        The limit of tokens is never given up: it is what the ceiling of cost rests on.
        """
        if error.status_code not in (400, 422):
            return False
        refused = _refused_parameter(error)
        if refused == "response_format" and "response_format" in asked:
            at = FORMATS.index(asked["response_format"])
            self._format = max(self._format, at + 1)
            return True
        if refused in ("temperature", "seed") and refused in asked:
            self._left_out.add(refused)
            return True
        return False

    def _refused(self, error: Any) -> Outcome:
        body = error.body if isinstance(error.body, dict) else {}
        code = body.get("code")
        message = body.get("message")
        text = message if isinstance(message, str) else str(error.message)
        if code == "insufficient_quota":
            return self.service.fatal(f"{error.status_code} {text}")
        if error.status_code == 400 and (code == "context_length_exceeded" or "context length" in text.lower()):
            return Trouble("cut", self.service.redact(f"too long for the model: {text}"))
        return self.refusal(error.status_code, text, hint_of(error.response.headers, body.get("details")))

    def _usable(self, completion: _Completion) -> Reply | Trouble:
        """Look at the choice, its refusal, its finish reason and then its text, in this order."""
        billed = completion.usage
        usage = Usage(billed.prompt_tokens, billed.completion_tokens) if billed else None
        if not completion.choices:
            return Trouble("unusable", "answer without a choice", usage=usage)
        choice = completion.choices[0]
        if choice.message.refusal:
            return Trouble("unusable", self.service.redact(f"refused: {choice.message.refusal}"), usage=usage)
        if choice.finish_reason == "length":
            return Trouble("cut", "cut: length", usage=usage)
        if choice.finish_reason not in ("stop", None):
            return Trouble("unusable", self.service.redact(f"refused: {choice.finish_reason}"), usage=usage)
        text = choice.message.content
        if not text:
            return Trouble("unusable", "empty answer", usage=usage)
        if FORMATS[self._format] is None:
            text = _bare(text)
        return Reply(self.service.redact(text), self.service.redact(completion.model or self.service.model), usage)


def _refused_parameter(error: Any) -> Literal["response_format", "temperature", "seed"] | None:
    """The parameter a refusal names, by its field or else in its words; None where it names none of ours."""
    body = error.body if isinstance(error.body, dict) else {}
    named = body.get("param")
    words = json.dumps(error.body).lower()
    for name, signs in _SIGNS.items():
        if (isinstance(named, str) and named.startswith(name)) or (named is None and any(s in words for s in signs)):
            return name
    return None


_SIGNS: dict[Literal["response_format", "temperature", "seed"], tuple[str, ...]] = {
    "response_format": ("response_format", "json_schema", "json_object", "guided", "structured output"),
    "temperature": ("temperature",),
    "seed": ("'seed'", "`seed`", '\\"seed\\"', " seed "),
}


def _bare(text: str) -> str:
    """The answer without thoughts before it or a Markdown fence around it: models asked without a format write them."""
    lines = text.rpartition("</think>")[2].strip().splitlines()
    fenced = len(lines) > 2 and lines[0].startswith("```") and lines[-1].strip() == "```"
    return "\n".join(lines[1:-1] if fenced else lines)
