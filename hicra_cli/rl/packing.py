"""From ragged rollouts to micro-batches that a model can run, and back to flat response tokens.

The rest of the trainer sees flat (N,) arrays, rollout after rollout. Here rollouts are sorted by length and cut into
micro-batches of at most `token_budget` padded tokens; padding is on the right, so causal attention needs no mask:
no real token ever sees a later one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hicra_cli.core.records import Rollout


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """Some rollouts of a step, padded together.

    input_ids: (b, T) int64. predictor: (n,) int64, positions in the flattened (b * T) hidden states whose next token
    is a response token. targets: (n,) int64, those response tokens. flat: (n,) int64, their places among the step's
    N response tokens. lengths: (b,) int64, response tokens of each rollout, summing to n.
    """

    input_ids: Tensor
    predictor: Tensor
    targets: Tensor
    flat: Tensor
    lengths: Tensor

    @property
    def num_padded_tokens(self) -> int:
        """b * T: what the model computes."""
        return self.input_ids.numel()


@dataclass(frozen=True, slots=True)
class PackedRollouts:
    """The rollouts of a step, with the start of each among the N response tokens."""

    rollouts: Sequence[Rollout]
    starts: NDArray[np.int64]
    num_tokens: int

    def micro_batches(
        self, chosen: Sequence[int], *, token_budget: int, device: torch.device | str = "cpu"
    ) -> Iterator[MicroBatch]:
        """Micro-batches that cover the `chosen` rollouts once, longest first (an out-of-memory shows at once).

        A rollout longer than the budget gets a micro-batch of its own.
        """
        (mine,) = self.plan(chosen, token_budget=token_budget)
        for members in mine:
            yield self.micro_batch(members, device)

    def plan(self, chosen: Sequence[int], *, token_budget: int, workers: int = 1) -> list[list[list[int]]]:
        """Who computes what: for each of `workers` its micro-batches, each a list of rollouts, longest first.

        Every chosen rollout occurs once. All workers get the same number of micro-batches; where there are too few the
        last ones of some are empty.
        """
        order = sorted(chosen, key=lambda index: (-_total(self.rollouts[index]), index))
        micros = list(_within_budget([(index, _total(self.rollouts[index])) for index in order], token_budget))
        dealt = [micros[rank::workers] for rank in range(workers)]
        rounds = max(len(each) for each in dealt)
        return [[*each, *([[]] * (rounds - len(each)))] for each in dealt]

    def micro_batch(self, members: Sequence[int], device: torch.device | str = "cpu") -> MicroBatch:
        """The rollouts `members` (at least one), padded together."""
        width = max(_total(self.rollouts[index]) for index in members)
        input_ids = np.zeros((len(members), width), dtype=np.int64)
        predictor, targets, flat = [], [], []
        for row, index in enumerate(members):
            rollout = self.rollouts[index]
            prompt, length = len(rollout.prompt_token_ids), len(rollout.token_ids)
            input_ids[row, :prompt] = rollout.prompt_token_ids
            input_ids[row, prompt : prompt + length] = rollout.token_ids
            predictor.append(row * width + prompt - 1 + np.arange(length))
            targets.append(rollout.token_ids.astype(np.int64))
            flat.append(self.starts[index] + np.arange(length))
        lengths = np.array([len(each) for each in targets], dtype=np.int64)
        return MicroBatch(
            *(
                torch.from_numpy(each).to(device)
                for each in (input_ids, *map(np.concatenate, (predictor, targets, flat)), lengths)
            )
        )


def pack(rollouts: Sequence[Rollout]) -> PackedRollouts:
    """Lay the response tokens of rollouts end to end. Raises ValueError for an empty prompt or response."""
    for rollout in rollouts:
        if len(rollout.token_ids) == 0 or len(rollout.prompt_token_ids) == 0:
            raise ValueError(f"rollout {rollout.prompt.id}#{rollout.sample} has an empty prompt or response")
    lengths = np.array([len(rollout.token_ids) for rollout in rollouts], dtype=np.int64)
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]]) if len(lengths) else lengths
    return PackedRollouts(rollouts, starts, int(lengths.sum()))


def _within_budget(sizes: Sequence[tuple[int, int]], token_budget: int) -> Iterator[list[int]]:
    """Cut (index, size), sorted by falling size, into runs whose count times largest size fits the budget."""
    members: list[int] = []
    width = 0
    for index, size in sizes:
        if members and (len(members) + 1) * max(width, size) > token_budget:
            yield members
            members, width = [], 0
        members.append(index)
        width = max(width, size)
    if members:
        yield members


def _total(rollout: Rollout) -> int:
    # The last token predicts nothing inside the response, but keeping it makes prompt + response one plain row.
    return len(rollout.prompt_token_ids) + len(rollout.token_ids)
