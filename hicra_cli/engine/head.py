"""From hidden states to tokens over a large vocabulary, tile by tile: the (n, V) logits never exist.

n = rows decoded together, H = hidden size, V = vocabulary. Where V is 150,000 the logits of 64 rows fill 39 MB, and
every pass over them (maximum, exp, sums, draw) waits for memory. Here a tile of the vocabulary is multiplied and read
for everything while it lies in the processor's cache; what is kept is one maximum per tile and one sum per block of
words. The draw picks a block by its sum and computes the few logits of that block again.

The draw is the one of `sampling_math.py`: first word whose cumulative weight exceeds the row's uniform number.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hicra_cli.config.sampling import SamplingConfig
from hicra_cli.engine.sampling_math import FLOOR, Drawn, draw_tokens, first_reaching

# Words of a tile: with 64 rows half a megabyte, which fits into a second-level cache.
_TILE = 2048
# Words of a block, whose logits are computed again for each row at each draw.
_BLOCK = 64


@dataclass(frozen=True, slots=True)
class _Sums:
    """What a pass over the vocabulary leaves, relative to each tile's maximum.

    peaks (n, tiles): the maxima. totals (n, tiles): sum of exp(z - peak). dots (n, tiles): sum of exp(z - peak) *
    (z - peak). blocks (n, tiles, blocks of a tile): sums of exp((z - peak) / temperature).
    """

    peaks: Tensor
    totals: Tensor
    dots: Tensor
    blocks: Tensor


def draw_from_hidden(hidden: Tensor, weight: Tensor, uniforms: Tensor, sampling: SamplingConfig) -> Drawn:
    """Draw one token per row of `hidden` (n, H) with the output head `weight` (V, H); see `draw_tokens`.

    Small vocabularies, GPUs, greedy decoding, top-k and top-p take the whole logits.
    """
    truncated = sampling.top_k > 0 or sampling.top_p < 1
    if truncated or sampling.temperature == 0 or weight.shape[0] <= _TILE or weight.device.type != "cpu":
        return draw_tokens(nn.functional.linear(hidden, weight), uniforms, sampling)
    return _draw_by_tiles(hidden, weight, uniforms, temperature=sampling.temperature)


def _draw_by_tiles(hidden: Tensor, weight: Tensor, uniforms: Tensor, *, temperature: float) -> Drawn:
    sums = _read_vocabulary(hidden, weight, temperature=temperature)
    peak = sums.peaks.amax(dim=-1, keepdim=True)
    below = sums.peaks - peak
    scale = below.exp()
    total = (sums.totals * scale).sum(dim=-1)
    token_entropy = total.log() - ((sums.dots + below * sums.totals) * scale).sum(dim=-1) / total

    block_scale = scale if temperature == 1 else torch.exp(below / temperature)
    reached = (sums.blocks.double() * block_scale.unsqueeze(-1)).flatten(1).cumsum(dim=-1)
    wanted = uniforms * reached[:, -1]
    block = first_reaching(reached, wanted).unsqueeze(1)
    before = torch.where(block > 0, reached.gather(1, (block - 1).clamp_(min=0)), 0.0).squeeze(1)

    words = block * _BLOCK + torch.arange(_BLOCK, device=block.device)
    scaled = (_logits_of(hidden, weight, words) - peak).clamp_(min=FLOOR) / temperature
    inside = scaled.exp().masked_fill_(words >= weight.shape[0], 0.0).double().cumsum(dim=-1)
    place = first_reaching(inside, wanted - before).unsqueeze(1)
    logprobs = scaled.gather(1, place).squeeze(1) - reached[:, -1].log()
    return Drawn(words.gather(1, place).squeeze(1), logprobs.to(total.dtype), token_entropy)


def _read_vocabulary(hidden: Tensor, weight: Tensor, *, temperature: float) -> _Sums:
    rows, tiles = hidden.shape[0], -(-weight.shape[0] // _TILE)
    dtype = torch.promote_types(weight.dtype, torch.float32)
    peaks, totals, dots = hidden.new_empty((3, rows, tiles), dtype=dtype)
    blocks = hidden.new_zeros((rows, tiles, _TILE // _BLOCK), dtype=dtype)
    for index in range(tiles):
        shifted = torch.mm(hidden, weight[index * _TILE : (index + 1) * _TILE].t()).to(dtype)
        peak = shifted.amax(dim=-1, keepdim=True)
        weights = shifted.sub_(peak).clamp_(min=FLOOR).exp()
        peaks[:, index] = peak.squeeze(1)
        dots[:, index] = torch.linalg.vecdot(weights, shifted)
        if temperature == 1:
            sums = blocks[:, index] = _block_sums(weights)
            totals[:, index] = sums.sum(dim=-1)
        else:
            totals[:, index] = weights.sum(dim=-1)
            blocks[:, index] = _block_sums(shifted.div_(temperature).exp_())
    return _Sums(peaks, totals, dots, blocks)


def _block_sums(weights: Tensor) -> Tensor:
    """(n, blocks of a tile); the vocabulary's last tile is filled up with words of weight 0."""
    if weights.shape[1] < _TILE:
        weights = nn.functional.pad(weights, (0, _TILE - weights.shape[1]))
    return weights.view(-1, _TILE // _BLOCK, _BLOCK).sum(dim=-1)


def _logits_of(hidden: Tensor, weight: Tensor, words: Tensor) -> Tensor:
    """(n, words of each row) logits, at least float32; words beyond the vocabulary get the last one's."""
    chosen = weight.index_select(0, words.clamp(max=weight.shape[0] - 1).view(-1)).view(*words.shape, -1)
    return torch.bmm(chosen, hidden.unsqueeze(-1)).squeeze(-1).to(torch.promote_types(weight.dtype, torch.float32))
