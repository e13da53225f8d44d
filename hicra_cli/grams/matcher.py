"""Where strategic grams occur: in text, and in the token ids of a rollout as its planning mask.

An occurrence reaches from the first character of a gram's first word to the last of its last word; words and what
breaks them are defined in `text.words`. A token is a planning token if any of its bytes lies inside an occurrence.
Masking uses the union of all occurrences, counting the longest ones from left to right that do not overlap.

The mask belongs to the rollout: it is computed once from the sampled ids. Prompt tokens are not given to it, so that
no gram reaches over the border between prompt and response.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hicra_cli.core.records import StrategicGram
from hicra_cli.grams.automaton import Automaton
from hicra_cli.grams.gram_set import GramSet
from hicra_cli.text.tokens import TokenText, token_bytes
from hicra_cli.text.words import chunk_words, end_of_complete_words, stretches

TokenIds = Sequence[int] | NDArray[np.integer[Any]]
Place = tuple[int, int, int]
"""Characters [start, end) and the index of the gram in its gram-set."""


@dataclass(frozen=True, slots=True)
class TextOccurrence:
    """A gram at the characters [start, end) of a text."""

    gram: StrategicGram
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Occurrence:
    """A gram at the tokens [first_token, end_token) of a rollout and the characters [start, end) of its text."""

    gram: StrategicGram
    first_token: int
    end_token: int
    start: int
    end: int


class TextMatcher:
    """Finds the grams of a gram-set in text; needs no tokenizer."""

    def __init__(self, gram_set: GramSet) -> None:
        self.gram_set = gram_set
        self._automaton = Automaton([gram.words for gram in gram_set.grams])
        self._lengths = [len(gram.words) for gram in gram_set.grams]
        self._steps = _Steps(self._automaton.vocabulary)

    def occurrences(self, text: str, *, truncated: bool = False) -> list[TextOccurrence]:
        """All occurrences, nested and overlapping ones too, by start and then end.

        truncated: the text was cut off, so a gram whose last word could still go on is none.
        """
        return self.described(self.places(text, truncated=truncated))

    def counted(self, text: str, *, truncated: bool = False) -> list[TextOccurrence]:
        """The longest match from left to right, without overlaps: what semantic entropy counts."""
        return self.described(longest_from_left(self.places(text, truncated=truncated)))

    def places(self, text: str, *, truncated: bool = False) -> list[Place]:
        """What `occurrences` describes, as plain (start, end, index of the gram) for who has many."""
        found: list[Place] = []
        for offset, stretch in stretches(text):
            hits = self._hits(stretch.split())
            if hits:
                starts = _chunk_starts(stretch)
                found += [
                    (offset + starts[first] + start, offset + starts[last] + end, index)
                    for first, start, last, end, index in hits
                ]
        if truncated and found:
            complete = end_of_complete_words(text)
            found = [place for place in found if place[1] < complete]
        return sorted(found)

    def described(self, places: Iterable[Place]) -> list[TextOccurrence]:
        """Each place with its gram."""
        grams = self.gram_set.grams
        return [TextOccurrence(grams[index], start, end) for start, end, index in places]

    def _hits(self, chunks: list[str]) -> list[tuple[int, int, int, int, int]]:
        """(first chunk, character in it, last chunk, end in it, gram) of every occurrence in one stretch."""
        hits: list[tuple[int, int, int, int, int]] = []
        step, outputs, lengths = self._automaton.step, self._automaton.outputs, self._lengths
        state = 0
        path: list[tuple[int, int]] = []  # chunk and character of each known word since the last break
        for number, steps in enumerate(map(self._steps.__getitem__, chunks)):
            if steps is None:
                if path:
                    state, path = 0, []
                continue
            for word, start, end in steps:
                if word is None:
                    state, path = 0, []
                    continue
                path.append((number, start))
                state = step(state, word)
                for index in outputs[state]:
                    hits.append((*path[-lengths[index]], number, end, index))
        return hits


class PlanningMatcher:
    """Planning masks of one tokenizer's rollouts under one gram-set.

    tokenizer: a `tokenizers.Tokenizer` or a Hugging Face tokenizer backed by one; see `text.tokens` for the kinds.
    Token ids are those of one response, sampled ids as they are; special tokens and unknown ids break a gram.
    """

    def __init__(self, gram_set: GramSet, tokenizer: Any) -> None:
        self.gram_set = gram_set
        self._text = TextMatcher(gram_set)
        self._tokens = token_bytes(tokenizer)

    def planning_mask(self, token_ids: TokenIds, *, truncated: bool = False) -> NDArray[np.bool_]:
        """(N,) bool: S_i, the tokens with any byte inside an occurrence. truncated: cut off by the length limit."""
        tokens = self._tokens.text_and_offsets(token_ids)
        num_tokens = len(tokens.byte_ends)
        first, end = tokens.tokens_of(*_bounds(self._in_parts(tokens, truncated=truncated)))
        # Occurrences open at their first token and close behind their last one: what is open anywhere is planning.
        opened = np.bincount(first, minlength=num_tokens + 1) - np.bincount(end, minlength=num_tokens + 1)
        return (np.cumsum(opened)[:num_tokens] > 0) & (tokens.byte_ends > tokens.byte_starts)

    def planning_masks(
        self, token_ids: Iterable[TokenIds], *, truncated: Iterable[bool] | None = None
    ) -> list[NDArray[np.bool_]]:
        """The mask of each rollout of a ragged batch; `truncated` holds one value per rollout."""
        rollouts = list(token_ids)
        cut = [False] * len(rollouts) if truncated is None else list(truncated)
        return [self.planning_mask(ids, truncated=was_cut) for ids, was_cut in zip(rollouts, cut, strict=True)]

    def spans(self, token_ids: TokenIds, *, truncated: bool = False) -> list[Occurrence]:
        """All occurrences, nested and overlapping ones too, by start and then end."""
        tokens = self._tokens.text_and_offsets(token_ids)
        return self._described(tokens, self._in_parts(tokens, truncated=truncated))

    def counted(self, token_ids: TokenIds, *, truncated: bool = False) -> list[Occurrence]:
        """The longest occurrences from left to right, without overlaps: what semantic entropy counts."""
        tokens = self._tokens.text_and_offsets(token_ids)
        return self._described(tokens, longest_from_left(self._in_parts(tokens, truncated=truncated)))

    def text_occurrences(self, text: str, *, truncated: bool = False) -> list[TextOccurrence]:
        """`TextMatcher.occurrences`: all occurrences in a text."""
        return self._text.occurrences(text, truncated=truncated)

    def counted_in_text(self, text: str, *, truncated: bool = False) -> list[TextOccurrence]:
        """`TextMatcher.counted`: the longest occurrences in a text, without overlaps."""
        return self._text.counted(text, truncated=truncated)

    def _in_parts(self, tokens: TokenText, *, truncated: bool) -> list[Place]:
        """Places in the whole text; no gram reaches over a special token."""
        parts = tokens.parts()
        found: list[Place] = []
        for number, (start, end) in enumerate(parts, start=1):
            last = number == len(parts)  # only what stands at the very end can be cut off
            places = self._text.places(tokens.text[start:end], truncated=truncated and last)
            found += [(start + place[0], start + place[1], place[2]) for place in places]
        return found

    def _described(self, tokens: TokenText, places: list[Place]) -> list[Occurrence]:
        first, end = tokens.tokens_of(*_bounds(places))
        found = zip(self._text.described(places), first.tolist(), end.tolist(), strict=True)
        return [Occurrence(place.gram, first, end, place.start, place.end) for place, first, end in found]


def longest_from_left(places: Iterable[Place]) -> list[Place]:
    """At each first word the longest gram, then on behind it."""
    kept: list[Place] = []
    for place in sorted(places, key=lambda place: (place[0], -place[1])):
        if not kept or place[0] >= kept[-1][1]:
            kept.append(place)
    return kept


_Step = tuple[str | None, int, int]
_KNOWN_CHUNKS = 1 << 16


class _Steps(dict[str, tuple[_Step, ...] | None]):
    """Chunk -> what the automaton does with it: None is a break, which is what most chunks are.

    A word that no gram contains is a break as well. The memo is emptied when full: text is endless.
    """

    def __init__(self, vocabulary: frozenset[str]) -> None:
        super().__init__()
        self._vocabulary = vocabulary

    def __missing__(self, chunk: str) -> tuple[_Step, ...] | None:
        known = tuple(
            (word if word in self._vocabulary else None, start, end) for word, start, end in chunk_words(chunk)
        )
        steps = None if known and all(word is None for word, _, _ in known) else known
        if len(self) >= _KNOWN_CHUNKS:
            self.clear()
        if len(chunk) <= 32:
            self[chunk] = steps
        return steps


def _chunk_starts(stretch: str) -> list[int]:
    starts: list[int] = []
    position = 0
    for chunk in stretch.split():
        position = stretch.index(chunk, position)
        starts.append(position)
        position += len(chunk)
    return starts


def _bounds(places: list[Place]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    starts_and_ends = np.array([place[:2] for place in places], dtype=np.int64).reshape(-1, 2)
    return starts_and_ends[:, 0], starts_and_ends[:, 1]
