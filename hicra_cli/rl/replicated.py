"""Workers that each hold the whole model: gradients are added up once per update, in flat buckets.

No wrapper around the model: a backward needs nobody else, so workers may have different numbers of micro-batches, or
none. Optimizers see the same gradient bytes everywhere (an all-reduce ends with one result), so the copies stay equal.
"""

from collections.abc import Iterator
from typing import TypeVar

import torch
from torch import Tensor

from hicra_cli.rl.exchange import Exchange
from hicra_cli.rl.model import Policy
from hicra_cli.rl.optim import clip_gradients
from hicra_cli.rl.parallel import whole_tensors

Item = TypeVar("Item")

BUCKET_BYTES = 64 << 20


class Replicated:
    """`Workers` with a copy of the weights each (data parallel)."""

    lockstep = False
    keeps_whole = False

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.rank = exchange.rank
        self.size = exchange.size
        self.device = exchange.device

    def prepare(self, policy: Policy) -> None:
        return None  # all have read the same file

    def gather(self, item: Item) -> list[Item]:
        return self.exchange.gather(item)

    def sum(self, tensor: Tensor) -> Tensor:
        return self.exchange.sum(tensor)

    def any(self, flag: bool) -> bool:
        return self.exchange.any(flag)

    def finish_gradients(self, policy: Policy) -> None:
        trained = [each for each in policy.parameters() if each.requires_grad]
        # What no worker has a gradient of stays without one: an optimizer would decay a parameter with gradient 0.
        present = torch.tensor([each.grad is not None for each in trained], dtype=torch.int32)
        self.exchange.sum_in_place(present)
        gradients = []
        for parameter, workers in zip(trained, present.tolist(), strict=True):
            if workers:
                parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                gradients.append(parameter.grad)
        for bucket in buckets(gradients, num_bytes=BUCKET_BYTES):
            flat = torch.cat([each.reshape(-1) for each in bucket])
            self.exchange.sum_in_place(flat)
            for gradient, total in zip(bucket, flat.split([each.numel() for each in bucket]), strict=True):
                gradient.copy_(total.view_as(gradient))

    def clip_gradients(self, policy: Policy, *, max_norm: float) -> float:
        return clip_gradients(policy, max_norm=max_norm)

    def named_tensors(self, policy: Policy) -> Iterator[tuple[str, Tensor]]:
        return whole_tensors(policy)


def buckets(tensors: list[Tensor], *, num_bytes: int) -> Iterator[list[Tensor]]:
    """Neighbours of one type that together stay within `num_bytes`; a larger tensor goes alone."""
    bucket: list[Tensor] = []
    filled = 0
    for tensor in tensors:
        if bucket and (filled + tensor.nbytes > num_bytes or tensor.dtype != bucket[0].dtype):
            yield bucket
            bucket, filled = [], 0
        bucket.append(tensor)
        filled += tensor.nbytes
    if bucket:
        yield bucket
