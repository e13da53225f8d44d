"""What a stage may say while it works. The implementation that prints lives in `core/output.py`."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol


class Advance(Protocol):
    """Counts work done inside a phase; `status` is a short text of current figures."""

    def __call__(self, count: int = 1, *, status: str = "") -> None: ...


@dataclass(frozen=True, slots=True)
class Figure:
    """A number of a live view. trend: its past values, the newest last; empty where a trend says nothing."""

    name: str
    text: str
    trend: tuple[float, ...] = ()


class Dashboard(Protocol):
    """A long phase with figures. Where there is no terminal only `advance` is heard."""

    def advance(self, count: int = 1, *, status: str = "") -> None:
        """Count work done; `status` is what a plain line says of it."""
        ...

    def tell(self, activity: str) -> None:
        """What is being done at this moment; cheap enough to be called for each rollout."""
        ...

    def show(self, figures: Sequence[Figure]) -> None:
        """Replace the figures."""
        ...


class Progress(Protocol):
    """Talk of a stage: phases with a bar, notes, warnings. Never results."""

    def phase(self, label: str, total: int | None = None) -> AbstractContextManager[Advance]: ...

    def dashboard(self, label: str, total: int, *, done: int = 0) -> AbstractContextManager[Dashboard]:
        """A phase of `total` steps, of which `done` were done before."""
        ...

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

    @contextmanager
    def dashboard(self, label: str, total: int, *, done: int = 0) -> Iterator[Dashboard]:
        yield SilentDashboard()

    def note(self, text: str) -> None:
        return None

    def warn(self, text: str) -> None:
        self.warnings.append(text)


class SilentDashboard:
    """Says nothing."""

    def advance(self, count: int = 1, *, status: str = "") -> None:
        return None

    def tell(self, activity: str) -> None:
        return None

    def show(self, figures: Sequence[Figure]) -> None:
        return None
