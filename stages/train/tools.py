"""The tools of a step, chosen once: task, engine, mask, credit, loss. The step itself compares no strings."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor

from hicra_cli.config.train import TrainConfig
from hicra_cli.core.records import Prompt
from hicra_cli.engine.base import Engine
from hicra_cli.grams.matcher import PlanningMatcher
from hicra_cli.rl.losses import clipped_surrogate
from hicra_cli.tasks.base import Task

from .credit import Credit

TokenLoss = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class StepTools:
    """render: prompt → (P,) int32 token ids. credit: the step's signals → (N,). token_loss:
    (logprobs, token_entropy, old_logprobs, token_advantages) → (n,). learns_from_all: rollouts of groups without
    signal still have a gradient (entropy regularisation), so they are computed too. needs_entropy: credit looks at
    the entropy of each token.
    """

    task: Task
    engine: Engine
    matcher: PlanningMatcher | None
    render: Callable[[Prompt], NDArray[np.int32]]
    credit: Credit
    token_loss: TokenLoss
    learns_from_all: bool
    needs_entropy: bool
    accelerator: Accelerator
    seed: int

    @property
    def device(self) -> torch.device:
        device: torch.device = self.accelerator.device
        return device


def choose_token_loss(config: TrainConfig) -> TokenLoss:
    """The clipped surrogate, minus beta times the token entropy for entropy regularisation."""
    surrogate = partial(clipped_surrogate, clip_low=config.clip_low, clip_high=config.clip_high)

    def plain(logprobs: Tensor, token_entropy: Tensor, old_logprobs: Tensor, token_advantages: Tensor) -> Tensor:
        return surrogate(logprobs, old_logprobs, token_advantages)

    def entropy_regularised(
        logprobs: Tensor, token_entropy: Tensor, old_logprobs: Tensor, token_advantages: Tensor
    ) -> Tensor:
        return surrogate(logprobs, old_logprobs, token_advantages) - config.entropy_beta * token_entropy

    return entropy_regularised if config.algo == "entropy-reg" else plain
