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


@dataclass(frozen=True, slots=True)
class TokenTerms:
    """What the objective of n response tokens is made of, (n,) each.

    logprobs, old_logprobs, entropy: nats; gradient flows through the first and the last. advantages: after credit.
    importance: trainer over sampler, capped. weights: make a sum over tokens the wanted mean.
    """

    logprobs: Tensor
    old_logprobs: Tensor
    entropy: Tensor
    advantages: Tensor
    importance: Tensor
    weights: Tensor


Objective = Callable[[TokenTerms], Tensor]
"""The (n,) weighted losses whose sum over all micro-batches is the step's loss."""


@dataclass(frozen=True, slots=True)
class StepTools:
    """render: prompt → (P,) int32 token ids. credit: the step's signals → (N,). learns_from_all: rollouts of groups
    without signal still have a gradient (entropy regularisation), so they are computed too. needs_entropy: credit looks
    at the entropy of each token.
    """

    task: Task
    engine: Engine
    matcher: PlanningMatcher | None
    render: Callable[[Prompt], NDArray[np.int32]]
    credit: Credit
    objective: Objective
    learns_from_all: bool
    needs_entropy: bool
    accelerator: Accelerator
    seed: int

    @property
    def device(self) -> torch.device:
        device: torch.device = self.accelerator.device
        return device


def choose_objective(config: TrainConfig) -> Objective:
    """The clipped surrogate, minus beta times the token entropy for entropy regularisation.

    The importance weight is of what the sampling engine computed differently: it belongs to the surrogate, which is an
    expectation over the sampler's tokens, and not to the entropy of the trainer's own distribution.
    """
    surrogate = partial(clipped_surrogate, clip_low=config.clip_low, clip_high=config.clip_high)

    def plain(tokens: TokenTerms) -> Tensor:
        token_loss = surrogate(tokens.logprobs, tokens.old_logprobs, tokens.advantages)
        return tokens.weights * tokens.importance * token_loss

    def entropy_regularised(tokens: TokenTerms) -> Tensor:
        return plain(tokens) - tokens.weights * config.entropy_beta * tokens.entropy

    return entropy_regularised if config.algo == "entropy-reg" else plain
