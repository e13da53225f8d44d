"""Which occurrences stand inside maths or code, found without reading the whole text.

Maths and code are runs of characters between delimiters, and every delimiter breaks a gram. So occurrences can be found
as if there were neither, and an occurrence is none if its first character lies inside (`text.words.left_out`).

Where that is, only few tokens can say: those with a delimiter and their neighbours, line ends, blanks, parts of split
characters and the names of environments. Each stretch of other tokens is shortened to one letter. `mask_maths` reads
what is left.
"""

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hicra_cli.grams.mask_maths import SEPARATOR, left_out_bytes
from hicra_cli.grams.mask_ranges import group_numbers
from hicra_cli.grams.mask_tokens import (
    BACKSLASH_LAST,
    BREAKS,
    DELIMITER,
    ENVIRONMENT,
    ENVIRONMENT_FIRST,
    HARMLESS_FIRST,
    MARKED,
)
from hicra_cli.text.tokens import TokenBytes

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Excerpt:
    """The kept tokens of P parts. data: their bytes and what stands for others; a separator after each part.

    tokens: (K,) where each stood; ends: (K,) its end in data, what stands after it included; cuts: (P + 1,) where each
    part begins in data, then its length.
    """

    data: bytes
    tokens: Ints
    ends: Ints
    cuts: Ints


class MarkReader:
    """Finds maths and code in batches of one tokenizer's ids."""

    def __init__(self, tokens: TokenBytes) -> None:
        pieces = [data + after for after in (b"", _FILLER, SEPARATOR) for data in tokens.table]
        self._pieces = np.empty(len(pieces), dtype=object)
        self._pieces[:] = pieces
        self._lengths = np.fromiter(map(len, pieces), dtype=np.int64, count=len(pieces))

    def inside(self, tokens: Ints, before: Ints, ids: Ints, flags: NDArray[np.uint16]) -> NDArray[np.bool_]:
        """(M,): which places lie inside maths or code; tokens, before: (M,) a token and its bytes before the place.

        ids: rows of the token table, the last of which breaks; flags: those of the ids.
        """
        excerpt = self._excerpt(tokens, ids, flags)
        outside = np.zeros(len(tokens), dtype=bool)
        if not excerpt.data:
            return outside
        starts, ends = left_out_bytes(excerpt.data, excerpt.cuts)
        if not len(starts):
            return outside
        places = tokens << 32 | before
        span = np.searchsorted(_keys(excerpt, starts), places, side="right") - 1
        reached = np.maximum.accumulate(_keys(excerpt, ends - 1)) + 1
        return (span >= 0) & (places < reached[span])

    def _excerpt(self, asked: Ints, ids: Ints, flags: NDArray[np.uint16]) -> Excerpt:
        """What says where maths and code are in the parts with a token that is asked for."""
        noted = np.flatnonzero((flags & (MARKED | BACKSLASH_LAST | BREAKS)) != 0)
        there = flags.take(noted)
        breaks = noted[(there & BREAKS) != 0]
        marked, delimiters, environments = _marked(noted, there, flags)
        wanted = _parts_with(asked, breaks) & _parts_with(delimiters, breaks)
        if not wanted.all():
            marked, delimiters, environments = (
                tokens[wanted[_part_of(tokens, breaks)]] for tokens in (marked, delimiters, environments)
            )
        kept = np.zeros(len(flags), dtype=bool)
        kept[marked] = kept[delimiters - 1] = kept[delimiters + 1] = True
        for token in environments.tolist():
            kept[token : self._end_of_name(token, ids)] = True
        kept[breaks] = False

        tokens = np.flatnonzero(kept)
        parts = _part_of(tokens, breaks)
        ends_part = np.append(parts[1:] != parts[:-1], len(parts) > 0)[: len(parts)]
        before_gap = np.append(tokens[1:] - tokens[:-1] > 1, False)[: len(parts)]
        pieces = ids.take(tokens) + np.where(ends_part, 2, before_gap) * (len(self._pieces) // 3)
        ends = np.cumsum(self._lengths.take(pieces))
        return Excerpt(
            data=b"".join(self._pieces.take(pieces).tolist()),
            tokens=tokens,
            ends=ends,
            cuts=np.concatenate([[0], ends[ends_part]]),
        )

    def _end_of_name(self, token: int, ids: Ints) -> int:
        """Behind the token where the environment's name must have ended that begins in this one."""
        data = self._pieces[ids[token]].rpartition(b"\\")[2]
        while not _NAME_ENDS.search(data) and token + 1 < len(ids):
            token += 1
            data = self._pieces[ids[token]]
        return token + 1


_NAME_ENDS = re.compile(rb"[}\n`$\\]")
_FILLER = b"x"
"""Stands for tokens that bear on nothing: neither blank nor digit nor part of a delimiter."""


def _marked(noted: Ints, there: NDArray[np.uint16], flags: NDArray[np.uint16]) -> tuple[Ints, Ints, Ints]:
    """Of the noted tokens those that are needed, those that may hold a delimiter and those of an environment."""
    open_ended = np.flatnonzero(there & BACKSLASH_LAST)
    following = flags[noted[open_ended] + 1]
    harmful = (following & HARMLESS_FIRST) == 0
    open_ended, following = open_ended[harmful], following[harmful]
    there = there.copy()
    there[open_ended] |= MARKED | DELIMITER
    there[open_ended[(following & ENVIRONMENT_FIRST) != 0]] |= ENVIRONMENT
    return noted[(there & MARKED) != 0], noted[(there & DELIMITER) != 0], noted[(there & ENVIRONMENT) != 0]


def _parts_with(tokens: Ints, breaks: Ints) -> NDArray[np.bool_]:
    """Which parts, each ended by a break, have any of the tokens."""
    there = np.zeros(len(breaks), dtype=bool)
    there[np.searchsorted(breaks, tokens)] = True
    return there


def _part_of(tokens: Ints, breaks: Ints) -> Ints:
    """The part of each token; the tokens are sorted."""
    return group_numbers(np.diff(np.searchsorted(tokens, breaks), prepend=0))


def _keys(excerpt: Excerpt, positions: Ints) -> Ints:
    index = np.searchsorted(excerpt.ends, positions, side="right")
    starts = np.concatenate([[0], excerpt.ends])[index]
    keys: Ints = excerpt.tokens[index] << 32 | (positions - starts)
    return keys
