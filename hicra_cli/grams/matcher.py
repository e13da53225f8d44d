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
        self._steps = _Steps(self._automaton.vocabulary)

    def occurrences(self, text: str, *, truncated: bool = False) -> list[TextOccurrence]:
        """All occurrences, nested and overlapping ones too, by start and then end.

        truncated: the text was cut off, so a gram whose last word could still go on is none.
        """
        found: list[TextOccurrence] = []
        for offset, stretch in stretches(text):
            hits = self._hits(stretch.split())
            if hits:
                starts = _chunk_starts(stretch)
                found += [
                    TextOccurrence(gram, offset + starts[first] + start, offset + starts[last] + end)
                    for gram, first, start, last, end in hits
                ]
        if truncated and found:
            complete = end_of_complete_words(text)
            found = [occurrence for occurrence in found if occurrence.end < complete]
        return sorted(found, key=lambda occurrence: (occurrence.start, occurrence.end))

    def counted(self, text: str, *, truncated: bool = False) -> list[TextOccurrence]:
        """The longest match from left to right, without overlaps: what semantic entropy counts."""
        return _longest_from_left(self.occurrences(text, truncated=truncated))

    def _hits(self, chunks: list[str]) -> list[tuple[StrategicGram, int, int, int, int]]:
        """(gram, first chunk, character in it, last chunk, end in it) of every occurrence in one stretch."""
        hits: list[tuple[StrategicGram, int, int, int, int]] = []
        automaton, grams = self._automaton, self.gram_set.grams
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
                state = automaton.step(state, word)
                for index in automaton.outputs[state]:
                    hits.append((grams[index], *path[-len(grams[index].words)], number, end))
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
        planning_mask = np.zeros(len(tokens.byte_ends), dtype=bool)
        for occurrence in self._in_parts(tokens, truncated=truncated):
            first, end = tokens.tokens_of(occurrence.start, occurrence.end)
            planning_mask[first:end] = True
        return planning_mask & (tokens.byte_ends > tokens.byte_starts)

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
        return _with_tokens(tokens, self._in_parts(tokens, truncated=truncated))

    def counted(self, token_ids: TokenIds, *, truncated: bool = False) -> list[Occurrence]:
        """The longest occurrences from left to right, without overlaps: what semantic entropy counts."""
        tokens = self._tokens.text_and_offsets(token_ids)
        return _with_tokens(tokens, _longest_from_left(self._in_parts(tokens, truncated=truncated)))

    def text_occurrences(self, text: str, *, truncated: bool = False) -> list[TextOccurrence]:
        """`TextMatcher.occurrences`: all occurrences in a text."""
        return self._text.occurrences(text, truncated=truncated)

    def counted_in_text(self, text: str, *, truncated: bool = False) -> list[TextOccurrence]:
        """`TextMatcher.counted`: the longest occurrences in a text, without overlaps."""
        return self._text.counted(text, truncated=truncated)

    def _in_parts(self, tokens: TokenText, *, truncated: bool) -> list[TextOccurrence]:
        parts = tokens.parts()
        found: list[TextOccurrence] = []
        for number, (start, end) in enumerate(parts, start=1):
            last = number == len(parts)  # only what stands at the very end can be cut off
            for occurrence in self._text.occurrences(tokens.text[start:end], truncated=truncated and last):
                found.append(TextOccurrence(occurrence.gram, start + occurrence.start, start + occurrence.end))
        return found


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


def _longest_from_left(occurrences: list[TextOccurrence]) -> list[TextOccurrence]:
    counted: list[TextOccurrence] = []
    for occurrence in sorted(occurrences, key=lambda occurrence: (occurrence.start, -occurrence.end)):
        if not counted or occurrence.start >= counted[-1].end:
            counted.append(occurrence)
    return counted


def _with_tokens(tokens: TokenText, occurrences: list[TextOccurrence]) -> list[Occurrence]:
    return [
        Occurrence(found.gram, *tokens.tokens_of(found.start, found.end), found.start, found.end)
        for found in occurrences
    ]
