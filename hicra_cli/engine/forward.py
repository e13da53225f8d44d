"""How one decoding step is computed for a model at hand: written out, layer by layer, or by the model itself.

Decided once, when the engine is built, by comparing log-probs with the model's own forward; looked up again at each
call, because a trainer may put hooks, shards or adapters into the model in between.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from hicra_cli.config.sampling import SamplingConfig
from hicra_cli.engine.head import draw_from_hidden
from hicra_cli.engine.lean import hooked, read_layers
from hicra_cli.engine.row_cache import RowCache, decode_attention_of, require_full_attention
from hicra_cli.engine.sampling_math import Drawn, draw_tokens

# Log-prob difference (nats) to the model's own forward, expected over its distribution, that rounding explains in 32
# and in 16 bits. The largest difference of all words would not do: logits of unlikely words have few digits there.
_TOLERANCE = 1e-4
_TOLERANCE_16_BITS = 0.1
# Tokens of the two sequences that are compared.
_COMPARED_TOKENS = 6


@dataclass(frozen=True, slots=True)
class Step:
    """One token further. states: (token ids (n,), positions (n,), mask, cache) → what `draw` takes, (n, …).

    draw: (states, uniforms (n,) float64, sampling) → drawn tokens.
    """

    states: Callable[[Tensor, Tensor, Tensor, RowCache], Tensor]
    draw: Callable[[Tensor, Tensor, SamplingConfig], Drawn]


class PolicyForward:
    """The fastest step that agrees with `model`, a HF decoder-only model or a peft model around one."""

    def __init__(self, model: Any) -> None:
        self.model = model.get_base_model() if hasattr(model, "get_base_model") else model
        require_full_attention(self.model)
        self._head_agrees, self._lean_agrees = self._compare()

    def begin(self, compute_dtype: torch.dtype | None = None) -> Step:
        """The step for one call, with the weights as they are now; compute_dtype: where autocast is on, its type."""
        head = plain_head(self.model) if self._head_agrees else None
        if head is None:
            return Step(self._own_logits, draw_tokens)
        layers = read_layers(self.model, autocast=compute_dtype is not None) if self._lean_agrees else None
        weight = head.weight if compute_dtype is None else head.weight.to(compute_dtype)
        states = self._own_states if layers is None else layers.step
        return Step(states, partial(_draw, weight=weight))

    def _own_states(self, token_ids: Tensor, positions: Tensor, mask: Tensor, cache: RowCache) -> Tensor:
        """(n, H) hidden states after the last norm."""
        states = self.model.base_model(**_inputs(token_ids, positions, mask, cache)).last_hidden_state
        return states[:, -1]  # type: ignore[no-any-return]

    def _own_logits(self, token_ids: Tensor, positions: Tensor, mask: Tensor, cache: RowCache) -> Tensor:
        """(n, V)."""
        return self.model(**_inputs(token_ids, positions, mask, cache)).logits[:, -1]  # type: ignore[no-any-return]

    def _whole_logits(self, ids: Tensor) -> Tensor:
        # A mask of ones says that a padding token here is meant; without it transformers warns.
        mask = torch.ones_like(ids)
        return self.model(input_ids=ids, attention_mask=mask, use_cache=False).logits  # type: ignore[no-any-return]

    @torch.inference_mode()
    def _compare(self) -> tuple[bool, bool]:
        """Whether the model's logits are its hidden states times its head, and whether the lean layers agree."""
        head = plain_head(self.model)
        if head is None:
            return False, False
        layers = read_layers(self.model)
        device = head.weight.device
        # Two sequences of tokens from all over the vocabulary.
        ids = torch.linspace(0, head.weight.shape[0] - 1, 2 * _COMPARED_TOKENS, device=device).long().view(2, -1)
        tolerance = _TOLERANCE if head.weight.dtype.itemsize > 2 else _TOLERANCE_16_BITS
        with decode_attention_of(self.model) as use_decode_attention:
            wanted = torch.log_softmax(self._whole_logits(ids).double(), dim=-1)

            def agrees(states: Callable[[Tensor, Tensor, Tensor, RowCache], Tensor]) -> bool:
                found = torch.log_softmax(_stepped(states, ids, head).double(), dim=-1)
                difference = (wanted.exp() * (found - wanted).abs()).sum(dim=-1)
                return bool(difference.max() <= tolerance)

            use_decode_attention(True)
            return agrees(self._own_states), layers is not None and agrees(layers.step)


def plain_head(model: Any) -> nn.Linear | None:
    """The output head, if all it does is multiply and its weight is a whole tensor here."""
    head = model.get_output_embeddings()
    if type(head) is not nn.Linear or head.bias is not None or hooked([head]):
        return None
    return head if type(head.weight) in (Tensor, nn.Parameter) else None


def _draw(states: Tensor, uniforms: Tensor, sampling: SamplingConfig, *, weight: Tensor) -> Drawn:
    return draw_from_hidden(states.to(weight.dtype), weight, uniforms, sampling)


def _inputs(token_ids: Tensor, positions: Tensor, mask: Tensor, cache: RowCache) -> dict[str, Any]:
    return {
        "input_ids": token_ids.unsqueeze(1),
        "position_ids": positions.unsqueeze(1),
        "attention_mask": mask,
        "past_key_values": cache,
        "use_cache": True,
    }


def _stepped(states: Callable[[Tensor, Tensor, Tensor, RowCache], Tensor], ids: Tensor, head: nn.Linear) -> Tensor:
    """(rows, tokens, V) logits of sequences (rows, tokens), one column after the other through a cache."""
    rows, tokens = ids.shape
    cache = RowCache(rows=rows, columns=tokens, dtype=head.weight.dtype, device=ids.device)
    nothing = torch.zeros(rows, dtype=torch.int64, device=ids.device)
    with cache.prefilling(nothing, nothing):
        pass
    logits = []
    for column in range(tokens):
        lengths = nothing + column
        logits.append(head(states(ids[:, column], lengths, cache.begin_step(lengths, longest=column), cache)))
    return torch.stack(logits, dim=1)
