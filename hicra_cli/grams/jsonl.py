"""JSON lines from a user's file, plain, gzip or zstandard: every fault is named with file and line."""

import codecs
import gzip
import io
import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from hicra_cli.core.errors import DataError

LONGEST_LINE_BYTES = 256 * 2**20


def json_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(`file:line`, object) of every line that is not blank. Raises DataError.

    Lines end at \\n only: texts may hold U+2028 and other characters that str.splitlines takes for line ends.
    """
    with _open(path) as stream:
        number = 0
        while True:
            number += 1
            where = f"{path}:{number}"
            try:
                line = stream.readline(LONGEST_LINE_BYTES)
            except (OSError, EOFError, zlib.error, _zstd_error()) as error:
                raise DataError(f"the file cannot be read on: {error}", where=where) from error
            if not line:
                return
            if len(line) == LONGEST_LINE_BYTES:
                raise DataError(f"the line is longer than {LONGEST_LINE_BYTES} bytes", where=where)
            if number == 1:
                line = line.removeprefix(codecs.BOM_UTF8)  # some editors write one
            if line.strip():
                yield where, _object(line, where=where)


def _object(line: bytes, *, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line.decode())
    except UnicodeDecodeError as error:
        raise DataError(f"the line is not UTF-8: {error.reason} at byte {error.start}", where=where) from error
    except json.JSONDecodeError as error:
        said = error.msg.removesuffix(" at")
        raise DataError(f"the line is no JSON: {said} at column {error.colno}", where=where) from error
    except (RecursionError, ValueError) as error:
        raise DataError(f"the line cannot be read as JSON: {type(error).__name__}", where=where) from error
    if not isinstance(row, dict):
        raise DataError(f"the line is {type(row).__name__}, a JSON object is needed", where=where)
    return row


@contextmanager
def _open(path: Path) -> Iterator[BinaryIO]:
    try:
        raw = path.open("rb")
    except OSError as error:
        raise DataError(f"cannot be opened: {error.strerror}", where=str(path), fix="Check the path") from error
    with raw:
        if path.suffix == ".gz":
            yield cast(BinaryIO, gzip.GzipFile(fileobj=raw))
        elif path.suffix == ".zst":
            import zstandard

            yield cast(
                BinaryIO, io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True))
            )
        else:
            yield raw


def _zstd_error() -> type[Exception]:
    import zstandard

    return zstandard.ZstdError
