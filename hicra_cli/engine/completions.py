"""What is read of an answer of OpenAI's completions API, and what makes an answer unusable.

Servers add fields of their own and leave others out; what is read here is checked, because a proxy or another program
may sit at the address. Nothing here knows the connection.
"""

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hicra_cli.grams.annotators.client import Trouble

# Names of the two ways a response ends. A content filter ends it too: what it left is what the service answers.
STOPPED = frozenset({"stop", "eos", "eos_token", "stop_sequence", "content_filter"})
CUT = frozenset({"length", "max_tokens"})
# The longest tokens of real vocabularies (runs of blanks) have about a hundred characters.
MOST_CHARACTERS_PER_TOKEN = 256


@dataclass(frozen=True, slots=True)
class Completion:
    """One response. stopped: the model ended it, no limit did.

    token_ids: (N,) int32 with the stop token, prompt_token_ids: (P,) int32; prompt_tokens, num_tokens: their numbers by
    the server's count; logprobs: (N,) float32, nats. Each is None where the server does not tell it.
    """

    text: str
    stopped: bool
    token_ids: NDArray[np.int32] | None
    num_tokens: int | None
    prompt_token_ids: NDArray[np.int32] | None
    prompt_tokens: int | None
    logprobs: NDArray[np.float32] | None


def read_completion(content: bytes, *, max_tokens: int) -> Completion | Trouble:
    """The only choice of an answer, or why it cannot be used. max_tokens: the limit that was asked for."""
    try:
        body = _Body.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "body"
        return Trouble("lost", f"the answer is not of the API's form: {place}: {first['msg']}")
    if len(body.choices) != 1:
        return Trouble("unusable", f"{len(body.choices)} choices where one was asked for")
    choice, usage = body.choices[0], body.usage or _Usage()
    if choice.finish_reason not in STOPPED | CUT:
        return Trouble("unusable", f"it ended for the reason {choice.finish_reason!r}")
    length = len(choice.token_ids) if choice.token_ids is not None else usage.completion_tokens
    if (length or 0) > max_tokens or len(choice.text) > MOST_CHARACTERS_PER_TOKEN * max_tokens:
        counted = f"{len(choice.text)} characters" if length is None else f"{length} tokens"
        return Trouble("unusable", f"a response of {counted} where at most {max_tokens} tokens were asked for")
    return Completion(
        text=choice.text,
        stopped=choice.finish_reason in STOPPED,
        token_ids=_array(choice.token_ids),
        num_tokens=length,
        prompt_token_ids=_array(choice.prompt_token_ids),
        prompt_tokens=usage.prompt_tokens,
        logprobs=_logprobs(choice.logprobs, choice.token_ids),
    )


class _Part(BaseModel):
    """A part of an answer; all else that a server sends is ignored."""

    model_config = ConfigDict(extra="ignore")


_TokenIds = list[Annotated[int, Field(ge=0, lt=2**31)]] | None
_Count = Annotated[int, Field(ge=0)] | None


class _Choice(_Part):
    text: str
    finish_reason: str | None = None
    token_ids: _TokenIds = None
    prompt_token_ids: _TokenIds = None
    logprobs: Any = None


class _Usage(_Part):
    prompt_tokens: _Count = None
    completion_tokens: _Count = None


class _Body(_Part):
    choices: list[_Choice]
    usage: _Usage | None = None


def _array(token_ids: list[int] | None) -> NDArray[np.int32] | None:
    return None if token_ids is None else np.asarray(token_ids, dtype=np.int32)


def _logprobs(told: Any, token_ids: list[int] | None) -> NDArray[np.float32] | None:
    """One number per token, or None: servers differ in what they call log-probs, and none is better than wrong ones."""
    values = told.get("token_logprobs") if isinstance(told, dict) else None
    if token_ids is None or not isinstance(values, list) or len(values) != len(token_ids):
        return None
    if not all(isinstance(value, (int, float)) for value in values):
        return None
    return np.asarray(values, dtype=np.float32)
