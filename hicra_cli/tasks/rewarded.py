"""A task whose responses are rewarded by a user's function instead of the task's own grading."""

from collections.abc import Collection, Sequence
from types import TracebackType
from typing import Self

from hicra_cli.config.task import TaskConfig
from hicra_cli.core.records import FinishReason, Prompt, Rollout, Verdict
from hicra_cli.grading.rewards import RewardCall, RewardPool
from hicra_cli.tasks.base import Task
from hicra_cli.tasks.problems import row_fields


class RewardedTask:
    """The problems of `task` with the function of `config.reward` (`hicra_cli.tasks.base.Task`).

    Entering it starts a worker that imports the function: ConfigError where that fails.
    """

    def __init__(self, task: Task, config: TaskConfig) -> None:
        self.name = task.name
        self._task = task
        self._rewards = RewardPool(config)

    @property
    def notes(self) -> tuple[str, ...]:
        return self._task.notes

    def problems(self) -> list[Prompt]:
        return self._task.problems()

    def keep(self, ids: Collection[str]) -> None:
        self._task.keep(ids)

    def stream(self, start: int, count: int, *, seed: int) -> list[Prompt]:
        return self._task.stream(start, count, seed=seed)

    def held_out(self, count: int) -> list[Prompt]:
        return self._task.held_out(count)

    def verdicts(self, rollouts: Sequence[Rollout]) -> list[Verdict]:
        """As every task's; raises RunError where the function fails on more than `task.max_failed_fraction`."""
        return self._rewards.verdicts([_call(rollout) for rollout in rollouts])

    def __enter__(self) -> Self:
        self._rewards.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._rewards.close()


def _call(rollout: Rollout) -> RewardCall:
    prompt = rollout.prompt
    return RewardCall(
        name=f"prompt {prompt.id} sample {rollout.sample}",
        prompt=prompt.text,
        response=rollout.text,
        answer=prompt.answer,
        truncated=rollout.finish_reason is FinishReason.LENGTH,
        metadata=row_fields(prompt),
    )
