"""The automaton's search for long rows of letters: every place at once, a word deeper in each pass of numpy.

The library that `automaton` uses makes an object of each match, which in a batch of rollouts takes longer than all
the rest; tests hold both to the same matches, tests/benchmarks/bench_matcher.py measures them.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hicra_cli.grams.automaton import Automaton
from hicra_cli.grams.mask_store import NumberTable

Ints = NDArray[np.int64]


class GramTrie:
    """Finds the sequences of an automaton in its letters."""

    def __init__(self, automaton: Automaton, sequences: Sequence[tuple[str, ...]]) -> None:
        self._letter_bits = 8 * automaton.dtype.itemsize
        self._children = NumberTable()
        sequence_of = [-1]
        for index, sequence in enumerate(sequences):
            node = 0
            for word in sequence:
                key = node << self._letter_bits | automaton.letters[word]
                child = self._children.get(key)
                if child < 0:
                    child = len(sequence_of)
                    self._children.add(key, child)
                    sequence_of.append(-1)
                node = child
            sequence_of[node] = index
        self._sequence_of = np.array(sequence_of)
        self._roots = np.full(1 + max(automaton.letters.values(), default=0), -1, dtype=np.int64)
        for letter in automaton.letters.values():
            self._roots[letter] = self._children.get(letter)

    def find(self, letters: NDArray[np.unsignedinteger]) -> tuple[Ints, Ints, Ints]:
        """First letters, ends and indices of all (M,) matches, in no particular order."""
        row = np.append(letters, np.zeros(1, dtype=letters.dtype)).astype(np.int64)  # a break ends it
        nodes = self._roots[row]
        starts = np.flatnonzero(nodes >= 0)
        nodes = nodes[starts]
        found: list[tuple[Ints, Ints, Ints]] = []
        depth = 1
        while len(starts):
            sequences = self._sequence_of[nodes]
            ended = np.flatnonzero(sequences >= 0)
            found.append((starts[ended], starts[ended] + depth, sequences[ended]))
            nodes = self._children.get_all(nodes << self._letter_bits | row[starts + depth])
            alive = np.flatnonzero(nodes >= 0)
            starts, nodes = starts[alive], nodes[alive]
            depth += 1
        return _joined(found)


def _joined(parts: list[tuple[Ints, Ints, Ints]]) -> tuple[Ints, Ints, Ints]:
    none = np.zeros(0, dtype=np.int64)
    first, ends, indices = zip(*parts, strict=True) if parts else ((none,), (none,), (none,))
    return np.concatenate(first), np.concatenate(ends), np.concatenate(indices)
