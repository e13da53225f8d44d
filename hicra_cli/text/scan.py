"""Many texts to word numbers at once: the words and breaks of `words.segments`, without positions in the text.

What `segments` does to each word of a text is done here once for each distinct run of non-blank characters (a chunk):
texts are cut at blanks and their chunks numbered by Arrow's hash table, which compares the strings themselves, and the
numbers are spread to the words of the chunks by array operations. Where grams lie in a text is not covered.
"""

import re
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from hicra_cli.text.words import chunk_words, end_of_complete_words, left_out

BREAK = -1
Ids = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Scanned:
    """Texts as numbers of words.

    ids: (P,) int32, indices into `words`, BREAK where a gram cannot go on; each text ends with a BREAK. ends: (texts,)
    int64, where each text ends in `ids`. words: the distinct normalised words of these texts, in no special order.
    """

    ids: Ids
    ends: NDArray[np.int64]
    words: list[str]


class WordScanner:
    """Turns texts into numbers. Remembers chunks between calls, up to a limit, which changes no result."""

    def __init__(self) -> None:
        self._forget()

    def scan(self, texts: Sequence[str], *, truncated: Sequence[bool] = ()) -> Scanned:
        """The words of each text; of a truncated one without the word that its end may have cut."""
        running = [_running_text(text) for text in texts]
        split = pc.split_pattern(pa.array([f"{text} ." for text in running], pa.string()), " ")
        encoded = split.values.dictionary_encode()
        codes = self._chunk_codes(encoded.dictionary.to_pylist())
        sizes = np.array(self._sizes, dtype=np.int64)
        first = (np.cumsum(sizes) - sizes)[codes]
        words = np.array(self._words, dtype=np.int32)
        ids, position = _spread(words, first, sizes[codes], encoded.indices.to_numpy())
        ends = position[split.offsets.to_numpy()[1:]]
        for index, cut in enumerate(truncated):
            if cut and _ends_inside_word(texts[index], running[index]):
                _drop_last_word(ids[ends[index - 1] if index else 0 : ends[index]])
        scanned = self._compact(ids, ends)
        if len(self._codes) > _MOST_CHUNKS or self._characters > _MOST_CHARACTERS:
            self._forget()
        return scanned

    def _forget(self) -> None:
        self._codes: dict[str, int] = {}
        self._characters = 0
        self._vocabulary: dict[str, int] = {}
        self._sizes = array("q", [1])  # of each code; 0 is a break
        self._words = array("i", [BREAK])  # of all codes in turn

    def _chunk_codes(self, chunks: list[str]) -> NDArray[np.int64]:
        """A code for each chunk: equal for equal words."""
        codes = self._codes
        for chunk in chunks:
            if chunk not in codes:
                codes[chunk] = self._learn(chunk)
                self._characters += len(chunk)
        return np.fromiter(map(codes.__getitem__, chunks), dtype=np.int64, count=len(chunks))

    def _learn(self, chunk: str) -> int:
        # The common chunks are decided by one match; `chunk_words` knows all of them.
        plain = _PLAIN.fullmatch(chunk)
        if plain:
            self._words.append(self._number(plain[1].lower()))
            if plain[2]:
                self._words.append(BREAK)
            self._sizes.append(2 if plain[2] else 1)
        elif chunk.isascii() and _NO_LETTER.fullmatch(chunk):
            return 0
        else:
            words = [BREAK if word is None else self._number(word) for word, _, _ in chunk_words(chunk)]
            self._words.extend(words)
            self._sizes.append(len(words))
        return len(self._sizes) - 1

    def _number(self, word: str) -> int:
        return self._vocabulary.setdefault(word, len(self._vocabulary))

    def _compact(self, ids: Ids, ends: NDArray[np.int64]) -> Scanned:
        """Number the words that occur in these texts only."""
        used = np.zeros(len(self._vocabulary) + 1, dtype=np.bool_)
        used[ids] = True
        used[BREAK] = False
        present = np.flatnonzero(used)
        number = np.full(len(used), BREAK, dtype=np.int32)
        number[present] = np.arange(len(present), dtype=np.int32)
        every = list(self._vocabulary)
        return Scanned(number[ids], ends, [every[word] for word in present.tolist()])


_PLAIN = re.compile(r"([A-Za-z]+(?:['-][A-Za-z]+)*)(?:,|([.:;!?]))?")
_NO_LETTER = re.compile(r"""[^A-Za-z]*[^A-Za-z,()\[\]"'*_][^A-Za-z]*""")

_MOST_CHUNKS = 1 << 18
_MOST_CHARACTERS = 1 << 22

_LINE_ENDS = "\r\x0b\x0c\x1c\x1d\x1e"
_BLANKS = "\t\x1f"
_WIDE_LINE_ENDS = "\x85\u2028\u2029"
_WIDE_BLANKS = re.compile("[\xa0\u1680\u2000-\u200a\u202f\u205f\u3000]")


def _running_text(text: str) -> str:
    """The text with maths, code and line ends as a full stop of its own, which is a break, and every blank a space."""
    spans = left_out(text)
    if spans:
        borders = [0, *(border for span in spans for border in span), len(text)]
        text = " . ".join([text[start:end] for start, end in zip(borders[::2], borders[1::2], strict=True)])
    text = text.replace("\n", " . ")
    for ending in _LINE_ENDS:
        if ending in text:
            text = text.replace(ending, " . ")
    for blank in _BLANKS:
        if blank in text:
            text = text.replace(blank, " ")
    return text if text.isascii() else _running_wide_text(text)


def _running_wide_text(text: str) -> str:
    for ending in _WIDE_LINE_ENDS:
        if ending in text:
            text = text.replace(ending, " . ")
    text = _WIDE_BLANKS.sub(" ", text)
    # A lone surrogate breaks a gram, as the question mark does that stands for it.
    return text.encode(errors="replace").decode()


def _spread(
    words: Ids, first: NDArray[np.int64], size: NDArray[np.int64], chunks: Ids
) -> tuple[Ids, NDArray[np.int64]]:
    """The words of each chunk in turn, and where each chunk begins among them, the end included.

    first, size: where the words of each distinct chunk lie in `words`; chunks: (C,) indices into both.
    """
    sizes = size[chunks]
    position = np.zeros(len(chunks) + 1, dtype=np.int64)
    np.cumsum(sizes, out=position[1:])
    source = np.repeat(first[chunks] - position[:-1], sizes)
    source += np.arange(position[-1])
    return words[source], position


def _ends_inside_word(text: str, running: str) -> bool:
    """Whether a word reaches to where the text could still go on with it."""
    last = running[running.rfind(" ") + 1 :]
    complete = end_of_complete_words(text) - (len(text) - len(last))
    return any(word is not None and end >= complete for word, _, end in chunk_words(last))


def _drop_last_word(ids: Ids) -> None:
    ids[np.flatnonzero(ids >= 0)[-1]] = BREAK
