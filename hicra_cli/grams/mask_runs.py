"""Reading tokens as words once per distinct run, where a run reaches from one blank to the next.

`RunReader` turns runs of token ids into symbols: a letter of the automaton, or a break, with its place in the run. Most
runs of a text have been seen before, so reading is a walk through a trie of token classes, done by numpy for all runs
of a batch at once; only a new run is spelled out and read by `text.words`.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from hicra_cli.grams.automaton import BREAK
from hicra_cli.grams.mask_ranges import joined_ranges
from hicra_cli.grams.mask_store import GrowingArray, NumberTable
from hicra_cli.text.tokens import TokenBytes, decoded
from hicra_cli.text.words import chunk_words

Ints = NDArray[np.int64]
SymbolRow = tuple[int, int, int, int, int]
"""Letter; first token in the run and the bytes of it before the word; last token and its bytes up to the word's end."""


@dataclass(frozen=True, eq=False)
class Symbols:
    """(S,) symbols of runs, in order. runs: the run of each symbol; rows: where `RunReader.places` describes it."""

    letters: Ints
    runs: Ints
    rows: Ints


class RunReader:
    """Remembers how runs are read. Emptied when it has grown too large: the runs of all texts have no end."""

    def __init__(self, tokens: TokenBytes, letters: Mapping[str, int], *, num_classes: int, shortest: int) -> None:
        self._tokens = tokens
        self._letters = letters
        self._shortest = shortest
        self._num_classes = num_classes
        self._class_bits = num_classes.bit_length()
        self._stride = (63 - _NODE_BITS) // self._class_bits
        self._forget()

    def read(self, ids: Ints, classes: NDArray[np.int32], starts: Ints) -> Symbols:
        """The symbols of the runs that begin at `starts` and fill the ids; a token of class 0 is a run and a break.

        Stretches between two breaks that are too short for any gram are left out. The last token is of class 0.
        """
        if self._size > _LARGEST:
            self._forget()
        lengths = np.diff(starts, append=len(ids))
        entries = self._known(classes, starts, lengths)
        unknown = np.flatnonzero(entries < 0)
        if len(unknown) > _FEW:
            for run in _different(classes, starts, lengths, unknown).tolist():
                self._learn(ids, classes, int(starts[run]), int(lengths[run]))
            entries[unknown] = self._known(classes, starts[unknown], lengths[unknown])
            unknown = unknown[entries[unknown] < 0]
        for run in unknown.tolist():
            entries[run] = self._learn(ids, classes, int(starts[run]), int(lengths[run]))
        runs = self._long_stretches(entries)
        entries = entries.take(runs)
        counts = self._counts.used.take(entries)
        rows = joined_ranges(self._firsts.used.take(entries), counts)
        runs = np.repeat(runs, counts)
        return Symbols(self._symbol_letters.used.take(rows), runs, rows)

    def _long_stretches(self, entries: Ints) -> Ints:
        """The runs of stretches that may hold a gram, each stretch after the break before it."""
        before = np.cumsum(self._counts.used.take(entries), dtype=np.int64)
        closing = np.flatnonzero(entries == _LONE_BREAK)
        num_symbols = np.diff(before.take(closing), prepend=0) - 1
        chosen = np.flatnonzero(num_symbols >= self._shortest)
        turns = np.zeros(len(entries), dtype=np.int8)
        turns[np.where(chosen > 0, closing.take(chosen - 1, mode="clip"), 0)] = 1
        turns[closing.take(chosen)] -= 1
        return np.flatnonzero(np.cumsum(turns, dtype=np.int8).view(np.bool_))

    def places(self, rows: Ints) -> Ints:
        """(M, 4): first token of each symbol in its run, bytes before it, last token, bytes up to its end."""
        return self._places.used.take(rows, axis=0)

    def _known(self, classes: NDArray[np.int32], starts: Ints, lengths: Ints) -> Ints:
        """The entry of each run, -1 for those to be learned."""
        nodes = classes.take(starts).astype(np.int64)
        several = np.flatnonzero(lengths > 1)
        long = lengths[several] > _LONGEST
        nodes[several[long]] = -1
        walking = several[~long]
        depth = 1
        while len(walking):
            reached = self._children.get_all(
                self._steps(nodes[walking], classes, starts[walking] + depth, lengths[walking] - depth)
            )
            nodes[walking] = reached
            depth += self._stride
            walking = walking[(lengths[walking] > depth) & (reached >= 0)]
        entries = self._entries.used.take(nodes, mode="clip")
        entries[several[nodes[several] < 0]] = -1
        return entries

    def _steps(self, nodes: Ints, classes: NDArray[np.int32], following: Ints, left: Ints) -> Ints:
        """Each node with the classes of the next tokens, as many as a key has room for; 0 after the end of the run."""
        keys = nodes
        for step in range(self._stride):
            token_classes = classes[np.minimum(following + step, len(classes) - 1)]
            keys = keys << self._class_bits | np.where(left > step, token_classes, 0)
        return keys

    def _learn(self, ids: Ints, classes: NDArray[np.int32], start: int, length: int) -> int:
        """The entry of a run that was new when the batch began."""
        path = classes[start : start + length]
        if length > _LONGEST or len(self._entries.used) >= (1 << _NODE_BITS):
            return self._learn_long(path.tobytes(), ids[start : start + length].tolist())
        node, *rest = path.tolist()
        for at in range(0, len(rest), self._stride):
            key = node
            for step in range(at, at + self._stride):
                key = key << self._class_bits | (rest[step] if step < len(rest) else 0)
            node = self._child(key)
        entry = int(self._entries.used[node])
        if entry < 0:
            entry = self._add(self._spelled(ids[start : start + length].tolist()))
            self._entries.used[node] = entry
        return entry

    def _learn_long(self, path: bytes, run: list[int]) -> int:
        entry = self._long.get(path)
        if entry is None:
            entry = self._long[path] = self._add(self._spelled(run))
            self._size += len(path)
        return entry

    def _child(self, key: int) -> int:
        child = self._children.get(key)
        if child < 0:
            child = len(self._entries.used)
            self._entries.extend([-1])
            self._children.add(key, child)
            self._size += 1
        return child

    def _add(self, symbols: list[SymbolRow]) -> int:
        """The entry of these symbols; a lone break, which is what most runs are, has one for all."""
        if len(symbols) == 1 and symbols[0][0] == BREAK and len(self._counts.used):
            return _LONE_BREAK
        self._firsts.extend([len(self._symbol_letters.used)])
        self._counts.extend([len(symbols)])
        self._symbol_letters.extend([symbol[0] for symbol in symbols])
        self._places.extend([symbol[1:] for symbol in symbols])
        self._size += 1 + len(symbols)
        return len(self._counts.used) - 1

    def _spelled(self, run: list[int]) -> list[SymbolRow]:
        """Read the bytes of a run; breaks next to each other are one."""
        pieces = [self._tokens.table[token] for token in run]
        ends = list(accumulate(map(len, pieces)))
        data = b"".join(pieces)
        text, sizes = decoded(data)
        # byte where each character starts, then their number
        at = range(len(text) + 1) if data.isascii() else [0, *np.cumsum(sizes).tolist()]
        symbols: list[SymbolRow] = []
        for word, start, end in _read(text):
            letter = BREAK if word is None else self._letters.get(word, BREAK)
            if letter != BREAK:
                first, last = bisect_right(ends, at[start]), bisect_right(ends, at[end] - 1)
                opened, closed = ends[first] - len(pieces[first]), ends[last] - len(pieces[last])
                symbols.append((letter, first, at[start] - opened, last, at[end] - closed))
            elif not symbols or symbols[-1][0] != BREAK:
                symbols.append((BREAK, 0, 0, 0, 0))
        return symbols

    def _forget(self) -> None:
        """Only the break is known: class 0, entry 0. The nodes of single tokens are their classes."""
        self._children = NumberTable()
        self._entries = GrowingArray(np.int32)
        self._entries.extend([0] + [-1] * (self._num_classes - 1))
        self._long: dict[bytes, int] = {}
        self._firsts, self._counts = GrowingArray(np.int64), GrowingArray(np.int32)
        self._symbol_letters = GrowingArray(np.int64)
        self._places = GrowingArray(np.int64, row=(4,))
        self._size = 0
        self._add([(BREAK, 0, 0, 0, 0)])


_LONE_BREAK = 0
"""The entry of all runs that are one break."""
_LONGEST = 10
"""Tokens of the runs that the trie holds. Longer ones, which are long formulas or no words, are compared whole."""
_NODE_BITS = 22
_LARGEST = 1 << 21
"""Nodes, entries, symbols and tokens of long runs that are remembered, some 100 bytes each."""


_FEW = 64


def _different(classes: NDArray[np.int32], starts: Ints, lengths: Ints, runs: Ints) -> Ints:
    """Of the runs one of each kind, as far as a sum over their classes tells."""
    sums = np.zeros(len(runs), dtype=np.int64)
    for step in range(_LONGEST):
        token_classes = classes.take(starts[runs] + step, mode="clip")
        sums = sums * 1_000_003 + np.where(lengths[runs] > step, token_classes, 0)
    return runs[np.unique(sums, return_index=True)[1]]


def _read(text: str) -> Iterator[tuple[str | None, int, int]]:
    """Words and breaks with their characters, as if there were no maths and no code."""
    offset = 0
    for line in text.splitlines(keepends=True):
        position = 0
        for chunk in line.split():
            position = line.index(chunk, position)
            for word, start, end in chunk_words(chunk):
                yield word, offset + position + start, offset + position + end
            position += len(chunk)
        offset += len(line)
        if line[-1] in _LINE_BREAKS:
            yield None, offset, offset


_LINE_BREAKS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
