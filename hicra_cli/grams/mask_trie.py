"""The automaton's search for long rows of letters: every place at once, a word deeper in each pass of numpy.

The library that `automaton` uses makes an object of each match, which in a batch of rollouts takes longer than all
the rest; tests hold both to the same matches, tests/benchmarks/bench_matcher.py measures them.

The trie is a double array (Aoe 1989): a node is a cell, and the child of node s by letter c is the cell base[s] + c if
check of that cell is s. Two look-ups in small arrays make a step, whatever the number of grams.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


class GramTrie:
    """Finds sequences of words. letters: the letter of each word, from 1 on; 0 is a break."""

    def __init__(self, sequences: Sequence[tuple[str, ...]], letters: Mapping[str, int]) -> None:
        children: list[dict[int, int]] = [{}]
        last_nodes = []
        for sequence in sequences:
            node = 0
            for word in sequence:
                following = children[node].setdefault(letters[word], len(children))
                if following == len(children):
                    children.append({})
                node = following
            last_nodes.append(node)
        self._base, self._check, cells = _double_array(children, num_letters=len(letters))
        # The child of the root by each letter; 0, the root itself, where there is none.
        self._first_nodes = np.zeros(len(letters) + 1, dtype=np.int64)
        self._first_nodes[list(children[0])] = cells[list(children[0].values())]
        self._shortest = min(map(len, sequences), default=1)
        self._sequence_of = np.full(len(self._check), -1)
        self._sequence_of[cells[last_nodes]] = np.arange(len(sequences))
        self._is_end = self._sequence_of >= 0

    def find(self, letters: Ints) -> tuple[Ints, Ints, Ints]:
        """First letters, ends and indices of all (M,) matches, in no particular order."""
        none = np.zeros(0, dtype=np.int64)
        found = [(none, none, none)]
        for length, starts, nodes in self._by_length(letters):
            found.append((starts, starts + length, self._sequence_of.take(nodes)))
        first, ends, sequences = zip(*found, strict=True)
        return np.concatenate(first), np.concatenate(ends), np.concatenate(sequences)

    def unions(self, letters: Ints) -> tuple[Ints, Ints]:
        """First letters and ends of what any matches cover, from left to right; matches that share a letter are one."""
        longest = np.zeros(len(letters), dtype=np.int64)  # the end of the longest match that starts there
        for length, starts, _ in self._by_length(letters):
            longest[starts] = starts + length
        starts = np.flatnonzero(longest)
        reached = np.maximum.accumulate(longest[starts])
        opens = np.append(True, starts[1:] >= reached[:-1])[: len(starts)]
        closes = np.append(opens[1:], True)[: len(starts)]
        return starts[opens], reached[closes]

    def _by_length(self, letters: Ints) -> Iterator[tuple[int, Ints, Ints]]:
        """Length, first letters and last nodes of the matches, the shortest first."""
        nodes = self._first_nodes.take(letters)
        starts = np.flatnonzero(nodes)
        nodes = nodes.take(starts)
        row = np.append(letters, 0)  # a break ends it
        length = 1
        while len(starts):
            if length >= self._shortest:
                ended = np.flatnonzero(self._is_end.take(nodes))
                yield length, starts.take(ended), nodes.take(ended)
            cells = self._base.take(nodes) + row[length:].take(starts)
            alive = np.flatnonzero(self._check.take(cells) == nodes)
            starts, nodes = starts.take(alive), cells.take(alive)
            length += 1


def _double_array(children: list[dict[int, int]], *, num_letters: int) -> tuple[Ints, NDArray[np.int32], Ints]:
    """base and check by cell, and the cell of each node; node 0, the root, is cell 0."""
    cells = [0] * len(children)
    bases: dict[int, int] = {}
    parents: dict[int, int] = {}
    used = bytearray(b"\1")
    lowest = 1
    queue = deque([0])
    while queue:  # breadth first: a node has its cell before its children are placed
        node = queue.popleft()
        letters = sorted(children[node])
        if not letters:
            continue
        lowest = _next_free(used, lowest)
        base = _room_for(letters, used, lowest)
        bases[cells[node]] = base
        for letter in letters:
            child = children[node][letter]
            cells[child] = base + letter
            parents[base + letter] = cells[node]
            used[base + letter] = 1
            queue.append(child)
    size = len(used) + num_letters + 1  # a step into nothing stays inside
    base_of, check = np.zeros(size, dtype=np.int64), np.full(size, -1, dtype=np.int32)
    base_of[list(bases)] = list(bases.values())
    check[list(parents)] = list(parents.values())
    return base_of, check, np.array(cells)


_TRIES = 256


def _room_for(letters: list[int], used: bytearray, lowest: int) -> int:
    """A base whose cells for all the letters are free, which from here on exist."""
    first, *others = letters
    cell = max(lowest, first)
    for _ in range(_TRIES):
        cell = _next_free(used, cell)
        base = cell - first
        if all(base + letter >= len(used) or not used[base + letter] for letter in others):
            break
        cell += 1
    else:
        base = len(used)
    missing = base + letters[-1] + 1 - len(used)
    used.extend(bytes(max(missing, 0)))
    return base


def _next_free(used: bytearray, cell: int) -> int:
    found = used.find(0, cell)
    return max(cell, len(used)) if found < 0 else found
