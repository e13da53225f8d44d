"""Comparisons that were made already, in memory: bounded, the least recently used go first, safe between threads."""

import threading
from collections import OrderedDict
from dataclasses import dataclass

from hicra_cli.core.records import Outcome

CAPACITY = 65_536
LONGEST_KEPT = 500  # characters of answer and gold together: longer ones are rare and would unbound the memory


@dataclass(frozen=True, slots=True)
class Pair:
    """One comparison: an extracted answer and a gold answer."""

    answer: str
    gold: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """What came of comparing a pair. lasting: comparing it again under the same bounds would give the same."""

    outcome: Outcome
    detail: str = ""
    lasting: bool = True


class KnownPairs:
    """At most `capacity` judgements of pairs."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._judgements: OrderedDict[Pair, Judgement] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, pair: Pair) -> Judgement | None:
        """The judgement of a pair, None where it is not known."""
        with self._lock:
            found = self._judgements.get(pair)
            if found is not None:
                self._judgements.move_to_end(pair)
            return found

    def add(self, pair: Pair, judgement: Judgement) -> None:
        """Remember a judgement; very long pairs are not kept."""
        if len(pair.answer) + len(pair.gold) > LONGEST_KEPT:
            return
        with self._lock:
            self._judgements[pair] = judgement
            while len(self._judgements) > self._capacity:
                self._judgements.popitem(last=False)

    def __len__(self) -> int:
        return len(self._judgements)
