"""What rollouts cost to learn from, and how they are dealt to workers and cut into micro-batches by that cost.

Costs are floating-point operations of forward and backward: linear in tokens for the layers, linear in response tokens
for the head, quadratic for attention. Everything here is deterministic: ties go by index.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class TokenCost:
    """Floating-point operations of an update: per token of the row, per response token, per (query, key) pair, and
    per micro-batch (what a call costs whatever its size).
    """

    per_token: float = 1.0
    per_response_token: float = 0.0
    per_pair: float = 0.0
    per_call: float = 0.0

    def sequence(self, prompt: int, response: int) -> float:
        """Of one rollout by itself, without the call."""
        tokens = prompt + response - 1
        return self.per_token * tokens + self.per_response_token * response + self.per_pair * tokens * (tokens + 1) / 2

    def shared(self, prompt: int, responses: Sequence[int]) -> float:
        """Of rollouts whose prompt runs once."""
        total = self.per_token * prompt + self.per_pair * prompt * (prompt + 1) / 2
        for response in responses:
            own = response - 1
            pairs = own * prompt + own * (own + 1) / 2
            total += self.per_token * own + self.per_response_token * response + self.per_pair * pairs
        return total

    def rows(self, width: int) -> float:
        """Of one padded row without its head: attention kernels compute the causal half of width x width."""
        return self.per_token * width + self.per_pair * width * (width + 1) / 2


def cost_of(config: Any, *, head_weights: int, layer_weights: int, all_weights: int) -> TokenCost:
    """The cost of a decoder by its HF text config.

    layer_weights, head_weights: parameters a token (a response token) is multiplied by. Forward takes 2 operations per
    parameter, backward 4; the head computes its logits twice. A pair takes 4 x width of heads forward (scores, mix)
    and 10 backward (scores again, then four products). A call costs its launches and a pass over the gradients of
    all_weights: on one CPU core as much as 32 tokens and 200 operations per weight (measured: nano 65 tokens in all,
    40 M parameters 135 ms at 60 GFLOP/s).
    """
    heads = getattr(config, "num_attention_heads", 0)
    per_token = 6.0 * layer_weights
    return TokenCost(
        per_token=per_token,
        per_response_token=8.0 * head_weights,
        per_pair=14.0 * config.num_hidden_layers * heads * head_width(config),
        per_call=32 * per_token + 200.0 * all_weights,
    )


def head_width(config: Any) -> int:
    """Width of an attention head, by a model's HF text config."""
    heads = getattr(config, "num_attention_heads", 0)
    return int(getattr(config, "head_dim", None) or config.hidden_size // max(heads, 1))


def deal(costs: Sequence[float], *, workers: int) -> list[list[int]]:
    """Deal items to workers: the costliest item left goes to the worker with the least so far (LPT).

    Returns the indices of each worker in falling cost. The costliest worker exceeds the mean by less than one item.
    """
    hands: list[list[int]] = [[] for _ in range(workers)]
    loads = [(0.0, rank) for rank in range(workers)]
    for index in sorted(range(len(costs)), key=lambda index: (-costs[index], index)):
        load, rank = heapq.heappop(loads)
        hands[rank].append(index)
        heapq.heappush(loads, (load + costs[index], rank))
    return hands


def cut_padded(widths: Sequence[int], *, token_budget: int, cost: TokenCost) -> list[slice]:
    """Cut rows of falling width into runs of least total cost, each padded to its first row.

    A run of several rows has at most `token_budget` tokens with padding. Exact, by dynamic programming over the ends.
    """
    count = len(widths)
    least: NDArray[np.float64] = np.full(count + 1, np.inf)
    least[0] = 0.0
    begin: NDArray[np.int64] = np.zeros(count + 1, dtype=np.int64)
    for first, width in enumerate(widths):
        rows = min(max(1, token_budget // width), count - first)
        reached = least[first] + cost.per_call + cost.rows(width) * np.arange(1, rows + 1)
        ends = slice(first + 1, first + 1 + rows)
        better = reached < least[ends]
        least[ends][better] = reached[better]
        begin[ends][better] = first
    runs = []
    end = count
    while end > 0:
        runs.append(slice(int(begin[end]), end))
        end = int(begin[end])
    return runs[::-1]


def fill_rows(sizes: Sequence[int], *, token_budget: int) -> list[list[int]]:
    """Put items into as few rows as first-fit finds, falling sizes first; a larger item than the budget gets its own.

    Returns the indices of each row.
    """
    rows: list[list[int]] = []
    room: NDArray[np.int64] = np.empty(len(sizes), dtype=np.int64)
    for index in sorted(range(len(sizes)), key=lambda index: (-sizes[index], index)):
        fitting = np.flatnonzero(room[: len(rows)] >= sizes[index])
        if len(fitting):
            rows[fitting[0]].append(index)
            room[fitting[0]] -= sizes[index]
        else:
            room[len(rows)] = token_budget - sizes[index]
            rows.append([index])
    return rows
