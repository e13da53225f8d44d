"""The interface of an annotator: candidates in, one judgement per candidate out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from hicra_cli.core.errors import DataError
from hicra_cli.core.progress import Progress
from hicra_cli.core.records import Move
from hicra_cli.grams.candidates import Candidate
from hicra_cli.grams.jsonl import json_lines

if TYPE_CHECKING:
    from .budget import Spent


@dataclass(frozen=True, slots=True)
class Annotation:
    """What an annotator says about one gram.

    move: None means "not strategic". confidence: in [0, 1], that the gram is strategic, or that it is not; its move may
    be less sure. labelled: False where no judgement could be had; then `reason` says why, move is None and
    confidence 0. model, prompt_version: empty for offline rules. cluster: the gram's cluster where there are any.
    """

    gram: str
    move: Move | None
    confidence: float
    reason: str
    annotator: str
    model: str = ""
    prompt_version: str = ""
    labelled: bool = True
    cluster: int | None = None

    def to_row(self) -> dict[str, Any]:
        """The line of `annotations.jsonl`."""
        return {
            "gram": self.gram,
            "move": self.move.value if self.move else None,
            "confidence": self.confidence,
            "reason": self.reason,
            "annotator": self.annotator,
            "model": self.model,
            "prompt_version": self.prompt_version,
            "labelled": self.labelled,
            "cluster": self.cluster,
        }

    @staticmethod
    def from_row(row: dict[str, Any], *, where: str) -> "Annotation":
        """The opposite of `to_row`; raises DataError naming `where`."""
        try:
            return Annotation(
                gram=str(row["gram"]),
                move=None if row["move"] is None else Move(row["move"]),
                confidence=float(row["confidence"]),
                reason=str(row.get("reason", "")),
                annotator=str(row["annotator"]),
                model=str(row.get("model", "")),
                prompt_version=str(row.get("prompt_version", "")),
                labelled=bool(row.get("labelled", True)),
                cluster=None if row.get("cluster") is None else int(row["cluster"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"this is no annotation: {error!r}", where=where) from error


def read_annotations(path: Path) -> list[Annotation]:
    """The annotations of an `annotations.jsonl`, in order. Raises DataError at `file:line`."""
    return [Annotation.from_row(row, where=where) for where, row in json_lines(path)]


class Annotator(Protocol):
    """Judges candidates. Equal candidates get equal annotations, in the order of the candidates."""

    name: str

    def annotate(self, candidates: Sequence[Candidate], progress: Progress) -> Iterator[Annotation]:
        """One annotation per candidate, in order. Raises ServiceError where an external service failed for good."""
        ...


@runtime_checkable
class Billed(Protocol):
    """An annotator that costs money: what its answers have cost so far."""

    @property
    def spent(self) -> "Spent": ...


@runtime_checkable
class Reporting(Protocol):
    """An annotator that has more to tell than its annotations, after them: JSON values."""

    @property
    def report(self) -> Mapping[str, Any]: ...
