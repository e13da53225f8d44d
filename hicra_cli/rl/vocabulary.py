"""The two passes over the vocabulary that the fused head is made of, in tiles of some tokens × some words.

z are the logits of a chunk of tokens, p = softmax(z). The first pass gathers log-probs and entropies with running
maxima and may keep its tiles; the second turns kept tiles, or logits computed again, into gradients of hidden states
and weight: d log p_y / dz = onehot(y) - p, d entropy / dz = -p * (log p + entropy), and a soft-cap c * tanh(z / c)
multiplies both by 1 - (z / c)^2 of the capped z. What the loss makes of these figures is not known here.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields

import torch
from torch import Tensor

# Measured on CPU with 1 and 2 threads: tiles of 2 to 8 MB cost the same, fewer rows starve the matrix products.
_TILE_ELEMENTS = 2**19
_CPU_ROWS = 256
# Picking rows out of a tile costs about one pass over it: below this share of rows with a gradient that pays.
_SPARSE = 0.8


def chunk_rows(chunk: int, words: int) -> int:
    """Tokens of a chunk on a CPU, where at most `chunk` are allowed and the vocabulary has `words`."""
    return min(chunk, max(_CPU_ROWS, _TILE_ELEMENTS // words))


@dataclass(frozen=True, slots=True)
class Tiling:
    """How to compute. compute, accumulate: dtypes of the matrix products and of all else. rows, columns: of a tile,
    tokens × words; rows are also those of a chunk. softcap: bound of capped logits, or None."""

    temperature: float
    softcap: float | None
    compute: torch.dtype
    accumulate: torch.dtype
    rows: int
    columns: int

    @classmethod
    def of(cls, hidden: Tensor, weight: Tensor, *, temperature: float, softcap: float | None, chunk: int) -> "Tiling":
        """chunk: rows at most. On a CPU the cache decides; a GPU wants few large kernels: all words at once."""
        device, words = hidden.device.type, len(weight)
        accumulate = torch.float64 if hidden.dtype == torch.float64 else torch.float32
        lowered = torch.is_autocast_enabled(device) and accumulate is torch.float32
        compute = torch.get_autocast_dtype(device) if lowered else hidden.dtype
        if device != "cpu":
            return cls(temperature, softcap, compute, accumulate, chunk, words)
        rows = chunk_rows(chunk, words)
        return cls(temperature, softcap, compute, accumulate, rows, min(words, max(64, _TILE_ELEMENTS // rows)))

    def chunks(self, num_tokens: int) -> Iterator[slice]:
        return _slices(num_tokens, self.rows)

    def tiles(self, words: int) -> Iterator[slice]:
        return _slices(words, self.columns)


@dataclass(frozen=True, slots=True)
class TokenFigures:
    """(rows,) figures of a chunk, nats. logprobs: of the targets at the sampling temperature. entropy, log_z: at 1.
    heated_log_z: at the sampling temperature. target_logits: after capping. tops: (tiles, rows), the maxima that the
    exponentials of each tile are relative to; top: of the whole row."""

    logprobs: Tensor
    entropy: Tensor
    log_z: Tensor
    heated_log_z: Tensor
    target_logits: Tensor
    tops: Tensor
    top: Tensor

    def select(self, rows: Tensor) -> "TokenFigures":
        return TokenFigures(*(getattr(self, each.name).index_select(-1, rows) for each in fields(self)))


class KeptTiles:
    """The tiles of one chunk, each contiguous in one buffer. exponentials: of logits at the sampling temperature."""

    def __init__(self, num_tokens: int, words: int, tiling: Tiling, *, exponentials: bool, like: Tensor) -> None:
        self.exponentials = exponentials
        size = min(tiling.rows, num_tokens) * words
        self._buffer = torch.empty(size, dtype=tiling.accumulate, device=like.device)

    def tile(self, rows: int, columns: slice) -> Tensor:
        return self._buffer[columns.start * rows : columns.stop * rows].view(rows, -1)


def token_figures(
    hidden: Tensor, weight: Tensor, targets: Tensor, tiling: Tiling, kept: KeptTiles | None = None
) -> TokenFigures:
    """The first pass over a chunk: hidden (rows, H), weight (V, H), targets (rows,) int64. Fills `kept`."""
    hidden = hidden.to(tiling.compute)
    sums = _RunningSums(targets, tiling)
    scratch = [torch.empty(len(hidden) * tiling.columns, dtype=tiling.accumulate, device=hidden.device)]
    if kept is None or not kept.exponentials:
        scratch.append(torch.empty_like(scratch[0]))
    for columns in tiling.tiles(len(weight)):
        shape = len(hidden), columns.stop - columns.start
        shifted, *other = (each[: shape[0] * shape[1]].view(shape) for each in scratch)
        if kept is None:
            logits, exponentials = shifted, other[0]
        elif kept.exponentials:
            logits, exponentials = shifted, kept.tile(shape[0], columns)
        else:
            logits, exponentials = kept.tile(shape[0], columns), other[0]
        sums.add(_logits(hidden, weight[columns], tiling, out=logits), columns.start, shifted, exponentials)
    return sums.figures()


class HeadGradients:
    """The second pass: gradients of hidden (N, H) and weight (V, H), added up chunk by chunk; only those `wanted`."""

    def __init__(self, hidden: Tensor, weight: Tensor, tiling: Tiling, *, wanted: tuple[bool, bool]) -> None:
        self.hidden, self.weight, self.tiling = hidden, weight, tiling
        self.grad_hidden = torch.zeros_like(hidden, dtype=tiling.accumulate) if wanted[0] else None
        self.grad_weight = torch.zeros_like(weight, dtype=tiling.accumulate) if wanted[1] else None

    def result(self) -> tuple[Tensor | None, Tensor | None]:
        return (
            None if self.grad_hidden is None else self.grad_hidden.to(self.hidden.dtype),
            None if self.grad_weight is None else self.grad_weight.to(self.weight.dtype),
        )

    @torch.no_grad()
    def add(
        self,
        part: slice,
        targets: Tensor,
        figures: TokenFigures,
        grad_logprobs: Tensor,
        grad_entropy: Tensor | None,
        kept: KeptTiles | None = None,
    ) -> None:
        """Add a chunk, from its kept tiles (which are used up) or from logits computed again.

        grad_logprobs, grad_entropy: (rows,), of the loss. Rows where both are 0 are left out where they are many.
        """
        some = grad_logprobs != 0 if grad_entropy is None else (grad_logprobs != 0) | (grad_entropy != 0)
        active = some.nonzero().squeeze(1)
        rows = torch.arange(part.start, part.stop, device=active.device)
        chosen = None
        if len(active) < _SPARSE * len(rows):
            chosen, rows, targets, figures = active, rows[active], targets[active], figures.select(active)
            grad_logprobs = grad_logprobs[active]
            grad_entropy = None if grad_entropy is None else grad_entropy[active]
        if len(rows):
            tiles = self._tiles(rows, part.stop - part.start, chosen, kept)
            if kept is not None and kept.exponentials:
                gradients = (_from_exponentials(*each, figures, grad_logprobs, self.tiling) for each in tiles)
            else:
                gradients = (_from_logits(each[1], figures, grad_logprobs, grad_entropy, self.tiling) for each in tiles)
            self._multiply(rows, targets, gradients, _target_gradient(figures, grad_logprobs, self.tiling))

    def _tiles(
        self, rows: Tensor, size: int, chosen: Tensor | None, kept: KeptTiles | None
    ) -> Iterator[tuple[int, Tensor]]:
        """Number and contents of each tile of the rows, exponentials or logits, to be overwritten."""
        lowered = self.hidden[rows].to(self.tiling.compute) if kept is None else None
        scratch = self.hidden.new_empty(len(rows) * self.tiling.columns, dtype=self.tiling.accumulate)
        for number, columns in enumerate(self.tiling.tiles(len(self.weight))):
            place = scratch[: len(rows) * (columns.stop - columns.start)].view(len(rows), -1)
            if kept is None:
                assert lowered is not None
                yield number, _logits(lowered, self.weight[columns], self.tiling, out=place)
            elif chosen is None:
                yield number, kept.tile(size, columns)
            else:
                yield number, torch.index_select(kept.tile(size, columns), 0, chosen, out=place)

    def _multiply(self, rows: Tensor, targets: Tensor, gradients: Iterator[Tensor], on_target: Tensor) -> None:
        """Both products of each tile's logit gradient, and the share of the targets' own logits.

        The targets are done apart because in 16 bits p - 1 would lose what p has.
        """
        compute, accumulate = self.tiling.compute, self.tiling.accumulate
        hidden = self.hidden[rows].to(compute)
        grad = torch.zeros(hidden.shape, dtype=accumulate, device=hidden.device)
        for columns, gradient in zip(self.tiling.tiles(len(self.weight)), gradients, strict=True):
            lowered = gradient.to(compute)
            if self.grad_hidden is not None:
                _add_product(grad, lowered, self.weight[columns].to(compute))
            if self.grad_weight is not None:
                _add_product(self.grad_weight[columns], lowered.T, hidden)
        if self.grad_hidden is not None:
            grad += on_target[:, None] * self.weight[targets].to(compute).to(accumulate)
            self.grad_hidden[rows] = grad
        if self.grad_weight is not None:
            self.grad_weight.index_add_(0, targets, on_target[:, None] * hidden.to(accumulate))


class _RunningSums:
    """Sums over the words seen so far, each relative to the largest logit so far."""

    def __init__(self, targets: Tensor, tiling: Tiling) -> None:
        self.targets, self.tiling = targets, tiling
        lowest = torch.finfo(tiling.accumulate).min
        self.top = torch.full(targets.shape, lowest, dtype=tiling.accumulate, device=targets.device)
        self.total, self.heated, self.dot, self.target_logits = (torch.zeros_like(self.top) for _ in range(4))
        self.tops: list[Tensor] = []

    def add(self, logits: Tensor, first: int, shifted: Tensor, exponentials: Tensor) -> None:
        """A tile whose first word is `first`. shifted (may be logits itself) and exponentials are written to."""
        width = logits.shape[1]
        inside = (self.targets >= first) & (self.targets < first + width)
        found = logits.gather(1, (self.targets - first).clamp(0, width - 1)[:, None]).squeeze(1)
        self.target_logits = torch.where(inside, found, self.target_logits)
        before, self.top = self.top, torch.maximum(self.top, logits.amax(1))
        self.tops.append(self.top)
        drop = before - self.top
        torch.sub(logits, self.top[:, None], out=shifted)
        torch.exp(shifted, out=exponentials)
        # The sum of e * z is kept relative to the maximum too: absolute logits would cost digits of the entropy.
        self.dot = drop.exp() * (self.dot + self.total * drop) + torch.linalg.vecdot(exponentials, shifted)
        self.total = drop.exp() * self.total + exponentials.sum(1)
        if self.tiling.temperature != 1.0:
            torch.exp(shifted.div_(self.tiling.temperature), out=exponentials)
            self.heated = (drop / self.tiling.temperature).exp() * self.heated + exponentials.sum(1)

    def figures(self) -> TokenFigures:
        temperature = self.tiling.temperature
        log_total = self.total.log()
        log_z = self.top + log_total
        heated_log_z = log_z if temperature == 1.0 else self.top / temperature + self.heated.log()
        logprobs = self.target_logits / temperature - heated_log_z
        entropy = log_total - self.dot / self.total
        tops = torch.stack(self.tops)
        return TokenFigures(logprobs, entropy, log_z, heated_log_z, self.target_logits, tops, self.top)


def _logits(hidden: Tensor, weight: Tensor, tiling: Tiling, *, out: Tensor) -> Tensor:
    """Logits into `out`, rounded to the compute dtype as the model's own head rounds them."""
    weight = weight.to(tiling.compute)
    if out.dtype == tiling.compute:
        torch.mm(hidden, weight.T, out=out)
    else:
        out.copy_(hidden @ weight.T)
    return out if tiling.softcap is None else out.div_(tiling.softcap).tanh_().mul_(tiling.softcap)


def _from_exponentials(
    number: int, tile: Tensor, figures: TokenFigures, grad_logprobs: Tensor, tiling: Tiling
) -> Tensor:
    """-grad / temperature * p, in place, from exponentials relative to the tile's maximum."""
    log_p_of_one = figures.tops[number] / tiling.temperature - figures.heated_log_z
    return tile.mul_((-grad_logprobs / tiling.temperature * log_p_of_one.exp())[:, None])


def _from_logits(
    tile: Tensor, figures: TokenFigures, grad_logprobs: Tensor, grad_entropy: Tensor | None, tiling: Tiling
) -> Tensor:
    """The gradient of a tile of logits, without the targets' own share. The tile is used up."""
    slope = None if tiling.softcap is None else 1 - (tile / tiling.softcap) ** 2
    p = torch.exp(tile / tiling.temperature - figures.heated_log_z[:, None])
    gradient = p.mul_((-grad_logprobs / tiling.temperature)[:, None])
    if grad_entropy is not None:
        log_p = tile.sub_(figures.log_z[:, None])
        gradient -= log_p.exp() * log_p.add_(figures.entropy[:, None]) * grad_entropy[:, None]
    return gradient if slope is None else gradient.mul_(slope)


def _target_gradient(figures: TokenFigures, grad_logprobs: Tensor, tiling: Tiling) -> Tensor:
    gradient = grad_logprobs / tiling.temperature
    return gradient if tiling.softcap is None else gradient * (1 - (figures.target_logits / tiling.softcap) ** 2)


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    if total.dtype == left.dtype:
        total.addmm_(left, right)
    else:
        total += left @ right


def _slices(size: int, step: int) -> Iterator[slice]:
    return (slice(start, min(start + step, size)) for start in range(0, size, step))
