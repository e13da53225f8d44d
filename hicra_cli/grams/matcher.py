"""The planning mask: which tokens of a rollout lie inside a strategic gram.

A token is a planning token if any of its bytes lies inside an occurrence (`text_matcher` says what that is). Masking
uses the union of all occurrences, counting the longest ones from left to right that do not overlap.

The mask belongs to the rollout: it is computed once from the sampled ids. Prompt tokens are not given to it, so that
no gram reaches over the border between prompt and response. What a token costs depends neither on the number of grams
nor on the length of the rollout. One matcher may be used by several threads, one after the other; processes scale.
"""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hicra_cli.core.records import Move, StrategicGram
from hicra_cli.grams.gram_set import GramSet
from hicra_cli.grams.mask_batch import Batch, BatchMatcher, Hits, TokenIds
from hicra_cli.grams.mask_ranges import group_numbers, joined_ranges
from hicra_cli.grams.text_matcher import Place, TextMatcher, TextOccurrence, longest_from_left
from hicra_cli.text.tokens import TokenBytes, token_bytes

__all__ = ["MOVES", "Occurrence", "Place", "PlanningMatcher", "TextMatcher", "TextOccurrence", "TokenLabels",
           "longest_from_left"]  # fmt: skip

MOVES = tuple(Move)
"""`MOVES[code]` is the move of a code in `TokenLabels.move_codes`."""


@dataclass(frozen=True, slots=True)
class Occurrence:
    """A gram at the tokens [first_token, end_token) of a rollout and the characters [start, end) of its text."""

    gram: StrategicGram
    first_token: int
    end_token: int
    start: int
    end: int


@dataclass(frozen=True, eq=False)
class TokenLabels:
    """What each of N tokens does.

    planning_mask: (N,) bool. move_codes: (N,) int8, an index into MOVES. gram_indices: (N,) int32, an index into
    `gram_set.grams`. Execution tokens have -1 in both, as have planning tokens of a gram without a move in the former.
    Of several grams on one token the one with the most words counts, and of equally long ones the one that begins
    first.
    """

    planning_mask: NDArray[np.bool_]
    move_codes: NDArray[np.int8]
    gram_indices: NDArray[np.int32]


class PlanningMatcher:
    """Planning masks of one tokenizer's rollouts under one gram-set.

    tokenizer: a `tokenizers.Tokenizer` or a Hugging Face tokenizer backed by one; see `text.tokens` for the kinds.
    Token ids are those of one response, sampled ids as they are; special tokens and unknown ids break a gram.
    `truncated` says of a response that the length limit cut it off: a gram whose last word could still go on is none.
    """

    def __init__(self, gram_set: GramSet, tokenizer: Any) -> None:
        self.gram_set = gram_set
        self._text = TextMatcher(gram_set)
        self._tokens = token_bytes(tokenizer)
        self._empty = np.array([not data for data in self._tokens.table])
        self._num_words = np.array([len(gram.words) for gram in gram_set.grams])
        moves = [-1 if gram.move is None else MOVES.index(gram.move) for gram in gram_set.grams]
        self._moves = np.array([*moves, -1], dtype=np.int8)  # the last one is that of no gram
        self._batches = BatchMatcher([gram.words for gram in gram_set.grams], self._tokens)
        self._in_turn = threading.Lock()

    def __reduce__(self) -> tuple[type["PlanningMatcher"], tuple[GramSet, TokenBytes]]:
        """Built anew by whoever unpickles it: what it remembers and its lock stay behind."""
        return PlanningMatcher, (self.gram_set, self._tokens)

    def planning_mask(self, token_ids: TokenIds, *, truncated: bool = False) -> NDArray[np.bool_]:
        """(N,) bool: S_i, the tokens with any byte inside an occurrence."""
        return self.planning_masks([token_ids], truncated=[truncated])[0]

    def planning_masks(
        self, token_ids: Iterable[TokenIds], *, truncated: Iterable[bool] | None = None
    ) -> list[NDArray[np.bool_]]:
        """The mask of each rollout of a ragged batch; `truncated` holds one value per rollout.

        Raises ValueError where there are more of one than of the other.
        """
        return self._per_rollout(token_ids, truncated, self._mask)

    def padded_planning_mask(
        self, token_ids: NDArray[Any], response_mask: NDArray[Any], *, truncated: Iterable[bool] | None = None
    ) -> NDArray[np.bool_]:
        """(B, T) bool of padded (B, T) ids: only what response_mask includes is read, each row on its own."""
        included = np.asarray(response_mask).astype(bool)
        ids = np.asarray(token_ids)
        planning_mask = np.zeros(included.shape, dtype=bool)
        if included.any():
            rows = [row[chosen] for row, chosen in zip(ids, included, strict=True)]
            planning_mask[included] = np.concatenate(self.planning_masks(rows, truncated=truncated))
        return planning_mask

    def labels(self, token_ids: TokenIds, *, truncated: bool = False) -> TokenLabels:
        """Mask, move and gram of each token of one response."""
        return self.batch_labels([token_ids], truncated=[truncated])[0]

    def batch_labels(
        self, token_ids: Iterable[TokenIds], *, truncated: Iterable[bool] | None = None
    ) -> list[TokenLabels]:
        """The labels of each rollout of a ragged batch."""
        grams = self._per_rollout(token_ids, truncated, self._gram_indices)
        return [TokenLabels(found >= 0, self._moves[found], found) for found in grams]

    def spans(self, token_ids: TokenIds, *, truncated: bool = False) -> list[Occurrence]:
        """All occurrences, nested and overlapping ones too, by start and then end."""
        return self.batch_spans([token_ids], truncated=[truncated])[0]

    def batch_spans(
        self, token_ids: Iterable[TokenIds], *, truncated: Iterable[bool] | None = None
    ) -> list[list[Occurrence]]:
        """The spans of each rollout of a ragged batch."""
        return self._occurrences(token_ids, truncated, sorted)

    def counted(self, token_ids: TokenIds, *, truncated: bool = False) -> list[Occurrence]:
        """The longest occurrences from left to right, without overlaps: what semantic entropy counts."""
        return self.batch_counted([token_ids], truncated=[truncated])[0]

    def batch_counted(
        self, token_ids: Iterable[TokenIds], *, truncated: Iterable[bool] | None = None
    ) -> list[list[Occurrence]]:
        """What counts of each rollout of a ragged batch."""
        return self._occurrences(token_ids, truncated, longest_from_left)

    def text_occurrences(self, text: str, *, truncated: bool = False) -> list[TextOccurrence]:
        """`TextMatcher.occurrences`: all occurrences in a text."""
        return self._text.occurrences(text, truncated=truncated)

    def counted_in_text(self, text: str, *, truncated: bool = False) -> list[TextOccurrence]:
        """`TextMatcher.counted`: the longest occurrences in a text, without overlaps."""
        return self._text.counted(text, truncated=truncated)

    def _per_rollout(
        self,
        token_ids: Iterable[TokenIds],
        truncated: Iterable[bool] | None,
        describe: Callable[[Batch], NDArray[Any]],
    ) -> list[NDArray[Any]]:
        described: list[NDArray[Any]] = []
        with self._in_turn:  # what has been read is remembered, which two threads must not do at once
            for batch in self._batches.batches(token_ids, truncated):
                row = describe(batch)
                described += [
                    row[start:end].copy() for start, end in zip(batch.starts.tolist(), batch.ends.tolist(), strict=True)
                ]
        return described

    def _mask(self, batch: Batch) -> NDArray[np.bool_]:
        planning_mask = np.zeros(len(batch.ids), dtype=bool)
        tokens, _ = _covered(self._batches.unions(batch))
        planning_mask[tokens] = True
        planning_mask[tokens[self._empty[batch.ids[tokens]]]] = False
        return planning_mask

    def _gram_indices(self, batch: Batch) -> NDArray[np.int32]:
        """The gram that counts for each token: it is written over the others."""
        hits = self._batches.hits(batch)
        hits = hits[np.lexsort((-hits.first_bytes, -hits.first_tokens, self._num_words[hits.grams]))]
        tokens, owners = _covered(hits)
        grams = np.full(len(batch.ids), -1, dtype=np.int32)
        grams[tokens] = hits.grams[owners]
        grams[tokens[self._empty[batch.ids[tokens]]]] = -1
        return grams

    def _occurrences(
        self,
        token_ids: Iterable[TokenIds],
        truncated: Iterable[bool] | None,
        chosen: Callable[[list[Place]], list[Place]],
    ) -> list[list[Occurrence]]:
        found: list[list[Occurrence]] = []
        with self._in_turn:
            for batch in self._batches.batches(token_ids, truncated):
                hits = self._batches.hits(batch)
                hits = hits[np.argsort(hits.first_tokens, kind="stable")]
                cuts = np.searchsorted(hits.first_tokens, np.append(batch.starts, len(batch.ids))).tolist()
                found += [
                    self._described(batch.ids[start:end], hits[cut:following].moved(-start), chosen)
                    for start, end, cut, following in zip(
                        batch.starts.tolist(), batch.ends.tolist(), cuts[:-1], cuts[1:], strict=True
                    )
                ]
        return found

    def _described(
        self, ids: NDArray[np.int64], hits: Hits, chosen: Callable[[list[Place]], list[Place]]
    ) -> list[Occurrence]:
        """Hits in one rollout, with their places in its text."""
        if not len(hits.grams):
            return []
        tokens = self._tokens.text_and_offsets(ids)
        starts = np.searchsorted(tokens.char_bytes, tokens.byte_starts[hits.first_tokens] + hits.first_bytes)
        ends = np.searchsorted(tokens.char_bytes, tokens.byte_starts[hits.last_tokens] + hits.last_bytes)
        places = chosen(list(zip(starts.tolist(), ends.tolist(), hits.grams.tolist(), strict=True)))
        bounds = np.array([place[:2] for place in places], dtype=np.int64).reshape(-1, 2)
        first, end = tokens.tokens_of(bounds[:, 0], bounds[:, 1])
        found = zip(self._text.described(places), first.tolist(), end.tolist(), strict=True)
        return [Occurrence(place.gram, first, end, place.start, place.end) for place, first, end in found]


def _covered(hits: Hits) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The tokens of every occurrence, one occurrence after the other, and which occurrence each belongs to."""
    lengths = hits.last_tokens + 1 - hits.first_tokens
    return joined_ranges(hits.first_tokens, lengths), group_numbers(lengths)
