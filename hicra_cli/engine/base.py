"""The interface of a sampling engine: prompts in, rollouts with token ids and log-probs out.

Randomness belongs to the sample: token t of (seed, purpose, step, prompt, sample) is drawn with a number that is a
function of these alone, where the engine lets us choose it.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from hicra_cli.config.sampling import SamplingConfig
from hicra_cli.core.records import Prompt, Rollout


@dataclass(frozen=True, slots=True)
class Request:
    """One prompt to sample: its templated token ids (P,) int32, and which samples of it are wanted."""

    prompt: Prompt
    token_ids: NDArray[np.int32]
    samples: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Draws:
    """What the randomness of a call is a function of, besides prompt and sample."""

    seed: int
    purpose: str
    step: int = 0


class Engine(Protocol):
    """Samples responses with one policy's weights. A context manager: engines hold memory and processes."""

    name: str
    version: int

    def generate(
        self,
        requests: Sequence[Request],
        sampling: SamplingConfig,
        draws: Draws,
        *,
        on_rollout: Callable[[Rollout], None] | None = None,
        keep: bool = True,
    ) -> list[Rollout]:
        """Sample every request; rollouts come back in the order of requests, then samples.

        `on_rollout` is called once per rollout as soon as it is finished, in any order. keep: false returns nothing
        and holds no rollout after that call, so that memory does not grow with their number. `sampler_logprobs` are
        those of the distribution that was sampled (temperature, top-p and top-k applied). Raises EngineError.
        """
        ...

    def update_weights(self, model: nn.Module, *, version: int) -> None:
        """Take over the weights of `model` (HF parameter names) as `version`; caches of older weights are dropped."""
        ...

    def load_weights(self, named: Iterable[tuple[str, Tensor]], *, version: int) -> None:
        """Take over full tensors by HF parameter name as `version`, one at a time, so that no whole model need exist.

        For policies whose own tensors are shards or lack a merged adapter. Tied weights may come under one of their
        names. Raises EngineError where a name or shape is unknown, or a weight is missing at the end; the engine must
        not be used after that.
        """
        ...

    def close(self) -> None:
        """Free memory and processes; harmless when repeated."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
