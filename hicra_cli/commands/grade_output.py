"""Where the lines of `hicra grade` go: stdout, or a file that appears under its name when it is complete."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from hicra_cli.core.errors import UsageError
from hicra_cli.core.filesystem import FULL, disk_full, replaceable

STDOUT = (Path("-"), Path("/dev/stdout"))


@contextmanager
def lines_to(output: Path | None, stdout: TextIO) -> Iterator[TextIO]:
    """A stream for the lines. UsageError where the file cannot be opened, RunError where there is no room for it."""
    try:
        if output is None:
            yield stdout
        else:
            with _finished_file(output) as stream:
                yield stream
    except OSError as error:
        if error.errno not in FULL:
            raise
        place = Path.cwd() if output is None else output.parent
        raise disk_full("writing the lines", place, needed_bytes=None, reason=error.strerror) from error


def refuse_overwriting(output: Path | None, read: Sequence[Path | None]) -> None:
    """UsageError where the lines would replace one of the files they are made from."""
    if output is None or not output.is_file():
        return
    if any(path.is_file() and path.samefile(output) for path in read if path is not None):
        raise UsageError(
            "the lines would replace the file that is read", where=str(output), fix="Name another --output"
        )


@contextmanager
def _finished_file(output: Path) -> Iterator[TextIO]:
    target = replaceable(output)
    unfinished = output if target is None else target.with_name(f"{target.name}.unfinished")
    try:
        stream = unfinished.open("w", encoding="ascii")
    except OSError as error:
        raise UsageError(f"cannot be written: {error.strerror}", where=str(output), fix="Check the path") from error
    try:
        with stream:
            yield stream
        if target is not None:
            os.replace(unfinished, target)
    except BaseException:
        if target is not None and unfinished.stat().st_size == 0:  # nothing was graded that would be worth keeping
            unfinished.unlink()
        raise
