"""Maths problems with a gold answer as a task: an endless stream, held-out problems, strict grading.

A problem is held out by a hash of its text: the same ones for every seed and in every run.
"""

import hashlib
from collections.abc import Collection, Sequence
from functools import lru_cache
from types import TracebackType
from typing import Self

from hicra_cli.config.task import TaskConfig
from hicra_cli.core.errors import DataError
from hicra_cli.core.records import FinishReason, Prompt, Rollout, Verdict
from hicra_cli.core.seeds import generator_for
from hicra_cli.grading import GradingPool
from hicra_cli.tasks.problems import golds
from hicra_cli.tasks.training_data import read_training_data

HELD_OUT_FRACTION = 0.05


class MathsTask:
    """Problems of `task.train_data` (`hicra_cli.tasks.base.Task`). Holds grading processes while it is open.

    Raises ConfigError where no data is configured, DataError for malformed data, ServiceError for a data set of the
    hub that cannot be had.
    """

    name = "maths"

    def __init__(self, config: TaskConfig) -> None:
        data = read_training_data(config)
        self.notes = data.notes
        self._source = ", ".join(config.train_data)
        self._take(data.prompts)
        self._pool = GradingPool(workers=config.grader_workers, timeout_s=config.grader_timeout_s)

    def problems(self) -> list[Prompt]:
        """In the order of the data."""
        return list(self._problems)

    def keep(self, ids: Collection[str]) -> None:
        self._take([prompt for prompt in self._problems if prompt.id in ids])

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

    def _take(self, prompts: list[Prompt]) -> None:
        self._problems = prompts
        self._train = [prompt for prompt in prompts if not is_held_out(prompt)]
        self._held_out = [prompt for prompt in prompts if is_held_out(prompt)]
        if not self._train:
            raise DataError(
                f"no training problem among {len(prompts):,} problems", where=self._source, fix="Give more problems"
            )


def maths_verdicts(pool: GradingPool, rollouts: Sequence[Rollout]) -> list[Verdict]:
    """Grade rollouts of maths prompts, in order."""
    return pool.grade_many(
        [(each.text, golds(each.prompt), each.finish_reason is FinishReason.LENGTH) for each in rollouts]
    )


def is_held_out(prompt: Prompt) -> bool:
    """Whether a problem belongs to the held-out part, by its text with blanks ignored."""
    digest = hashlib.blake2b("".join(prompt.text.split()).encode("utf-8", "replace"), digest_size=8).digest()
    return int.from_bytes(digest, "big") < HELD_OUT_FRACTION * 2**64


@lru_cache(maxsize=8)
def _epoch_order(size: int, seed: int, epoch: int) -> list[int]:
    order: list[int] = generator_for(seed, "maths-stream", step=epoch).permutation(size).tolist()
    return order
