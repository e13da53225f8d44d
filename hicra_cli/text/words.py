"""Words of running text, and where a gram may not go on.

A gram is a run of words. What it may cover is decided here, by these rules, for mining, masking and counting alike:

- A word is a run of letters with single apostrophes or hyphens inside (`let's`, `well-known`); single letters joined
  by full stops (`i.e.`, `w.l.o.g.`) are one word too. It is normalised by NFKC, lower case and straight quotes and
  hyphens. Positions always refer to the characters of the original text.
- Dropped, so that a gram goes on across them: blanks, commas, dashes (em and en), quotes, round and square brackets,
  and markdown's `*` and `_` where they touch a word.
- Everything else breaks a gram: sentence ends (. ! ? …), colon and semicolon (they part clauses and labels), line
  breaks, words with a digit, a lone `*`, `-`, `=`, `/`, `<`, `|` and other symbols, emoji, control characters,
  characters that could not be decoded. Two words that only a bracket, quote or emphasis mark keeps apart (`f(x)`) are
  broken as well.
- Maths and code are left out and break a gram: `$…$`, `$$…$$`, `\\(…\\)`, `\\[…\\]`, `\\begin{…}…\\end{…}` except lists
  and other environments of prose, LaTeX commands, code fences and `code` in backticks.
- An opener that is never closed is a break of its own and swallows nothing. `$` must close in its paragraph, at the
  next `$`, and as in pandoc an opening `$` has no blank after it and no word before it, a closing one no blank before
  it and no digit after it: `$400 plus $60` is money. `\\(`, `\\[` and a fence with a language name end an unclosed
  opener of their own kind; a backtick must close in its line; environments close like brackets, whatever their names.

All of it takes linear time whatever the text. Sentence structure, stemming and spelling are not covered.
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from hicra_cli.core.errors import DataError


class Word(NamedTuple):
    """A normalised word and the characters [start, end) of the original text it was read from."""

    normalised: str
    start: int
    end: int


ChunkWord = tuple[str | None, int, int]
"""A normalised word with its characters inside its chunk, or (None, start, end) for a break."""


def segments(text: str) -> list[list[Word]]:
    """The runs of words that a gram may cover, in order; none is empty."""
    found: list[list[Word]] = []
    for offset, stretch in stretches(text):
        segment: list[Word] = []
        for chunk in _CHUNK.finditer(stretch):
            base = offset + chunk.start()
            for normalised, start, end in chunk_words(chunk[0]):
                if normalised is not None:
                    segment.append(Word(normalised, base + start, base + end))
                elif segment:
                    found.append(segment)
                    segment = []
        if segment:
            found.append(segment)
    return found


def normalise_gram(phrase: str) -> tuple[str, ...]:
    """The words of a gram as they occur in `segments`. Sentence ends around the phrase are forgiven.

    Raises DataError where nothing is left or where the phrase holds something that no gram can cross.
    """
    lines = list(stretches(phrase.strip(_FORGIVEN)))
    words = [word for _, line in lines for chunk in line.split() for word, _, _ in chunk_words(chunk)]
    kept = tuple(word for word in words if word is not None)
    if not kept:
        raise DataError(f"gram {phrase!r} has no word", fix="Give 3 to 5 words of running text")
    covered = sum(len(line) for _, line in lines)
    if len(kept) < len(words) or len(lines) > 1 or covered < len(phrase.strip(_FORGIVEN)):
        raise DataError(
            f"gram {phrase!r} can never occur: a number, symbol, line, sentence end, maths or code breaks it",
            fix="Give words of one sentence only",
        )
    return kept


def end_of_complete_words(text: str) -> int:
    """Where a cut text could still go on with its last word: a word that ends here or later is not complete."""
    return len(text.rstrip(_UNFINISHED))


def stretches(text: str) -> Iterator[tuple[int, str]]:
    """(offset, stretch) of each line, or part of a line, that lies outside maths and code."""
    position = 0
    for start, end in [*left_out(text), (len(text), len(text))]:
        for line in text[position:start].splitlines(keepends=True):
            yield position, line
            position += len(line)
        position = end


def left_out(text: str) -> list[tuple[int, int]]:
    """Spans of code and maths: sorted, disjoint. Each begins and ends at characters that break a gram anyway."""
    code = _merged(_code_spans(text)) if "`" in text else []
    if "$" not in text and "\\" not in text:
        return code
    return _merged(code + _maths_spans(text, code))


def chunk_words(chunk: str) -> tuple[ChunkWord, ...]:
    """The words and breaks of a run of non-blank characters."""
    # Long chunks are rare and mostly hostile: they must not fill the cache.
    return _cached_chunk_words(chunk) if len(chunk) <= _LONGEST_CACHED else _chunk_words(chunk)


_CHUNK = re.compile(r"\S+")
_FORGIVEN = " \t\r\n.!?…:;,"
_LONGEST_CACHED = 32

_APOSTROPHES = "'’‘‛ʼ＇"
_HYPHENS = "-‐‑﹣－"
_UNFINISHED = _APOSTROPHES + _HYPHENS + "\ufffd"
_FOLDED = str.maketrans({**dict.fromkeys(_APOSTROPHES, "'"), **dict.fromkeys(_HYPHENS, "-")})


class _CharacterClasses(dict[int, str]):
    """Code point -> its class, one letter: what `str.translate` needs to turn a chunk into its shape.

    L letter, M mark, D digit or number, A apostrophe, H hyphen, S comma or dash, E quote or bracket, * emphasis,
    P full stop, B backslash, X anything that breaks a gram.
    """

    def __missing__(self, code: int) -> str:
        category = unicodedata.category(chr(code))
        if category[0] in "LM":
            kind = category[0]
        elif category[0] == "N":
            kind = "D"
        else:
            kind = "E" if category in ("Ps", "Pe", "Pi", "Pf") else "X"
        if code < 0x3000:  # the memo stays small whatever the text
            self[code] = kind
        return kind


_CLASSES = _CharacterClasses(
    {
        ord(character): kind
        for characters, kind in (
            (_APOSTROPHES, "A"),
            (_HYPHENS, "H"),
            (",，、﹐—–―", "S"),
            ('"＂', "E"),
            ("*_", "*"),
            (".", "P"),
            ("\\", "B"),
            ("{}", "X"),
        )
        for character in characters
    }
)

_DOTTED = r"L(?:PL)+(?![LMDAH])"
_RUN = r"[LD][LMD]*(?:[AH][LD][LMD]*)*"
_PIECE = re.compile(rf"(?P<word>{_DOTTED}|{_RUN})P?|(?P<dropped>[SEA*]+)|BL+|B?.")
_NORMAL = re.compile(r"L(?:PL)+|L[LM]*(?:[AH]L[LM]*)*")


def _chunk_words(chunk: str) -> tuple[ChunkWord, ...]:
    shape = chunk.translate(_CLASSES)
    found: list[ChunkWord] = []
    glued = False  # a word came before and no comma or dash since
    for piece in _PIECE.finditer(shape):
        start, end = piece.span()
        if piece["word"] is not None:
            word_end = piece.end("word")
            if glued:
                found.append((None, start, start))
            found.append((_normalised_word(chunk[start:word_end]), start, word_end))
            glued = True
            if word_end < end and "P" not in piece["word"]:  # the full stop after i.e. ends no sentence
                found.append((None, word_end, end))
        elif piece["dropped"] is None:
            found.append((None, start, end))
        elif "S" in piece["dropped"]:
            glued = False
    if not found and "*" in shape:
        return ((None, 0, len(chunk)),)
    return tuple(found)


_cached_chunk_words = lru_cache(maxsize=1 << 16)(_chunk_words)


def _normalised_word(word: str) -> str | None:
    """NFKC, lower case, straight apostrophes and hyphens; None where that leaves something that is no word."""
    if word.isascii():
        normal = word.lower()
    else:
        # Lower case can decompose what NFKC composed, hence twice.
        normal = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", word).lower()).translate(_FOLDED)
    return normal if _NORMAL.fullmatch(normal.translate(_CLASSES)) else None


_PROSE = "itemize|enumerate|description|center|quote|quotation|document|abstract|proof|theorem|lemma|solution"
_CODE = re.compile(r"(?P<fence>`{3,})(?P<language>\w*)|`+|[\n\r]")
ENVIRONMENT = rf"\\begin\{{(?!(?:{_PROSE})\*?\}})|\\end\{{(?!(?:{_PROSE})\*?\}})[^{{}}\n`$\\]*\}}?"
_MATHS = re.compile(ENVIRONMENT + r"|\\[()\[\]\\$\n]|\$\$?|\n[^\S\n]*\n")
_MATHS_WITHOUT_DOLLARS = re.compile(ENVIRONMENT + r"|\\[()\[\]\\]")  # a paragraph ends nothing there


def _code_spans(text: str) -> list[tuple[int, int]]:
    """Fences in pairs; inline code between runs of one or two backticks of equal length."""
    spans: list[tuple[int, int]] = []
    fence: int | None = None
    inline: dict[str, int] = {}
    for mark in _CODE.finditer(text):
        run = mark[0]
        if mark["fence"]:
            if fence is not None and not mark["language"]:
                spans.append((fence, mark.end()))
                fence = None
            else:
                fence = mark.start()
            inline = {}
        elif run in "\n\r":
            inline = {}
        elif run in inline:
            start = inline.pop(run)
            spans.append((start, mark.end()))
            inline = {other: at for other, at in inline.items() if at < start}
        else:
            inline[run] = mark.start()
    return spans


def _maths_spans(text: str, code: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Each kind of delimiter is paired on its own; the spans may overlap."""
    spans: list[tuple[int, int]] = []
    opened: dict[str, int] = {}
    environments: list[int] = []
    for mark in _outside(text, code):
        delimiter = mark[0]
        if delimiter == "$":
            if "$" in opened and _closes_inline(text, mark):
                spans.append((opened.pop("$"), mark.end()))
                continue
            opened.pop("$", None)
            if _opens_inline(text, mark):
                opened["$"] = mark.start()
        elif delimiter in _CLOSERS and _CLOSERS[delimiter] in opened:
            spans.append((opened.pop(_CLOSERS[delimiter]), mark.end()))
        elif delimiter in _OPENERS:
            opened[delimiter] = mark.start()
        elif delimiter[0] == "\n":
            opened.pop("$", None)
            opened.pop("$$", None)
        elif delimiter.startswith("\\begin"):
            environments.append(mark.start())
        elif delimiter.startswith("\\end") and environments:
            spans.append((environments.pop(), mark.end()))
    return spans


_OPENERS = frozenset(("\\(", "\\[", "$$"))
_CLOSERS = {"\\)": "\\(", "\\]": "\\[", "$$": "$$"}


def _outside(text: str, code: list[tuple[int, int]]) -> Iterator[re.Match[str]]:
    marks = _MATHS if "$" in text else _MATHS_WITHOUT_DOLLARS
    position = 0
    for start, end in [*code, (len(text), len(text))]:
        yield from marks.finditer(text, position, start)
        position = end


def _opens_inline(text: str, dollar: re.Match[str]) -> bool:
    before, after = text[dollar.start() - 1 : dollar.start()], text[dollar.end() : dollar.end() + 1]
    return bool(after) and not after.isspace() and not before.isalnum()


def _closes_inline(text: str, dollar: re.Match[str]) -> bool:
    before, after = text[dollar.start() - 1 : dollar.start()], text[dollar.end() : dollar.end() + 1]
    return not before.isspace() and not after.isdigit()


def _merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
