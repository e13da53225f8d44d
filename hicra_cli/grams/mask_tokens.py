"""What matching needs to know of each token of a tokenizer, computed once.

Flags say where a run of tokens that can be read on its own begins and ends, and which tokens can bear on maths or
code. Classes join tokens that matching cannot tell apart: case, which digits or symbols stand there, and words that no
gram contains make no difference, so far fewer distinct runs have to be read.
"""

import re
import unicodedata
from collections.abc import Iterable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from hicra_cli.text.tokens import TokenBytes

BLANK_FIRST = 1
"""The token begins with an ASCII blank: nothing before it bears on how it is read."""
BLANK_LAST = 2
"""The token ends with an ASCII blank."""
BREAKS = 4
"""Special or unknown: no bytes, breaks a gram and ends maths and code."""
MARKED = 8
"""Needed to find maths and code: a delimiter, a line end, blanks only, part of a character, or no bytes."""
BACKSLASH_LAST = 16
"""The token ends with a backslash that takes the next token's first character with it."""
HARMLESS_FIRST = 32
"""A backslash before this token begins a command that is no delimiter."""
ENVIRONMENT = 64
r"""The token may begin `\begin{` or `\end{`."""
ENVIRONMENT_FIRST = 128
"""The token may do so after a backslash at the end of the one before it."""
DELIMITER = 256
"""MARKED, and its neighbours are needed too."""


def token_flags(tokens: TokenBytes) -> NDArray[np.uint16]:
    """(rows of the table,) uint16: the flags above."""
    flags = np.fromiter(map(_flags, tokens.table), dtype=np.uint16, count=len(tokens.table))
    flags[tokens.breaks] = BREAKS | BLANK_FIRST | BLANK_LAST
    return flags


def token_classes(tokens: TokenBytes, vocabulary: Iterable[str]) -> NDArray[np.int32]:
    """(rows of the table,) int32: the class of each token under the words of the grams; class 0 breaks a gram.

    Tokens of one class may stand for each other anywhere: the known words and breaks of a run, the tokens they begin
    and end in and, for known words, the bytes before them in their first token stay the same.
    """
    parts = _parts_of(vocabulary)
    numbers: dict[str | int, int] = {}
    classes = [
        0 if breaks else numbers.setdefault(_class(row, data, parts), len(numbers) + 1)
        for row, (data, breaks) in enumerate(zip(tokens.table, tokens.breaks.tolist(), strict=True))
    ]
    return np.array(classes, dtype=np.int32)


_BLANKS = frozenset(b" \t\n\v\f\r\x1c\x1d\x1e\x1f")
_PLAIN = re.compile(rb" ?[A-Za-z0-9.,:;!?'\"+*/=<>|&%#@~^_-]+")
_DELIMITERS = re.compile(rb"[$`]")
_LINE_ENDS = re.compile(rb"[\n\r]")
_OPEN_ENDED = re.compile(rb"\\[^A-Za-z]")
_ENVIRONMENTS = (b"begin{", b"end{")


@cache
def _harmless_first(byte: int) -> bool:
    return byte not in b"()[]\\$`" and byte not in _BLANKS


def _flags(data: bytes) -> int:
    if not data:
        return MARKED | DELIMITER  # what stands before and after it are neighbours
    flags = BLANK_FIRST if data[0] in _BLANKS else 0
    if _may_begin_environment(data):
        flags |= ENVIRONMENT_FIRST
    elif _harmless_first(data[0]):
        flags |= HARMLESS_FIRST
    if _PLAIN.fullmatch(data):
        return flags
    if data[-1] in _BLANKS:
        flags |= BLANK_LAST
    if _DELIMITERS.search(data):
        flags |= MARKED | DELIMITER
    if _LINE_ENDS.search(data) or not _is_whole(data) or data.decode().isspace():
        flags |= MARKED
    return flags | _backslash_flags(data)


def _backslash_flags(data: bytes) -> int:
    _, *followed_by = data.split(b"\\")
    if not followed_by:
        return 0
    flags = MARKED | DELIMITER if _OPEN_ENDED.search(data) else 0
    if not followed_by[-1]:
        flags |= BACKSLASH_LAST
    if any(map(_may_begin_environment, filter(None, followed_by))):
        flags |= MARKED | DELIMITER | ENVIRONMENT
    return flags


def _may_begin_environment(data: bytes) -> bool:
    return any(data.startswith(name) or name.startswith(data) for name in _ENVIRONMENTS)


def _is_whole(data: bytes) -> bool:
    """No character of it goes on in another token."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


_LETTERS = re.compile(r"(\s*)([A-Za-z]+)")
_NO_LETTERS = re.compile(r"[^A-Za-z]+")
_SHAPES = (
    (re.compile(r"[0-9]{2,}"), "00"),  # a backslash takes one digit with it
    (re.compile(r"[0-9]"), "0"),
    (re.compile(r"""["()[\]]+"""), "("),
    (re.compile(r"[^\w\s.,*'\\\"()[\]-]+"), "="),
    (re.compile(r"\s*[\n\v\f\r\x1c-\x1e]\s*"), "\n"),
    (re.compile(r"[ \t\x1f]+"), " "),
)


def _class(row: int, data: bytes, parts: frozenset[str]) -> str | int:
    """What the token has in common with others of its class; its own row where it is compared as it is."""
    if not data.isascii() or not data:
        return row
    text = data.decode("ascii").lower()
    if word := _LETTERS.fullmatch(text):
        # A single letter may be part of an abbreviation such as i.e., whichever it is.
        unknown = len(word[2]) > 1 and word[2] not in parts
        return (_collapsed(word[1]) + "unknown word") if unknown else text
    return _collapsed(text) if _NO_LETTERS.fullmatch(text) else text


def _collapsed(text: str) -> str:
    for pattern, replacement in _SHAPES:
        text = pattern.sub(replacement, text)
    return text


def _parts_of(vocabulary: Iterable[str]) -> frozenset[str]:
    """Every run of letters inside a word: what is none of them makes any word an unknown one.

    Marks are taken off: the last letter of a token may have been composed with a mark in the token after it.
    """
    parts: set[str] = set()
    for word in vocabulary:
        decomposed = unicodedata.normalize("NFKD", word)
        bare = "".join(character for character in decomposed if not unicodedata.category(character).startswith("M"))
        parts.update(bare[start:end] for start in range(len(bare)) for end in range(start + 1, len(bare) + 1))
    return frozenset(parts)
