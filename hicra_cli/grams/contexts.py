"""Example surroundings of a gram, chosen by a hash: independent of the order of solutions, one per problem."""

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from hicra_cli.core.seeds import seed_for

CONTEXT_BEFORE = 120
CONTEXT_AFTER = 120


class ContextChooser:
    """Chooses up to `limit` surroundings per gram.

    solutions: (problem id, text) each; problem_of: (solutions,) number of the problem. Holds one hash per solution,
    so that choosing for many grams costs one sort.
    """

    def __init__(
        self, solutions: Sequence[tuple[str, str]], problem_of: NDArray[np.int64], *, seed: int, limit: int
    ) -> None:
        self._solutions = solutions
        self._problem_of = problem_of
        self._limit = limit
        hashes = [seed_for(seed, "contexts", prompt=f"{key}\n{text}") for key, text in solutions] if limit else []
        self._hash = np.array(hashes, dtype=np.uint64)

    def choose(
        self, grams: Sequence[str], row: NDArray[np.int64], owner: NDArray[np.int64], spans: NDArray[np.int32]
    ) -> list[tuple[str, ...]]:
        """One tuple of contexts per gram.

        row, owner: (U,) gram and solution of each use, the first one in each solution; spans: (U, 2) its characters.
        """
        if not self._limit:
            return [()] * len(grams)
        salt = np.array([_text_hash(gram) for gram in grams], dtype=np.uint64)
        chosen: list[list[str]] = [[] for _ in grams]
        seen: set[tuple[int, int]] = set()
        for at in np.lexsort((_mix(self._hash[owner] ^ salt[row]), row)):
            gram, problem = int(row[at]), int(self._problem_of[owner[at]])
            if len(chosen[gram]) < self._limit and (gram, problem) not in seen:
                seen.add((gram, problem))
                start, end = (int(each) for each in spans[at])
                chosen[gram].append(context_around(self._solutions[owner[at]][1], start, end))
        return [tuple(each) for each in chosen]


def context_around(text: str, start: int, end: int) -> str:
    """The characters around text[start:end], cut at blanks, each run of white space as one blank."""
    left, right = max(0, start - CONTEXT_BEFORE), min(len(text), end + CONTEXT_AFTER)
    before, after = text[left:start], text[end:right]
    if left > 0 and " " in before:
        before = before[before.index(" ") :]
    if right < len(text) and " " in after:
        after = after[: after.rindex(" ")]
    return " ".join((before + text[start:end] + after).split())


def _text_hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")


def _mix(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of splitmix64: spreads the bits of a xor of two hashes (Steele, Lea and Flood 2014)."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))
