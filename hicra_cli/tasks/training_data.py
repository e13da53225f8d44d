"""The training problems of all configured sources: read, cleaned of repeats, counted.

A problem is its text with blanks ignored. The first one counts, whichever source it is from: the published DAPO file
holds each of its 17 thousand problems about a hundred times, and sources overlap. Rows without a problem or a gold
answer are left out where they are few (MATH has some), and refused where they are more than `MAX_UNUSABLE`.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

from hicra_cli.config.task import TaskConfig
from hicra_cli.core.errors import ConfigError, DataError
from hicra_cli.core.records import Prompt
from hicra_cli.tasks.instructions import without_instructions
from hicra_cli.tasks.problems import ANSWER_FIELDS, PROBLEM_FIELDS, ROW, Fields, Names, Problem, read_problem
from hicra_cli.tasks.sources import source_label, source_rows

MAX_UNUSABLE = 0.01


@dataclass(frozen=True, slots=True)
class TrainingData:
    """prompts: in the order of the sources. notes: what was left out or changed, for the user."""

    prompts: list[Prompt]
    notes: tuple[str, ...]


def read_training_data(task: TaskConfig) -> TrainingData:
    """All distinct problems of `task.train_data`. Raises ConfigError without sources, DataError for malformed data."""
    if not task.train_data:
        raise ConfigError(
            "the maths task has no training problems",
            where="task.train_data",
            fix="Set it to a JSONL file (fields problem, answer) or a data set id of the hub",
        )
    reader = _Reader(task)
    prefixes = _prefixes(task.train_data)
    for source, prefix in zip(task.train_data, prefixes, strict=True):
        reader.read(source, prefix)
    if not reader.prompts:
        raise DataError("there is no problem in the training data", where=", ".join(task.train_data))
    return TrainingData(reader.prompts, tuple(reader.notes()))


def text_key(text: str) -> bytes:
    """What makes two problems the same: the text with blanks ignored, as 16 bytes."""
    return hashlib.blake2b("".join(text.split()).encode("utf-8", "replace"), digest_size=16).digest()


class _Reader:
    """Collects problems of one source after another; what it leaves out it counts."""

    def __init__(self, task: TaskConfig) -> None:
        self.prompts: list[Prompt] = []
        self._task = task
        self._fields = Fields(
            problem=_names(task.problem_field, PROBLEM_FIELDS),
            answer=_names(task.answer_field, ANSWER_FIELDS),
            id=(task.id_field,) if task.id_field else (),
        )
        self._names = Names()
        self._golds: dict[bytes, str] = {}
        self._counts: Counter[str] = Counter()

    def read(self, source: str, prefix: str) -> None:
        unusable: list[DataError] = []
        num_rows = 0
        for where, row in source_rows(source, split=self._task.split):
            number, num_rows = num_rows, num_rows + 1
            try:
                problem = self._bare(read_problem(row, where=where, fields=self._fields))
            except DataError as error:
                unusable.append(error)
                continue
            if self._is_new(problem):
                name = self._name(problem.name, prefix, number)
                self._names.take(name, where)
                self.prompts.append(Prompt(name, problem.text, problem.gold, self._metadata(problem)))
        if len(unusable) > MAX_UNUSABLE * num_rows:
            raise unusable[0]
        self._counts["unusable"] += len(unusable)

    def notes(self) -> Iterator[str]:
        counts = self._counts
        if counts["repeated"]:
            differing = f", {counts['differing']:,} of them with another gold" if counts["differing"] else ""
            yield (
                f"{counts['repeated']:,} training rows repeat a problem and are left out{differing}; "
                f"{len(self.prompts):,} distinct problems are left"
            )
        if counts["unusable"]:
            yield f"{counts['unusable']:,} training rows have no problem or no gold answer and are left out"
        if counts["instructed"]:
            yield (
                f"{counts['instructed']:,} training rows carry an answer format of their own, which is taken off "
                "(task.keep_instructions keeps it)"
            )

    def _bare(self, problem: Problem) -> Problem:
        bare = problem.text if self._task.keep_instructions else without_instructions(problem.text)
        if bare == problem.text:
            return problem
        self._counts["instructed"] += 1
        return replace(problem, text=bare)

    def _is_new(self, problem: Problem) -> bool:
        key = text_key(problem.text)
        if key not in self._golds:
            self._golds[key] = problem.gold
            return True
        self._counts["repeated"] += 1
        self._counts["differing"] += self._golds[key] != problem.gold
        return False

    def _name(self, name: str | None, prefix: str, number: int) -> str:
        """With several sources every id tells its source: their own ids may clash."""
        if name is None:
            return f"{prefix}/{number:05d}"
        return name if len(self._task.train_data) == 1 or name.startswith(f"{prefix}/") else f"{prefix}/{name}"

    def _metadata(self, problem: Problem) -> dict[str, str]:
        """A row's other fields are kept where a user's reward may ask for them."""
        if self._task.reward is None:
            return problem.alternatives
        return {**problem.alternatives, ROW: json.dumps(dict(problem.rest), default=str)}


def _names(configured: str, usual: tuple[str, ...]) -> tuple[str, ...]:
    """The configured field alone, or the usual spellings where it was left at its default."""
    return usual if configured == usual[0] else (configured,)


def _prefixes(sources: list[str]) -> list[str]:
    """One per source, all different."""
    labels = [source_label(source) for source in sources]
    return [
        label if label not in labels[:place] else f"{label}-{labels[:place].count(label) + 1}"
        for place, label in enumerate(labels)
    ]
