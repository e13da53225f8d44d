"""From logits to tokens: temperature, top-k, top-p, inverse-CDF draws, log-probs and entropy.

n = rows decoded together, V = vocabulary. A token is drawn with one uniform number per row: the first token (in the
order the weights are laid out) whose cumulative weight exceeds it. So a draw depends on the row's logits and its
number alone, never on the other rows. Nothing here knows models, prompts or seeds.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from hicra_cli.config.sampling import SamplingConfig

# Logits below (row maximum - this) have weight exactly 0 in float32; the floor keeps 0 * -inf out of the entropy.
FLOOR = -1.0e4
# Cumulative sums run inside blocks of this many tokens: one pass over the vocabulary, and float64 where it matters.
_BLOCK = 64
# Elements of (rows, V) worked on at once: bounds the memory beside the logits themselves.
_CHUNK_ELEMENTS = 1 << 23


@dataclass(frozen=True, slots=True)
class Drawn:
    """One drawn token per row.

    token_ids: (n,) int64. logprobs: (n,) float32, nats, of the processed distribution (temperature, top-k, top-p;
    0 under greedy decoding, whose distribution is a single token). token_entropy: (n,) float32, nats, of the whole
    distribution at temperature 1. Both are float64 where the logits are. Rows with a non-finite or empty
    distribution have a NaN in one of the two.
    """

    token_ids: Tensor
    logprobs: Tensor
    token_entropy: Tensor


def draw_tokens(logits: Tensor, uniforms: Tensor, sampling: SamplingConfig) -> Drawn:
    """Draw one token per row of logits (n, V) with uniforms (n,) float64 in [0, 1).

    Top-k is applied first, then top-p to what it left, renormalised; top-p keeps the smallest set of likeliest
    tokens that reaches the share, so at least one. Temperature 0 takes the likeliest token and ignores `uniforms`.
    """
    rows = max(1, _CHUNK_ELEMENTS // logits.shape[-1])
    if logits.shape[0] <= rows:
        return _draw(logits, uniforms, sampling)
    parts = [
        _draw(logits[first : first + rows], uniforms[first : first + rows], sampling)
        for first in range(0, logits.shape[0], rows)
    ]
    return Drawn(
        torch.cat([part.token_ids for part in parts]),
        torch.cat([part.logprobs for part in parts]),
        torch.cat([part.token_entropy for part in parts]),
    )


def _draw(logits: Tensor, uniforms: Tensor, sampling: SamplingConfig) -> Drawn:
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    shifted = (logits - logits.amax(dim=-1, keepdim=True)).clamp_(min=FLOOR)
    weights = shifted.exp()
    total = weights.sum(dim=-1)
    token_entropy = total.log() - torch.linalg.vecdot(weights, shifted) / total
    if sampling.temperature == 0:
        token_ids = logits.argmax(dim=-1)
        # Rows with a NaN keep it, so that the caller notices.
        return Drawn(token_ids, torch.zeros_like(total) * total, token_entropy)
    if sampling.temperature != 1:
        weights = torch.exp(shifted / sampling.temperature)
        total = weights.sum(dim=-1)
    if sampling.top_k > 0 or sampling.top_p < 1:
        weights, order = _truncate(weights, top_k=sampling.top_k, top_p=sampling.top_p)
        total = weights.sum(dim=-1)
        places = inverse_cdf(weights, uniforms)
        token_ids = order.gather(-1, places.unsqueeze(-1)).squeeze(-1)
    else:
        token_ids = inverse_cdf(weights, uniforms)
    scaled = shifted.gather(-1, token_ids.unsqueeze(-1)).squeeze(-1) / sampling.temperature
    return Drawn(token_ids, scaled - total.log(), token_entropy)


def _truncate(weights: Tensor, *, top_k: int, top_p: float) -> tuple[Tensor, Tensor]:
    """Weights of the likeliest tokens, sorted down, 0 outside top-k and top-p, with their token ids."""
    if 0 < top_k < weights.shape[-1]:
        kept, order = torch.topk(weights, top_k, dim=-1)
    else:
        kept, order = torch.sort(weights, dim=-1, descending=True, stable=True)
    if top_p < 1:
        reached = kept.double().cumsum(dim=-1)
        before = reached - kept
        kept = torch.where(before < top_p * reached[:, -1:], kept, 0.0)
    return kept, order


def inverse_cdf(weights: Tensor, uniforms: Tensor) -> Tensor:
    """(n,) int64: the first index whose cumulative weight exceeds uniforms * total, row by row.

    weights: (n, V) float32, not negative, not normalised. An index of weight 0 is never returned as long as any
    weight of its row is positive.
    """
    rows, width = weights.shape
    blocks = -(-width // _BLOCK)
    if blocks == 1:
        return _first_above(weights.double().cumsum(dim=-1), uniforms)
    if width % _BLOCK:
        weights = torch.nn.functional.pad(weights, (0, blocks * _BLOCK - width))
    blocked = weights.view(rows, blocks, _BLOCK)
    reached = blocked.sum(dim=-1).double().cumsum(dim=-1)
    block = _first_above(reached, uniforms)
    chosen = blocked.gather(1, block.view(rows, 1, 1).expand(rows, 1, _BLOCK)).squeeze(1)
    before = torch.where(block > 0, reached.gather(1, (block - 1).clamp_(min=0).unsqueeze(1)).squeeze(1), 0.0)
    inside = chosen.double().cumsum(dim=-1)
    wanted = uniforms * reached[:, -1] - before
    return (block * _BLOCK + first_reaching(inside, wanted)).clamp_(max=width - 1)


def _first_above(reached: Tensor, uniforms: Tensor) -> Tensor:
    return first_reaching(reached, uniforms * reached[:, -1])


def first_reaching(reached: Tensor, wanted: Tensor) -> Tensor:
    """(n,) int64: first index with reached > wanted; rounding at the end falls back to the last positive weight."""
    found = torch.searchsorted(reached, wanted.unsqueeze(1), right=True)
    last = torch.searchsorted(reached, reached[:, -1:].contiguous())
    # The bound matters for NaN only, which compares with nothing: such a row must stay a valid index to be reported.
    return torch.minimum(found, last).squeeze(1).clamp_(max=reached.shape[1] - 1)
