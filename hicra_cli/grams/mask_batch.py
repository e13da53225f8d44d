"""Occurrences of grams in a batch of token ids, with the cost of a few numpy passes.

A batch is one row of ids, a break after each rollout. It is cut into runs of tokens at blanks (`mask_runs` reads
those) and grams are found among what was read (`mask_trie`). Occurrences in maths and code (`mask_marks`), and those
that a truncation may have cut off, are dropped.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hicra_cli.grams.automaton import Automaton
from hicra_cli.grams.mask_marks import MarkReader
from hicra_cli.grams.mask_runs import RunReader
from hicra_cli.grams.mask_tokens import BLANK_FIRST, BLANK_LAST, token_classes, token_flags
from hicra_cli.grams.mask_trie import GramTrie
from hicra_cli.text.tokens import TokenBytes, decoded
from hicra_cli.text.words import end_of_complete_words

Ints = NDArray[np.int64]
TokenIds = Sequence[int] | NDArray[np.integer[Any]]


@dataclass(frozen=True, eq=False)
class Hits:
    """(M,) occurrences, tokens counted in the batch: grams by index, from first_bytes into first_tokens to last_bytes
    into last_tokens."""

    grams: Ints
    first_tokens: Ints
    first_bytes: Ints
    last_tokens: Ints
    last_bytes: Ints

    def __getitem__(self, chosen: Any) -> "Hits":
        return Hits(
            self.grams[chosen],
            self.first_tokens[chosen],
            self.first_bytes[chosen],
            self.last_tokens[chosen],
            self.last_bytes[chosen],
        )


@dataclass(frozen=True, eq=False)
class Batch:
    """B rollouts in one row. ids: rows of the token table, a break after each rollout; ends: where those breaks are."""

    ids: Ints
    ends: Ints
    truncated: NDArray[np.bool_]

    @property
    def starts(self) -> Ints:
        """(B,): the first token of each rollout."""
        return np.concatenate([self.ends[:0], [0], self.ends[:-1] + 1])[: len(self.ends)]


class BatchMatcher:
    """Finds sequences of words in the ids of one tokenizer. automaton: that of the same sequences."""

    def __init__(self, sequences: Sequence[tuple[str, ...]], automaton: Automaton, tokens: TokenBytes) -> None:
        self._trie = GramTrie(automaton, sequences)
        self._tokens = tokens
        self._flags = token_flags(tokens)
        self._classes = token_classes(tokens, automaton.letters)
        self._runs = RunReader(tokens, automaton, num_classes=int(self._classes.max()) + 1, shortest=automaton.shortest)
        self._marks = MarkReader(tokens)

    def batches(self, rollouts: Iterable[TokenIds], truncated: Iterable[bool] | None) -> Iterator[Batch]:
        """Rollouts in their order, cut into batches of some `_BATCH_TOKENS`, so that little memory is enough.

        truncated: one value per rollout, none of them by default. Raises ValueError where their numbers differ.
        """
        cuts = repeat(False) if truncated is None else truncated
        pieces: list[NDArray[Any]] = []
        flags: list[bool] = []
        size = 0
        for token_ids, cut in zip(rollouts, cuts, strict=truncated is not None):
            pieces.append(np.asarray(token_ids, dtype=np.int64).reshape(-1))
            flags.append(bool(cut))
            size += len(pieces[-1])
            if size >= _BATCH_TOKENS:
                yield self._batch(pieces, flags)
                pieces, flags, size = [], [], 0
        if pieces:
            yield self._batch(pieces, flags)

    def hits(self, batch: Batch) -> Hits:
        """All occurrences, nested and overlapping ones too, in no particular order."""
        flags = self._flags[batch.ids]
        starts = _run_starts(flags)
        symbols = self._runs.read(batch.ids, self._classes[batch.ids], starts)
        first, ends, grams = self._trie.find(symbols.letters)
        last = ends - 1
        opened, closed = self._runs.places(symbols.rows[first]), self._runs.places(symbols.rows[last])
        hits = Hits(
            grams=grams,
            first_tokens=starts[symbols.runs[first]] + opened[:, 0],
            first_bytes=opened[:, 1],
            last_tokens=starts[symbols.runs[last]] + closed[:, 2],
            last_bytes=closed[:, 3],
        )
        kept = ~self._marks.inside(hits.first_tokens, hits.first_bytes, batch.ids, flags)
        if batch.truncated.any():
            kept &= self._complete(hits, batch)
        return hits if kept.all() else hits[kept]

    def _batch(self, rollouts: list[NDArray[Any]], truncated: list[bool]) -> Batch:
        after = np.array([len(self._tokens)])
        ids = self._tokens.rows(np.concatenate([piece for rollout in rollouts for piece in (rollout, after)]))
        lengths = np.fromiter(map(len, rollouts), dtype=np.int64, count=len(rollouts))
        return Batch(ids, ends=np.cumsum(lengths + 1) - 1, truncated=np.array(truncated, dtype=bool))

    def _complete(self, hits: Hits, batch: Batch) -> NDArray[np.bool_]:
        """(M,): occurrences whose last word cannot go on where the rollout was truncated."""
        limits = np.full(len(batch.ends), np.iinfo(np.int64).max)
        starts = batch.starts
        for rollout in np.flatnonzero(batch.truncated).tolist():
            start, end = int(starts[rollout]), int(batch.ends[rollout])
            tail = start + self._tail(batch.ids[start:end])
            if tail < end:
                token, byte = self._last_complete(batch.ids[tail:end])
                limits[rollout] = (tail + token) << 32 | byte
        last = hits.last_tokens << 32 | (hits.last_bytes - 1)
        return last < limits[np.searchsorted(batch.ends, hits.last_tokens)]

    def _tail(self, ids: Ints) -> int:
        """The last token of whole characters with one that ends a word, or the last part's first token."""
        for token in range(len(ids) - 1, -1, -1):
            if self._tokens.breaks[ids[token]]:
                return token + 1  # a response that ended with a special token was not cut off
            try:
                text = self._tokens.table[ids[token]].decode()
            except UnicodeDecodeError:
                continue
            if end_of_complete_words(text):
                return token
        return 0

    def _last_complete(self, ids: Ints) -> tuple[int, int]:
        """The last byte before `text.words.end_of_complete_words`: its token and the bytes of that before it."""
        pieces = [self._tokens.table[token] for token in ids.tolist()]
        text, sizes = decoded(b"".join(pieces))
        position = int(sizes[: end_of_complete_words(text)].sum()) - 1
        ends = np.cumsum([len(piece) for piece in pieces])
        token = int(np.searchsorted(ends, max(position, 0), side="right"))
        return (token, position - int(ends[token]) + len(pieces[token])) if position >= 0 else (0, 0)


_BATCH_TOKENS = 1 << 18


def _run_starts(flags: NDArray[np.uint16]) -> Ints:
    """Tokens that nothing before them bears on."""
    begins = flags & BLANK_FIRST
    begins[1:] |= flags[:-1] & BLANK_LAST
    begins[:1] = 1
    return np.flatnonzero(begins)
