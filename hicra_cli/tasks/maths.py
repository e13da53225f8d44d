"""Maths problems with a gold answer as a task: an endless stream, held-out problems, strict grading.

A problem is held out by a hash of its text: the same ones for every seed and in every run, and a problem that occurs
twice is on one side only.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from hicra_cli.config.task import TaskConfig
from hicra_cli.core.errors import ConfigError, DataError
from hicra_cli.core.records import FinishReason, Prompt, Rollout, Verdict
from hicra_cli.core.seeds import generator_for
from hicra_cli.grading import GradingPool
from hicra_cli.grams.jsonl import json_lines
from hicra_cli.tasks.benchmarks import SUFFIXES
from hicra_cli.tasks.hub import hub_rows
from hicra_cli.tasks.problems import ANSWER_FIELDS, PROBLEM_FIELDS, golds, prompts_from

HELD_OUT_FRACTION = 0.05


class MathsTask:
    """Problems of `task.train_data` (`hicra_cli.tasks.base.Task`). Holds grading processes while it is open.

    Raises ConfigError where no data is configured, DataError for malformed data, ServiceError for a data set of the
    hub that cannot be had.
    """

    name = "maths"

    def __init__(self, config: TaskConfig) -> None:
        prompts = _read(config)
        self._train = [prompt for prompt in prompts if not is_held_out(prompt)]
        self._held_out = [prompt for prompt in prompts if is_held_out(prompt)]
        self._source = str(config.train_data)
        self._pool = GradingPool(workers=config.grader_workers, timeout_s=config.grader_timeout_s)
        if not self._train:
            raise DataError(f"no training problem among {len(prompts)}", where=self._source, fix="Give more problems")

    def stream(self, start: int, count: int, *, seed: int) -> list[Prompt]:
        """Each epoch is a permutation of all training problems that depends on (seed, epoch) only."""
        size = len(self._train)
        places = [divmod(position, size) for position in range(start, start + count)]
        return [self._train[_epoch_order(size, seed, epoch)[place]] for epoch, place in places]

    def held_out(self, count: int) -> list[Prompt]:
        """The first `count` held-out problems, in the order of the data."""
        if count > len(self._held_out):
            raise DataError(
                f"{len(self._held_out)} problems are held out, {count} were asked for",
                where=self._source,
                fix=f"Ask for at most {len(self._held_out)}",
            )
        return self._held_out[:count]

    def verdicts(self, rollouts: Sequence[Rollout]) -> list[Verdict]:
        return maths_verdicts(self._pool, rollouts)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.close()


def maths_verdicts(pool: GradingPool, rollouts: Sequence[Rollout]) -> list[Verdict]:
    """Grade rollouts of maths prompts, in order."""
    return pool.grade_many(
        [(each.text, golds(each.prompt), each.finish_reason is FinishReason.LENGTH) for each in rollouts]
    )


def is_held_out(prompt: Prompt) -> bool:
    """Whether a problem belongs to the held-out part, by its text with blanks ignored."""
    digest = hashlib.blake2b("".join(prompt.text.split()).encode("utf-8", "replace"), digest_size=8).digest()
    return int.from_bytes(digest, "big") < HELD_OUT_FRACTION * 2**64


def _read(config: TaskConfig) -> list[Prompt]:
    source = config.train_data
    if source is None:
        raise ConfigError(
            "the maths task has no training problems",
            where="task.train_data",
            fix="Set it to a JSONL file (fields problem, answer) or a data set id of the hub",
        )
    rows: Iterable[tuple[str, Mapping[str, Any]]]
    if source.endswith(SUFFIXES):
        rows = json_lines(Path(source))
    elif Path(source).exists() or source.count("/") != 1:
        raise ConfigError(
            f"{source!r} is neither a JSONL file nor a data set id",
            where="task.train_data",
            fix=f"Give a file ending in {', '.join(SUFFIXES)} or OWNER/NAME of the hub",
        )
    else:
        rows = hub_rows(source, split=config.split, remedy="Download it as JSONL and set task.train_data to the file")
    prompts = prompts_from(
        rows,
        prefix=Path(source).name.split(".")[0],
        problem_fields=_names(config.problem_field, PROBLEM_FIELDS),
        answer_fields=_names(config.answer_field, ANSWER_FIELDS),
        id_fields=(config.id_field,) if config.id_field else (),
    )
    if not prompts:
        raise DataError("there is no problem in the training data", where=source)
    return prompts


def _names(configured: str, usual: tuple[str, ...]) -> tuple[str, ...]:
    """The configured field alone, or the usual spellings where it was left at its default."""
    return usual if configured == usual[0] else (configured,)


@lru_cache(maxsize=8)
def _epoch_order(size: int, seed: int, epoch: int) -> list[int]:
    order: list[int] = generator_for(seed, "maths-stream", step=epoch).permutation(size).tolist()
    return order
