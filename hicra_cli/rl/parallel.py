"""Workers: the processes of a run and what they do together. One process is the simplest implementation.

Every worker holds the same rollouts (they are exchanged after sampling) and computes its share of the micro-batches;
gradients are *summed* over workers, because losses are weighted for the whole step. So how many workers there are does
not change the gradient.
"""

from collections.abc import Iterator
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from hicra_cli.rl.model import Policy
from hicra_cli.rl.optim import clip_gradients

Item = TypeVar("Item")


class Workers(Protocol):
    """rank: of this process, 0 … size - 1. device: where this process computes. lockstep: every forward and backward
    needs all workers (sharded weights), so a worker without a micro-batch computes one that weighs nothing.
    keeps_whole: sharded weights are whole from a forward to its backward.
    """

    rank: int
    size: int
    device: torch.device
    lockstep: bool
    keeps_whole: bool

    def prepare(self, policy: Policy) -> None:
        """Place the weights (copy or shard them), in place; before an optimizer is made of them."""
        ...

    def gather(self, item: Item) -> list[Item]:
        """The items of all workers, in the order of rank, on each of them."""
        ...

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum of all workers' tensors of equal shape, on each of them."""
        ...

    def any(self, flag: bool) -> bool:
        """Whether the flag is set on any worker; the same answer on all."""
        ...

    def finish_gradients(self, policy: Policy) -> None:
        """After the last backward of an update: every worker has (its shard of) the sum over workers."""
        ...

    def clip_gradients(self, policy: Policy, *, max_norm: float) -> float:
        """Scale all gradients together so that their norm is at most max_norm; returns the norm before."""
        ...

    def named_tensors(self, policy: Policy) -> Iterator[tuple[str, Tensor]]:
        """Whole weights by HF name, one at a time; a collective: every worker iterates."""
        ...


class OneWorker:
    """One process: nothing to exchange."""

    rank = 0
    size = 1
    lockstep = False
    keeps_whole = False

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def prepare(self, policy: Policy) -> None:
        return None

    def gather(self, item: Item) -> list[Item]:
        return [item]

    def sum(self, tensor: Tensor) -> Tensor:
        return tensor

    def any(self, flag: bool) -> bool:
        return flag

    def finish_gradients(self, policy: Policy) -> None:
        return None

    def clip_gradients(self, policy: Policy, *, max_norm: float) -> float:
        return clip_gradients(policy, max_norm=max_norm)

    def named_tensors(self, policy: Policy) -> Iterator[tuple[str, Tensor]]:
        return whole_tensors(policy)


def whole_tensors(policy: Policy) -> Iterator[tuple[str, Tensor]]:
    """The weights of a policy that is not sharded, by HF name."""
    return iter(policy.model.state_dict().items())
