"""ROUGE-L: how much of a reference's wording a text has, in order (Lin 2004)."""

from collections.abc import Sequence


def rouge_l(text: Sequence[str], reference: Sequence[str]) -> float:
    """F1 of the longest common subsequence of words: 1.0 for equal texts, 0.0 where nothing is shared.

    Precision and recall weigh the same. Two empty texts are equal. Time grows with the product of the lengths.
    """
    if not text or not reference:
        return float(not text and not reference)
    return 2 * longest_common_subsequence(text, reference) / (len(text) + len(reference))


def longest_common_subsequence(one: Sequence[str], other: Sequence[str]) -> int:
    """The number of words in the longest sequence that both hold in order, with gaps allowed."""
    # One integer as a row of bits (Hyyrö 2004): a step per word of `other`, whatever the length of `one`.
    places: dict[str, int] = {}
    for at, word in enumerate(one):
        places[word] = places.get(word, 0) | 1 << at
    full = (1 << len(one)) - 1
    row = full
    for word in other:
        hits = row & places.get(word, 0)
        row = (row + hits | row - hits) & full
    return len(one) - row.bit_count()
