"""The interface of a task: a stream of training prompts, held-out prompts, and a grader."""

from collections.abc import Collection, Sequence
from types import TracebackType
from typing import Protocol, Self

from hicra_cli.core.records import Prompt, Rollout, Verdict


class Task(Protocol):
    """A source of problems that can grade answers. A context manager, because graders may hold processes."""

    name: str

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know of the data: what was dropped, merged or changed, with counts."""
        ...

    def problems(self) -> list[Prompt]:
        """Every problem there is, those of the stream and the held-out ones, each once."""
        ...

    def keep(self, ids: Collection[str]) -> None:
        """From now on only the problems of these ids exist. Raises DataError where none is left for the stream."""
        ...

    def stream(self, start: int, count: int, *, seed: int) -> list[Prompt]:
        """Training prompts at positions start … start + count - 1 of an endless stream that depends on `seed` only.

        The position is the whole data cursor: resuming needs no replay.
        """
        ...

    def held_out(self, count: int) -> list[Prompt]:
        """Prompts that never occur in the stream, always the same ones. Raises DataError where there are too few."""
        ...

    def verdicts(self, rollouts: Sequence[Rollout]) -> list[Verdict]:
        """One verdict per rollout, in order, whatever happens. A cut response without an answer is `truncated`."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
