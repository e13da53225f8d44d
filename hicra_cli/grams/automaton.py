"""Aho–Corasick over words: every gram that ends at a word, in one pass whose cost does not depend on their number.

States are numbers, 0 is the start. Words are compared as they are: normalising is `text.words`' business.
"""

from collections import deque
from collections.abc import Sequence


class Automaton:
    """Finds sequences of words. `outputs[state]`: the indices of the sequences that end there, longest first."""

    def __init__(self, sequences: Sequence[tuple[str, ...]]) -> None:
        self.vocabulary = frozenset(word for sequence in sequences for word in sequence)
        self.outputs: list[tuple[int, ...]] = [()]
        self._next: list[dict[str, int]] = [{}]
        self._fallback: list[int] = [0]
        for index, sequence in enumerate(sequences):
            self._add(index, sequence)
        self._link()

    def step(self, state: int, word: str) -> int:
        """The state after one more word: the longest end of what was read that begins a sequence."""
        following = self._next[state].get(word)
        while following is None:
            if state == 0:
                return 0
            state = self._fallback[state]
            following = self._next[state].get(word)
        return following

    def _add(self, index: int, sequence: tuple[str, ...]) -> None:
        state = 0
        for word in sequence:
            following = self._next[state].get(word)
            if following is None:
                following = len(self._next)
                self._next[state][word] = following
                self._next.append({})
                self._fallback.append(0)
                self.outputs.append(())
            state = following
        self.outputs[state] += (index,)

    def _link(self) -> None:
        """Breadth first, so that a state's fallback, which is shorter, is complete before it is used."""
        queue = deque(self._next[0].values())
        while queue:
            state = queue.popleft()
            for word, following in self._next[state].items():
                self._fallback[following] = self.step(self._fallback[state], word)
                self.outputs[following] += self.outputs[self._fallback[following]]
                queue.append(following)
