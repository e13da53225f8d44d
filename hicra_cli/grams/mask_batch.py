"""Occurrences of grams in a batch of token ids, with the cost of a few numpy passes.

A batch is one row of ids, a break after each rollout. It is cut into runs of tokens at blanks (`mask_runs` reads
those) and grams are found among what was read (`mask_trie`). Occurrences in maths and code (`mask_marks`), and those
that a truncation may have cut off, are dropped.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hicra_cli.grams.automaton import BREAK
from hicra_cli.grams.mask_marks import MarkReader
from hicra_cli.grams.mask_runs import RunReader, Symbols
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

    def moved(self, tokens: int) -> "Hits":
        """Counted from another token."""
        return replace(self, first_tokens=self.first_tokens + tokens, last_tokens=self.last_tokens + tokens)

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


@dataclass(frozen=True, eq=False)
class _Reading:
    """A batch's ids with their flags, where its runs start, and the symbols of these."""

    ids: Ints
    flags: NDArray[np.uint16]
    starts: Ints
    symbols: Symbols


class BatchMatcher:
    """Finds sequences of words in the ids of one tokenizer."""

    def __init__(self, sequences: Sequence[tuple[str, ...]], tokens: TokenBytes) -> None:
        counts = Counter(word for sequence in sequences for word in sequence)
        # Frequent words get neighbouring numbers, which packs the trie.
        letters = {word: number for number, (word, _) in enumerate(counts.most_common(), start=BREAK + 1)}
        self._trie = GramTrie(sequences, letters)
        self._tokens = tokens
        self._flags = token_flags(tokens)
        self._classes = token_classes(tokens, letters)
        num_classes, shortest = int(self._classes.max()) + 1, min(map(len, sequences), default=1)
        self._runs = RunReader(tokens, letters, num_classes=num_classes, shortest=shortest)
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
        reading = self._read(batch)
        return self._placed(reading, *self._trie.find(reading.symbols.letters))

    def unions(self, batch: Batch) -> Hits:
        """Where any occurrence is, without overlaps, from left to right; their grams are left open (-1)."""
        reading = self._read(batch)
        first, ends = self._trie.unions(reading.symbols.letters)
        return self._placed(reading, first, ends, np.full(len(first), -1))

    def _batch(self, rollouts: list[NDArray[Any]], truncated: list[bool]) -> Batch:
        after = np.array([len(self._tokens)])
        ids = self._tokens.rows(np.concatenate([piece for rollout in rollouts for piece in (rollout, after)]))
        lengths = np.fromiter(map(len, rollouts), dtype=np.int64, count=len(rollouts))
        return Batch(ids, ends=np.cumsum(lengths + 1) - 1, truncated=np.array(truncated, dtype=bool))

    def _read(self, batch: Batch) -> _Reading:
        flags = self._flags.take(batch.ids)
        starts = _run_starts(flags)
        reading = _Reading(batch.ids, flags, starts, self._runs.read(batch.ids, self._classes.take(batch.ids), starts))
        if batch.truncated.any():
            self._break_cut_words(reading, batch)
        return reading

    def _placed(self, reading: _Reading, first: Ints, ends: Ints, grams: Ints) -> Hits:
        """From symbols [first, ends) to tokens and bytes; what stands in maths and code is dropped."""
        symbols, last = reading.symbols, ends - 1
        opened, closed = self._runs.places(symbols.rows[first]), self._runs.places(symbols.rows[last])
        hits = Hits(
            grams=grams,
            first_tokens=reading.starts[symbols.runs[first]] + opened[:, 0],
            first_bytes=opened[:, 1],
            last_tokens=reading.starts[symbols.runs[last]] + closed[:, 2],
            last_bytes=closed[:, 3],
        )
        inside = self._marks.inside(hits.first_tokens, hits.first_bytes, reading.ids, reading.flags)
        return hits[~inside] if inside.any() else hits

    def _break_cut_words(self, reading: _Reading, batch: Batch) -> None:
        """Turn into a break each word that could still go on where its rollout was truncated: no gram has it."""
        symbols, starts = reading.symbols, batch.starts
        cut = np.flatnonzero(batch.truncated)
        lasts = np.searchsorted(symbols.runs, np.searchsorted(reading.starts, batch.ends[cut])) - 1
        for rollout, last in zip(cut.tolist(), lasts.tolist(), strict=True):
            start, end = int(starts[rollout]), int(batch.ends[rollout])
            tail = start + self._tail(batch.ids[start:end])
            while last >= 0 and symbols.letters[last] == BREAK:  # what may go on as an apostrophe is one for now
                last -= 1
            if tail < end and last >= 0:
                _, _, token, up_to = self._runs.places(symbols.rows[last : last + 1])[0].tolist()
                complete_token, complete = self._last_complete(batch.ids[tail:end])
                place = (int(reading.starts[symbols.runs[last]]) + token, up_to - 1)
                if place >= (tail + complete_token, complete):
                    symbols.letters[last] = BREAK

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


_BATCH_TOKENS = 1 << 17


def _run_starts(flags: NDArray[np.uint16]) -> Ints:
    """Tokens that nothing before them bears on."""
    begins = (flags & BLANK_FIRST) != 0
    begins[1:] |= (flags[:-1] & BLANK_LAST) != 0
    begins[:1] = True
    return np.flatnonzero(begins)
