"""The length audit: how long the prompts are in tokens, known once before training and not at step 300.

All problems of the task are rendered, those of the stream and the held-out ones. What to do with longer ones than fit
is the policy `task.long_prompts`: `error` stops, `drop` takes them out of the task (positions of the stream then count
the others), `truncate` keeps their last tokens. Nothing here depends on chance or on an earlier run.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hicra_cli.config.task import TaskConfig
from hicra_cli.core.errors import DataError
from hicra_cli.core.progress import Progress
from hicra_cli.core.records import Prompt
from hicra_cli.tasks.base import Task

PROMPTS_PER_CALL = 512

Render = Callable[[Prompt], NDArray[np.int32]]
RenderMany = Callable[[Sequence[Prompt]], list[NDArray[np.int32]]]
Policy = Literal["error", "drop", "truncate"]


@dataclass(frozen=True, slots=True)
class PromptAudit:
    """Lengths in tokens of the rendered prompts, before anything was dropped or truncated.

    limit: longest prompt that fits, None where nothing is known. num_long: longer ones, which `policy` dealt with.
    Percentiles are nearest rank: each is the length of a prompt.
    """

    num_prompts: int
    p50: int
    p90: int
    p99: int
    max_tokens: int
    limit: int | None
    num_long: int
    policy: Policy

    def summary(self) -> dict[str, Any]:
        """For the artifact's summary."""
        return {f"prompts/{name}": value for name, value in asdict(self).items()}

    def limited(self, render: Render) -> Render:
        """`render` as the run has to use it: under `truncate` it keeps the last `limit` tokens."""
        limit = self.limit
        if limit is None or self.policy != "truncate" or not self.num_long:
            return render
        return lambda prompt: render(prompt)[-limit:]


def prompt_limit(task: TaskConfig, *, context: int | None, response_limit: int) -> int | None:
    """Tokens that a prompt may have: what the response limit leaves of the context, or less by configuration.

    context: positions the model was made for, None where it does not say. response_limit: where it grows, the first.
    Engines end a response where the context is full, so a response limit as long as the context is allowed; a prompt
    then only has to leave room for one token.
    """
    room = None if context is None else context - (response_limit if response_limit < context else 1)
    return min((limit for limit in (room, task.max_prompt_tokens) if limit is not None), default=None)


def audit_prompts(
    task: Task, render_many: RenderMany, *, limit: int | None, policy: Policy, progress: Progress
) -> PromptAudit:
    """Measure all prompts of `task`, tell the user, and under `drop` take the long ones out of the task.

    Raises DataError under `error` where a prompt is longer than `limit`, and where dropping leaves none; ConfigError
    for a prompt that the chat template refuses.
    """
    prompts = task.problems()
    lengths = _lengths(prompts, render_many, progress)
    ordered = np.sort(lengths)
    p50, p90, p99 = (int(ordered[-(-len(ordered) * share // 100) - 1]) for share in (50, 90, 99))
    is_long = lengths > (ordered[-1] if limit is None else limit)
    audit = PromptAudit(len(prompts), p50, p90, p99, int(ordered[-1]), limit, int(is_long.sum()), policy)
    for note in task.notes:
        progress.note(note)
    if audit.num_long and policy == "error":
        first = int(np.argmax(is_long))
        raise _too_long(prompts[first], int(lengths[first]), audit)
    if audit.num_long and policy == "drop":
        task.keep({prompt.id for prompt, drop in zip(prompts, is_long, strict=True) if not drop})
    progress.note(_described(audit))
    return audit


def _lengths(prompts: Sequence[Prompt], render_many: RenderMany, progress: Progress) -> NDArray[np.int64]:
    """(P,) tokens of each prompt; the ids themselves are not kept."""
    lengths = np.zeros(len(prompts), dtype=np.int64)
    with progress.phase("measure prompts", len(prompts)) as advance:
        for start in range(0, len(prompts), PROMPTS_PER_CALL):
            chunk = prompts[start : start + PROMPTS_PER_CALL]
            lengths[start : start + len(chunk)] = [len(ids) for ids in render_many(chunk)]
            advance(len(chunk))
    return lengths


def _too_long(prompt: Prompt, length: int, audit: PromptAudit) -> DataError:
    return DataError(
        f"prompt {prompt.id!r} has {length:,} tokens, {audit.limit:,} fit; {audit.num_long:,} of "
        f"{audit.num_prompts:,} prompts are longer, up to {audit.max_tokens:,}",
        where="task.train_data",
        fix="Set task.long_prompts to drop or truncate, raise task.max_prompt_tokens, or lower the response limit",
    )


def _described(audit: PromptAudit) -> str:
    text = (
        f"{audit.num_prompts:,} prompts: {audit.p50:,} tokens in the median, {audit.p90:,} at 90 %, {audit.p99:,} at "
        f"99 %, at most {audit.max_tokens:,}"
    )
    if audit.limit is not None:
        text += f"; {audit.limit:,} fit"
    done = {"drop": "dropped", "truncate": "cut to their last tokens"}
    return f"{text}; {audit.num_long:,} longer ones are {done[audit.policy]}" if audit.num_long else text
