"""What a stage may say while it works. The implementation that prints lives in `core/output.py`."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Advance(Protocol):
    """Counts work done inside a phase; `status` is a short text of current figures."""

    def __call__(self, count: int = 1, *, status: str = "") -> None: ...


class Progress(Protocol):
    """Talk of a stage: phases with a bar, notes, warnings. Never results."""

    def phase(self, label: str, total: int | None = None) -> AbstractContextManager[Advance]: ...

    def note(self, text: str) -> None: ...

    def warn(self, text: str) -> None: ...


class SilentProgress:
    """Says nothing and keeps the warnings: for the Python API and for tests."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    @contextmanager
    def phase(self, label: str, total: int | None = None) -> Iterator[Advance]:
        def advance(count: int = 1, *, status: str = "") -> None:
            return None

        yield advance

    def note(self, text: str) -> None:
        return None

    def warn(self, text: str) -> None:
        self.warnings.append(text)
