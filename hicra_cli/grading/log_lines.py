"""Lines of a log as bytes, as soon as they are there: from a pipe that stays open, a file, gzip or zstandard.

A line ends at \\n only (texts hold U+2028), \\r before it is dropped; what follows the last \\n is a line if it is not
empty. Memory is bounded: a line beyond `LONGEST_LINE_BYTES` is passed over and reported, and a batch never holds more
than one reading from the source.
"""

import codecs
import gzip
import os
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hicra_cli.core.errors import UsageError

LONGEST_LINE_BYTES = 64 << 20
READ_BYTES = 1 << 20

Read = Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class RawLine:
    """One line without its end, counted from 1. fault: why its content is missing."""

    number: int
    content: bytes
    fault: str = ""


def line_batches(read: Read, *, most: int, longest: int = LONGEST_LINE_BYTES) -> Iterator[list[RawLine]]:
    """Every line once, in order, in batches of at most `most`: whatever has arrived is given before more is awaited.

    A source that fails in the middle gives a last line with its fault, because what follows is lost.
    """
    splitter = _Splitter(longest)
    while True:
        try:
            part = read(READ_BYTES)
        except _unreadable() as error:
            yield [RawLine(splitter.number + 1, b"", f"the input cannot be read on: {error}")]
            return
        lines = splitter.add(part) if part else splitter.end()
        for start in range(0, len(lines), most):
            yield lines[start : start + most]
        if not part:
            return


def read_from(path: Path | None) -> Read:
    """What reads from a file (`.gz` and `.zst` are unpacked), or from stdin where there is no path. Raises UsageError.

    The file stays open until the process or the last reference ends.
    """
    if path is None:
        return lambda size: os.read(0, size)
    try:
        stream: Any = path.open("rb", buffering=0)
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror}", where=str(path), fix="Check the path") from error
    if path.suffix == ".gz":
        stream = gzip.GzipFile(fileobj=stream)
    elif path.suffix == ".zst":
        import zstandard

        stream = zstandard.ZstdDecompressor().stream_reader(stream, read_across_frames=True)
    return getattr(stream, "read1", stream.read)  # type: ignore[no-any-return]


class _Splitter:
    """Cuts parts of any size into lines. number: lines given so far."""

    def __init__(self, longest: int) -> None:
        self.number = 0
        self._longest = longest
        self._pieces: list[bytes] = []  # of the line that has not ended yet
        self._held = 0
        self._too_long = False

    def add(self, part: bytes) -> list[RawLine]:
        """The lines that `part` ends."""
        *ended, rest = part.split(b"\n")
        lines = []
        for piece in ended:
            self._hold(piece)
            lines.append(self._take())
        self._hold(rest)
        return lines

    def end(self) -> list[RawLine]:
        """The last line, where it has no end."""
        return [self._take()] if self._held or self._too_long else []

    def _hold(self, piece: bytes) -> None:
        self._held += len(piece)
        if self._held > self._longest:
            self._too_long = True
            self._pieces.clear()
        elif piece:
            self._pieces.append(piece)

    def _take(self) -> RawLine:
        self.number += 1
        content = b"".join(self._pieces).removesuffix(b"\r")
        if self.number == 1:
            content = content.removeprefix(codecs.BOM_UTF8)  # some editors write one
        fault = f"the line has {self._held:,} bytes, the limit is {self._longest:,}" if self._too_long else ""
        self._pieces, self._held, self._too_long = [], 0, False
        return RawLine(self.number, content, fault)


def _unreadable() -> tuple[type[BaseException], ...]:
    """What a damaged or vanished source raises."""
    known: tuple[type[BaseException], ...] = (OSError, EOFError, zlib.error)
    module = sys.modules.get("zstandard")
    return known if module is None else (*known, module.ZstdError)
