"""From ragged rollouts to micro-batches that a model can run, and back to flat response tokens.

The rest of the trainer sees flat (N,) arrays, rollout after rollout. Here rollouts are dealt to workers by cost and cut
into micro-batches of at most `token_budget` tokens. Two layouts (rl/layout.py): rows padded on the right, where causal
attention needs no mask because no real token ever sees a later one; or one packed row without padding, in which a
prompt may stand once for all responses of its group. The last token of a response predicts nothing and is left out.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hicra_cli.core.records import Rollout
from hicra_cli.rl.attention import Segments
from hicra_cli.rl.balance import cut_padded, deal, fill_rows
from hicra_cli.rl.layout import PROMPTS_PER_ROW, Layout

Cost = Callable[[int, int], float]


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """Some rollouts of a step, `b` of them, as the model sees them.

    input_ids: (b, T) int64 padded, or (1, T) packed. predictor: (n,) int64, positions in the flattened hidden states
    whose next token is a response token. targets: (n,) int64, those response tokens. flat: (n,) int64, their places
    among the step's N response tokens. lengths: (b,) int64, response tokens of each rollout, summing to n. rollouts:
    the b rollouts in that order. position_ids: (1, T) int64 and segments where the row is packed, else None.
    """

    input_ids: Tensor
    predictor: Tensor
    targets: Tensor
    flat: Tensor
    lengths: Tensor
    rollouts: tuple[Rollout, ...]
    position_ids: Tensor | None = None
    segments: Segments | None = None

    @property
    def num_padded_tokens(self) -> int:
        """Tokens the model computes, padding included."""
        return self.input_ids.numel()


@dataclass(frozen=True, slots=True)
class PackedRollouts:
    """The rollouts of a step, with the start of each among the N response tokens.

    shared: rollouts with equal prompts go into one micro-batch, where the prompt stands once.
    """

    rollouts: Sequence[Rollout]
    starts: NDArray[np.int64]
    num_tokens: int
    layout: Layout
    shared: bool

    def micro_batches(
        self, chosen: Sequence[int], *, token_budget: int, device: torch.device | str = "cpu"
    ) -> Iterator[MicroBatch]:
        """Micro-batches that cover the `chosen` rollouts once, the costliest first (an out-of-memory shows at once).

        What is longer than the budget gets a micro-batch of its own.
        """
        (mine,) = self.plan(chosen, token_budget=token_budget)
        for members in mine:
            yield self.micro_batch(members, device)

    def plan(
        self, chosen: Sequence[int], *, token_budget: int, workers: int = 1, cost: Cost | None = None
    ) -> list[list[list[int]]]:
        """Who computes what: for each of `workers` its micro-batches, each a list of rollouts, the costliest first.

        Every chosen rollout occurs once. All workers get the same number of micro-batches; where there are too few the
        last ones of some are empty. cost: of a rollout by its prompt and response length, by default the layout's.
        """
        units = list(self._units(chosen, token_budget))
        costs = [self._cost(unit, cost) for unit in units]
        hands = deal(costs, workers=workers)
        plans = [self._cut([units[index] for index in hand], token_budget, cost) for hand in hands]
        rounds = max(len(each) for each in plans)
        return [[*each, *([[]] * (rounds - len(each)))] for each in plans]

    def micro_batch(self, members: Sequence[int], device: torch.device | str = "cpu") -> MicroBatch:
        """The rollouts `members` (at least one) in the layout of the run."""
        rollouts = tuple(self.rollouts[index] for index in members)
        rows = _packed_row(rollouts, shared=self.shared) if self.layout.packed else _padded_rows(rollouts)
        lengths = np.array([len(each.token_ids) for each in rollouts], dtype=np.int64)
        flat = _runs(self.starts[list(members)], lengths)
        targets = np.concatenate([each.token_ids for each in rollouts]).astype(np.int64)
        return MicroBatch(
            input_ids=torch.from_numpy(rows.ids).to(device),
            predictor=torch.from_numpy(rows.predictor).to(device),
            targets=torch.from_numpy(targets).to(device),
            flat=torch.from_numpy(flat).to(device),
            lengths=torch.from_numpy(lengths).to(device),
            rollouts=rollouts,
            position_ids=None if rows.positions is None else torch.from_numpy(rows.positions).to(device),
            segments=None if rows.segments is None else rows.segments.segments(device),
        )

    def _units(self, chosen: Sequence[int], token_budget: int) -> Iterator[list[int]]:
        """What must not be torn apart: single rollouts, or those of one prompt as far as the budget goes."""
        if not self.shared:
            yield from ([index] for index in chosen)
            return
        for group in _by_prompt(self.rollouts, chosen):
            unit: list[int] = []
            tokens = prompt = len(self.rollouts[group[0]].prompt_token_ids)
            most = min(token_budget, max(self.layout.row_tokens, PROMPTS_PER_ROW * prompt))
            for index in group:
                own = len(self.rollouts[index].token_ids) - 1
                if unit and tokens + own > most:
                    yield unit
                    unit, tokens = [], prompt
                unit.append(index)
                tokens += own
            yield unit

    def _cost(self, members: Sequence[int], cost: Cost | None) -> float:
        lengths = [_lengths(self.rollouts[index]) for index in members]
        if cost is None and self.shared:
            return self.layout.cost.shared(lengths[0][0], [response for _, response in lengths])
        each = self.layout.cost.sequence if cost is None else cost
        return sum(each(*pair) for pair in lengths)

    def _cut(self, units: Sequence[list[int]], token_budget: int, cost: Cost | None) -> list[list[int]]:
        """One worker's units as micro-batches, the costliest first."""
        sizes = [self._size(unit) for unit in units]
        if self.layout.packed:
            filled = fill_rows(sizes, token_budget=min(token_budget, self.layout.row_tokens))
            rows = [[units[place] for place in row] for row in filled]
        else:
            order = sorted(range(len(units)), key=lambda place: (-sizes[place], units[place]))
            runs = cut_padded([sizes[place] for place in order], token_budget=token_budget, cost=self.layout.cost)
            rows = [[units[place] for place in order[run]] for run in runs]
        rows.sort(key=lambda row: (-sum(self._cost(unit, cost) for unit in row), row))
        return [[index for unit in row for index in unit] for row in rows]

    def _size(self, unit: Sequence[int]) -> int:
        lengths = [_lengths(self.rollouts[index]) for index in unit]
        return lengths[0][0] + sum(response - 1 for _, response in lengths)


def pack(rollouts: Sequence[Rollout], layout: Layout | None = None) -> PackedRollouts:
    """Lay the response tokens of rollouts end to end. Raises ValueError for an empty prompt or response.

    layout: of the run's micro-batches; padded rows by default.
    """
    for rollout in rollouts:
        if len(rollout.token_ids) == 0 or len(rollout.prompt_token_ids) == 0:
            raise ValueError(f"rollout {rollout.prompt.id}#{rollout.sample} has an empty prompt or response")
    layout = layout or Layout()
    lengths = np.array([len(rollout.token_ids) for rollout in rollouts], dtype=np.int64)
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]]) if len(lengths) else lengths
    groups = [
        (len(rollouts[group[0]].prompt_token_ids), [len(rollouts[index].token_ids) for index in group])
        for group in _by_prompt(rollouts, range(len(rollouts)))
    ]
    return PackedRollouts(rollouts, starts, int(lengths.sum()), layout, layout.shares(groups))


@dataclass(frozen=True, slots=True)
class _Keys:
    """Segments before they are on a device. keys: (K,) int64 or None."""

    query_lengths: list[int]
    key_lengths: list[int]
    keys: NDArray[np.int64] | None

    def segments(self, device: torch.device | str) -> Segments:
        query_starts, key_starts = (
            torch.from_numpy(np.concatenate([[0], np.cumsum(each)]).astype(np.int32)).to(device)
            for each in (self.query_lengths, self.key_lengths)
        )
        keys = None if self.keys is None else torch.from_numpy(self.keys).to(device)
        return Segments(tuple(self.query_lengths), tuple(self.key_lengths), query_starts, key_starts, keys)


@dataclass(frozen=True, slots=True)
class _Rows:
    """ids: (b, T) int64. predictor: (n,) int64. positions: (1, T) int64 and segments where packed."""

    ids: NDArray[np.int64]
    predictor: NDArray[np.int64]
    positions: NDArray[np.int64] | None = None
    segments: _Keys | None = None


def _padded_rows(rollouts: Sequence[Rollout]) -> _Rows:
    width = max(_num_tokens(rollout) for rollout in rollouts)
    ids = np.zeros((len(rollouts), width), dtype=np.int64)
    for row, rollout in zip(ids, rollouts, strict=True):
        prompt, response = _lengths(rollout)
        row[:prompt] = rollout.prompt_token_ids
        row[prompt : prompt + response - 1] = rollout.token_ids[:-1]
    prompts, responses = _all_lengths(rollouts)
    return _Rows(ids, _runs(np.arange(len(rollouts)) * width + prompts - 1, responses))


def _packed_row(rollouts: Sequence[Rollout], *, shared: bool) -> _Rows:
    if shared:
        return _shared_row(rollouts)
    prompts, responses = _all_lengths(rollouts)
    sizes = prompts + responses - 1
    firsts = np.cumsum(sizes) - sizes
    ids = np.concatenate([part for each in rollouts for part in (each.prompt_token_ids, each.token_ids[:-1])])
    return _Rows(
        ids.astype(np.int64)[None],
        _runs(firsts + prompts - 1, responses),
        _runs(np.zeros_like(sizes), sizes)[None],
        _Keys(sizes.tolist(), sizes.tolist(), None),
    )


def _shared_row(rollouts: Sequence[Rollout]) -> _Rows:
    """Each prompt once, its responses after it. A segment per prompt, and one per response over prompt and itself."""
    ids: list[NDArray[np.int32]] = []
    positions, keys, query_lengths, key_lengths = [], [], [], []
    predictor: list[NDArray[np.int64]] = [np.empty(0, dtype=np.int64)] * len(rollouts)
    place = 0
    for group in _by_prompt(rollouts, range(len(rollouts))):
        prompt_ids = rollouts[group[0]].prompt_token_ids
        prompt, first = len(prompt_ids), np.arange(place, place + len(prompt_ids))
        ids.append(prompt_ids)
        positions.append(np.arange(prompt))
        keys.append(first)
        query_lengths.append(prompt)
        key_lengths.append(prompt)
        place += prompt
        for index in group:
            own = len(rollouts[index].token_ids) - 1
            mine = np.arange(place, place + own)
            predictor[index] = np.concatenate([first[-1:], mine])
            if own == 0:
                continue
            ids.append(rollouts[index].token_ids[:-1])
            positions.append(np.arange(prompt, prompt + own))
            keys += [first, mine]
            query_lengths.append(own)
            key_lengths.append(prompt + own)
            place += own
    return _Rows(
        np.concatenate(ids).astype(np.int64)[None],
        np.concatenate(predictor),
        np.concatenate(positions)[None],
        _Keys(query_lengths, key_lengths, np.concatenate(keys)),
    )


def _by_prompt(rollouts: Sequence[Rollout], chosen: Iterable[int]) -> list[list[int]]:
    """The chosen rollouts in groups of equal prompt tokens, in the order of their first member."""
    groups: defaultdict[bytes, list[int]] = defaultdict(list)
    for index in chosen:
        groups[np.asarray(rollouts[index].prompt_token_ids, dtype=np.int64).tobytes()].append(index)
    return list(groups.values())


def _runs(firsts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """first, first + 1 … of each run, one after another."""
    begins = np.cumsum(lengths) - lengths
    runs: NDArray[np.int64] = np.arange(int(lengths.sum())) + np.repeat(firsts - begins, lengths)
    return runs


def _lengths(rollout: Rollout) -> tuple[int, int]:
    return len(rollout.prompt_token_ids), len(rollout.token_ids)


def _all_lengths(rollouts: Sequence[Rollout]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    lengths = np.array([_lengths(rollout) for rollout in rollouts], dtype=np.int64)
    return lengths[:, 0], lengths[:, 1]


def _num_tokens(rollout: Rollout) -> int:
    return len(rollout.prompt_token_ids) + len(rollout.token_ids) - 1
