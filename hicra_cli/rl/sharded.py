"""Workers that each hold a shard of the weights, gradients and moments: torch's own `fully_shard` (FSDP2).

The same code runs with NCCL on GPUs and with gloo on CPUs. Every forward and backward is a collective, so all workers
must call the policy equally often (`lockstep`). Gradients are added up, not averaged: losses are already weighted for
the whole step.
"""

from collections.abc import Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard

from hicra_cli.core.errors import UsageError
from hicra_cli.rl.exchange import Exchange
from hicra_cli.rl.model import Policy

Item = TypeVar("Item")


class Sharded:
    """`Workers` with a shard of the weights each.

    compute_dtype: what forward and backward see of the weights. keeps_whole: a layer gathered in the forward pass stays
    until its backward (ZeRO stage 2: gathered once a micro-batch instead of twice, in the room of a whole copy).
    """

    lockstep = True

    def __init__(self, exchange: Exchange, *, compute_dtype: torch.dtype, keeps_whole: bool = False) -> None:
        self.exchange = exchange
        self.rank = exchange.rank
        self.size = exchange.size
        self.device = exchange.device
        self.compute_dtype = compute_dtype
        self.keeps_whole = keeps_whole

    def prepare(self, policy: Policy) -> None:
        """Shard decoder layer by decoder layer, and what is left (embeddings, final norm, head) with the policy."""
        mesh = init_device_mesh(self.device.type, (self.size,))
        lowered = self.compute_dtype is not torch.float32
        precision = MixedPrecisionPolicy(param_dtype=self.compute_dtype if lowered else None, reduce_dtype=None)
        for module in [*decoder_layers(policy.model), policy]:
            # The root is freed after its forward too: outside of the policy's call parameters are always shards.
            fully_shard(module, mesh=mesh, mp_policy=precision, reshard_after_forward=True)
        for module in policy.modules():
            if isinstance(module, FSDPModule):
                module.set_gradient_divide_factor(1.0)
                module.set_force_sum_reduction_for_comms(True)  # gloo has no scaled sum
        if self.keeps_whole:
            policy.register_forward_pre_hook(_keep_for_backward)

    def gather(self, item: Item) -> list[Item]:
        return self.exchange.gather(item)

    def sum(self, tensor: Tensor) -> Tensor:
        return self.exchange.sum(tensor)

    def any(self, flag: bool) -> bool:
        return self.exchange.any(flag)

    def finish_gradients(self, policy: Policy) -> None:
        return None  # every backward ended with the sum over workers of its micro-batch

    def clip_gradients(self, policy: Policy, *, max_norm: float) -> float:
        norm: Any = torch.nn.utils.clip_grad_norm_(policy.parameters(), max_norm)
        return float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)

    def named_tensors(self, policy: Policy) -> Iterator[tuple[str, Tensor]]:
        for name, tensor in policy.state_dict().items():
            whole = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
            yield name.removeprefix("model."), whole


def decoder_layers(model: Any) -> list[nn.Module]:
    """The model's repeated blocks, in order: what transformers itself never splits over devices.

    Raises UsageError for an architecture that names none.
    """
    names = set(getattr(model, "_no_split_modules", None) or ())
    layers = [module for module in model.modules() if type(module).__name__ in names]
    if not layers:
        raise UsageError(
            f"{type(model).__name__} does not say what its layers are, so it cannot be sharded",
            where="train.parallel",
            fix="Use train.parallel ddp",
        )
    return layers


def _keep_for_backward(policy: Any, _inputs: Any) -> None:
    # Only a backward frees what is kept. Without one coming, kept weights would be the old ones after an update.
    policy.set_reshard_after_forward(not torch.is_grad_enabled())
