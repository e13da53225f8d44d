"""Overlapping grams of one phrase: the C-value of each, and which of them stands for the phrase.

"let me try", "me try a", "let me try a" … are windows on one phrase. A window is left out where another candidate
accounts for nearly all of its uses, so that whoever annotates sees a phrase once, as long as it can be:

- *nested*: one longer candidate covers at least NESTED_SHARE of its uses;
- *shifted*: windows of the longest length n on a phrase longer than n. The longer gram was not counted, but the number
  of its uses is at least f(w1 … wn) + f(w2 … wn+1) - f(w2 … wn): of the uses of the shared middle so many are both
  preceded by w1 and followed by wn+1. Of windows tied like this the most widespread stands for those that overlap it.

M candidates, any order in, same verdicts out. Source of the C-value: Frantzi, Ananiadou and Mima (2000), section 2.2.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hicra_cli.grams.candidates import Candidate

NESTED_SHARE = 0.8
"""A gram of whose uses one fifth or more lie elsewhere is a phrase of its own."""

Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Phrases:
    """c_value: (M,) float64. nested, shifted: (M,) bool, disjoint; a gram in neither stands for its phrase."""

    c_value: NDArray[np.float64]
    nested: NDArray[np.bool_]
    shifted: NDArray[np.bool_]


def find_phrases(candidates: Sequence[Candidate]) -> Phrases:
    """The phrases among candidates of any lengths. Time is linear in the number of candidates."""
    index = {each.gram: at for at, each in enumerate(candidates)}
    length = np.array([each.n for each in candidates], dtype=np.int64)
    count = np.array([each.count for each in candidates], dtype=np.int64)
    inner, outer = _containments(candidates, index)
    return Phrases(
        c_value=_c_values(length, count, inner, outer),
        nested=_nested(length, count, inner, outer),
        shifted=_shifted(candidates, index),
    )


def _containments(candidates: Sequence[Candidate], index: dict[str, int]) -> tuple[Ids, Ids]:
    """(E,) and (E,): candidate inner[e] lies in the longer candidate outer[e]; each pair once."""
    shortest = min((each.n for each in candidates), default=0)
    inner: list[int] = []
    outer: list[int] = []
    for at, candidate in enumerate(candidates):
        if candidate.n > shortest:
            found = _inside(candidate.gram.split(" "), shortest, index)
            inner.extend(found)
            outer.extend([at] * len(found))
    return np.array(inner, dtype=np.int64), np.array(outer, dtype=np.int64)


def _inside(words: list[str], shortest: int, index: dict[str, int]) -> set[int]:
    """The candidates that are windows of these words, the whole excepted."""
    windows = (
        " ".join(words[start : start + n]) for n in range(shortest, len(words)) for start in range(len(words) - n + 1)
    )
    return {index[window] for window in windows if window in index}


def _c_values(length: Ids, count: Ids, inner: Ids, outer: Ids) -> NDArray[np.float64]:
    """log2(n) (f - mean f of the longer candidates that contain it); log2(n) f where none does."""
    containers = np.bincount(inner, minlength=len(length))
    uses = np.bincount(inner, weights=count[outer], minlength=len(length))
    return np.asarray(np.log2(length) * (count - uses / np.maximum(containers, 1)), dtype=np.float64)


def _nested(length: Ids, count: Ids, inner: Ids, outer: Ids) -> NDArray[np.bool_]:
    """Longest first: only a candidate that is not nested itself can account for the uses of another."""
    nested = np.zeros(len(length), dtype=np.bool_)
    for n in sorted(set(length.tolist()), reverse=True):
        pairs = (length[inner] == n) & ~nested[outer]
        covered = np.zeros(len(length), dtype=np.int64)
        np.maximum.at(covered, inner[pairs], count[outer[pairs]])
        nested |= (covered > 0) & (covered >= NESTED_SHARE * count)
    return nested


def _shifted(candidates: Sequence[Candidate], index: dict[str, int]) -> NDArray[np.bool_]:
    """Along each chain of tied windows the most widespread hides those within n - 1 words of it."""
    longest = max((each.n for each in candidates), default=0)
    following = _tied_windows(candidates, index, longest)
    shifted = np.zeros(len(candidates), dtype=np.bool_)
    for chain in _chains(following, candidates):
        seen = np.zeros(len(chain), dtype=np.bool_)
        for place in sorted(range(len(chain)), key=lambda at: (-candidates[chain[at]].document_frequency, at)):
            shifted[chain[place]] = seen[place]
            if not seen[place]:
                seen[max(0, place - longest + 1) : place + longest] = True
    return shifted


def _tied_windows(candidates: Sequence[Candidate], index: dict[str, int], longest: int) -> dict[int, int]:
    """Window -> the window one word further on that almost always follows it, and the other way round.

    With f(middle) uses of the shared middle at least NESTED_SHARE of the larger window's uses must be common to both,
    so only the most frequent window on either side of a middle can be tied: at most one pair per middle.
    """
    ahead: dict[str, int] = {}
    behind: dict[str, int] = {}
    for at in sorted(range(len(candidates)), key=lambda at: (-candidates[at].count, candidates[at].gram)):
        if candidates[at].n == longest:
            ahead.setdefault(candidates[at].gram.partition(" ")[2], at)
            behind.setdefault(candidates[at].gram.rpartition(" ")[0], at)
    tied = {}
    for middle, first in ahead.items():
        second = behind.get(middle)
        if second is None or second == first or middle not in index:
            continue
        counts = candidates[first].count, candidates[second].count
        if sum(counts) - candidates[index[middle]].count >= NESTED_SHARE * max(counts):
            tied[first] = second
    return tied


def _chains(following: dict[int, int], candidates: Sequence[Candidate]) -> list[list[int]]:
    """The chains from their first window on; a ring ("again and again and …") begins at its first gram by spelling."""
    waiting = dict(following)
    starts = sorted(following.keys() - following.values(), key=lambda at: candidates[at].gram)
    rings = sorted(following, key=lambda at: candidates[at].gram)
    chains = []
    for start in [*starts, *rings]:
        if start in waiting:
            chain = [start]
            while (at := waiting.pop(chain[-1], None)) is not None and at != start:
                chain.append(at)
            chains.append(chain)
    return chains
