"""Bringing new weights into an engine's own model, whole or tensor by tensor."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from hicra_cli.core.errors import EngineError

_FIX = "Give the engine the unwrapped model of the same architecture."


def copy_parameters(source: nn.Module, target: nn.Module) -> None:
    """Copy all weights by name. Raises EngineError, before anything is changed, where names or shapes differ."""
    new, old = source.state_dict(), target.state_dict()
    differing = sorted(new.keys() ^ old.keys()) or sorted(name for name in new if new[name].shape != old[name].shape)
    if differing:
        raise EngineError(
            f"the new weights do not fit the engine's model: {len(differing)} tensors differ in name or shape, "
            f"first {differing[0]}",
            fix=_FIX,
        )
    load_named(new.items(), target)


@torch.no_grad()
def load_named(named: Iterable[tuple[str, Tensor]], target: nn.Module) -> None:
    """Copy full tensors into `target` by name, one at a time; they may have another type or device.

    Tied weights may come under one of their names or all. Raises EngineError at the first name or shape the model
    lacks, and at the end where one of its weights has not come; `target` is then a mixture of old and new weights.
    """
    slots: dict[str, Tensor] = target.state_dict(keep_vars=True)
    absent = {id(slot) for slot in slots.values()}
    for name, tensor in named:
        slot = slots.get(name)
        if slot is None or slot.shape != tensor.shape:
            expected = "unknown to it" if slot is None else f"{tuple(slot.shape)} there"
            raise EngineError(
                f"the new weights do not fit the engine's model: {name} of shape {tuple(tensor.shape)} is {expected}",
                fix=_FIX,
            )
        slot.copy_(tensor)
        absent.discard(id(slot))
    missing = sorted(name for name, slot in slots.items() if id(slot) in absent)
    if missing:
        raise EngineError(
            f"the new weights are incomplete: {len(missing)} of {len(slots)} tensors have not come, first {missing[0]}",
            fix=_FIX,
        )
