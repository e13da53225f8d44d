"""Frozen records that every part shares: prompts, rollouts, strategic grams.

Token ids and per-token numbers are numpy arrays so that records need no torch. `N` is the number of response
tokens of one rollout; the stop token that the model emitted belongs to it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray


class Outcome(StrEnum):
    """Why a rollout has its reward. Only `correct` earns 1.0.

    no_answer: no box was opened; unclosed: one was, and never closed; truncated: the token limit came before a complete
    box. unparsable: neither equal as text nor a formula that can be read. over_limit: too large to be compared;
    timeout: comparing took too long; error: it failed, or the question was never asked.
    """

    CORRECT = "correct"
    WRONG = "wrong"
    NO_ANSWER = "no_answer"
    UNCLOSED = "unclosed"
    TRUNCATED = "truncated"
    UNPARSABLE = "unparsable"
    OVER_LIMIT = "over_limit"
    TIMEOUT = "timeout"
    ERROR = "error"


class FinishReason(StrEnum):
    """`stop`: the model ended its answer; `length`: the limit of tokens cut it off."""

    STOP = "stop"
    LENGTH = "length"


class Move(StrEnum):
    """The three logical moves of a strategic gram (the paper's spelling, section 2.1)."""

    DEDUCTION = "deduction"
    BRANCHING = "branching"
    BACKTRACING = "backtracing"


@dataclass(frozen=True, slots=True)
class Prompt:
    """A query q: `text` is what the user asks, before any chat template; `answer` the gold its task can grade."""

    id: str
    text: str
    answer: str
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Rollout:
    """A trajectory o_i: what an engine sampled for one prompt.

    prompt_token_ids: (P,) int32, the templated prompt. token_ids: (N,) int32, the response with its stop token.
    sampler_logprobs: (N,) float32, nats, of the processed distribution (temperature applied).
    token_entropy: (N,) float32, nats, of the whole next-token distribution at temperature 1, where the engine
    can give it, else None. text: the response decoded without special tokens.
    """

    prompt: Prompt
    sample: int
    prompt_token_ids: NDArray[np.int32]
    token_ids: NDArray[np.int32]
    text: str
    finish_reason: FinishReason
    sampler_logprobs: NDArray[np.float32]
    token_entropy: NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """A grader's answer: the reward (1.0 or 0.0 for the built-in tasks), why, and what was read as the answer."""

    reward: float
    outcome: Outcome
    answer: str | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class StrategicGram:
    """3 to 5 normalised words that steer reasoning, with the move they make and where they came from."""

    words: tuple[str, ...]
    move: Move | None = None
    cluster: int | None = None
    source: str = ""
    document_frequency: int | None = None

    @property
    def text(self) -> str:
        """The words joined by single blanks: the gram's identity."""
        return " ".join(self.words)
