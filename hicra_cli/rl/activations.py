"""How much memory a micro-batch takes inside a model, found by running the model on tensors without memory.

The backbone's forward and backward pass runs on fake tensors (shapes and types, no numbers), and the storages alive at
each moment are added up: what autograd keeps, gradients on their way, copies of weights under autocast. So the figure
follows the architecture and its code, not a formula for one family. A kernel's private workspace is not seen.
"""

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
    UnsupportedFakeTensorException,
    UnsupportedOperatorException,
)
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from hicra_cli.rl.lora import add_adapters

_NEEDS_NUMBERS = (
    DataDependentOutputException,
    DynamicOutputShapeException,
    UnsupportedFakeTensorException,
    UnsupportedOperatorException,
)


_ATTENTION = "hicra_trace"


class UntraceableError(ValueError):
    """A model whose computation depends on numbers (a mixture of experts, say) has no trace without them."""


@dataclass(frozen=True, slots=True)
class ModelMemory:
    """parameters, trained: numbers of weights, tied ones once. trained_bytes, frozen_bytes: of the weights as stored.

    kept_bytes: alive between forward and backward. peak_bytes: most alive at once. Both without weights and gradients.
    """

    parameters: int
    trained: int
    trained_bytes: int
    frozen_bytes: int
    kept_bytes: int
    peak_bytes: int


def trace_model(
    hf_config: Any,
    *,
    tokens: int,
    stored: torch.dtype,
    compute: torch.dtype,
    checkpointing: bool,
    lora_rank: int = 0,
    lora_targets: Sequence[str] = ("all-linear",),
) -> ModelMemory:
    """The memory of one micro-batch of `tokens` tokens in the backbone of the model that `hf_config` describes.

    stored: precision of the weights; compute: of matrix products (autocast). Takes a second or two for 36 layers.
    Raises UntraceableError for a model whose computation depends on numbers.
    """
    model = _model_without_numbers(hf_config, stored, lora_rank, lora_targets)
    with FakeTensorMode(allow_non_fake_inputs=True):
        model.to_empty(device="cpu")
        model.tie_weights()
        model.train(checkpointing)
        if checkpointing:
            model.gradient_checkpointing_enable()
        for parameter in model.parameters():  # gradients are counted apart; backward adds to those it finds
            parameter.grad = torch.zeros_like(parameter) if parameter.requires_grad else None
        try:
            kept, peak = _trace_backbone(model, tokens, compute)
        except _NEEDS_NUMBERS as error:
            raise UntraceableError(f"{type(model).__name__} cannot be traced ({type(error).__name__})") from error
    trained = [each for each in model.parameters() if each.requires_grad]
    frozen = [each for each in model.parameters() if not each.requires_grad]
    return ModelMemory(
        parameters=sum(each.numel() for each in (*trained, *frozen)),
        trained=sum(each.numel() for each in trained),
        trained_bytes=sum(each.nbytes for each in trained),
        frozen_bytes=sum(each.nbytes for each in frozen),
        kept_bytes=kept,
        peak_bytes=peak,
    )


def _model_without_numbers(hf_config: Any, stored: torch.dtype, lora_rank: int, lora_targets: Sequence[str]) -> Any:
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(hf_config, dtype=stored)
    if lora_rank:
        add_adapters(model, rank=lora_rank, alpha=1.0, targets=lora_targets, seed=0)
    return model


def _trace_backbone(model: Any, tokens: int, compute: torch.dtype) -> tuple[int, int]:
    """(bytes between forward and backward, most bytes at once)."""
    from transformers import AttentionInterface

    # Under its own name attention gets no mask, as in a real run; sdpa with fake tensors would get one of tokens^2.
    AttentionInterface.register(_ATTENTION, _causal_attention)
    model.config._attn_implementation = _ATTENTION
    ids = torch.zeros(1, tokens, dtype=torch.int64)
    with AliveBytes(_lasting(model)) as alive:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=compute is torch.bfloat16):
            states = model.base_model(input_ids=ids, use_cache=False).last_hidden_state
        kept = alive.now
        states.backward(torch.ones_like(states))
    return kept, alive.peak


def _causal_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs: Any
) -> tuple[Tensor, None]:
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    return sdpa_attention_forward(module, query, key, value, None, **kwargs)  # type: ignore[no-any-return]


class AliveBytes(TorchDispatchMode):
    """Inside, counts the bytes of tensor storages that operations make, from their birth to their death.

    now, peak: bytes. Storages of `without` are not counted.
    """

    def __init__(self, without: Sequence[Tensor]) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known = {each.untyped_storage()._cdata: 0 for each in without}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for each in tree_leaves(result):
            if isinstance(each, Tensor):
                self._count(each.untyped_storage())
        self.peak = max(self.peak, self.now)
        return result

    def _count(self, storage: Any) -> None:
        key = storage._cdata
        if key not in self._known:
            self._known[key] = storage.nbytes()
            self.now += storage.nbytes()
            weakref.finalize(storage, self._forget, key)

    def _forget(self, key: int) -> None:
        self.now -= self._known.pop(key)


def _lasting(model: nn.Module) -> list[Tensor]:
    gradients = [each.grad for each in model.parameters() if each.grad is not None]
    return [*model.parameters(), *model.buffers(), *gradients]
