"""The sampling half of a step: prompts → rollouts → verdicts, with dynamic filtering where it is asked for."""

from collections.abc import Sequence
from dataclasses import dataclass

from hicra_cli.config.sampling import SamplingConfig
from hicra_cli.config.train import TrainConfig
from hicra_cli.core.records import Prompt, Rollout, Verdict
from hicra_cli.engine.base import Draws, Request

from .state import TrainState
from .stop import StopSignal
from .together import together
from .tools import StepTools


@dataclass(frozen=True, slots=True)
class SampledGroups:
    """B rollouts, group after group, with their verdicts, and what was sampled but not kept.

    cursor: the stream position after this step; the state takes it over only when the step is done.
    """

    rollouts: list[Rollout]
    verdicts: list[Verdict]
    sampling: SamplingConfig
    cursor: int
    num_filtered_groups: int


def sample_groups(state: TrainState, tools: StepTools, config: TrainConfig, stop: StopSignal) -> SampledGroups:
    """One batch of groups. With dynamic filtering (DAPO) groups whose rewards are all equal are replaced from the
    stream, at most `max_resamples` times; then groups without signal fill the batch rather than change its size.
    """
    sampling = response_sampling(config, state.limit_index)
    kept: list[list[tuple[Rollout, Verdict]]] = []
    flat: list[list[tuple[Rollout, Verdict]]] = []
    cursor, attempts = state.cursor, 1 + (config.max_resamples if config.dynamic_filtering else 0)
    for _ in range(attempts):
        groups = _groups_at(cursor, state.step, sampling, tools, config, stop)
        cursor += config.num_prompts
        for group in groups:
            has_signal = not config.dynamic_filtering or len({verdict.reward for _, verdict in group}) > 1
            (kept if has_signal else flat).append(group)
        if len(kept) >= config.num_prompts:
            break
    chosen = [*kept, *flat][: config.num_prompts]
    pairs = [pair for group in chosen for pair in group]
    return SampledGroups(
        rollouts=[rollout for rollout, _ in pairs],
        verdicts=[verdict for _, verdict in pairs],
        sampling=sampling,
        cursor=cursor,
        num_filtered_groups=len(kept) + len(flat) - len(chosen),
    )


def response_sampling(config: TrainConfig, limit_index: int) -> SamplingConfig:
    """The sampling in force: with growing response limits the one at `limit_index`."""
    if not config.response_limits:
        return config.sampling
    return config.sampling.model_copy(update={"max_new_tokens": config.response_limits[limit_index]})


def longest_sampling(config: TrainConfig) -> SamplingConfig:
    """The sampling with the longest responses that the run may come to: what an engine must have room for."""
    return response_sampling(config, len(config.response_limits) - 1)


def graded_groups(
    prompts: Sequence[Prompt],
    sampling: SamplingConfig,
    draws: Draws,
    tools: StepTools,
    stop: StopSignal,
    *,
    samples: int,
) -> list[list[tuple[Rollout, Verdict]]]:
    """`samples` graded rollouts per prompt, in the order of prompts; each worker makes every size-th group."""
    workers = tools.workers

    def mine() -> list[list[tuple[Rollout, Verdict]]]:
        own = prompts[workers.rank :: workers.size]
        requests = [Request(prompt, tools.render(prompt), tuple(range(samples))) for prompt in own]
        doing = "evaluate" if draws.purpose == "eval" else "generate"
        on_rollout = tools.view.count_rollouts(doing, len(requests) * samples)
        rollouts = tools.engine.generate(requests, sampling, draws, on_rollout=on_rollout)
        pairs = list(zip(rollouts, tools.task.verdicts(rollouts), strict=True))
        return [pairs[start : start + samples] for start in range(0, len(pairs), samples)]

    shares = together(workers, stop, mine)
    return [shares[place % workers.size][place // workers.size] for place in range(len(prompts))]


def _groups_at(
    cursor: int, step: int, sampling: SamplingConfig, tools: StepTools, config: TrainConfig, stop: StopSignal
) -> list[list[tuple[Rollout, Verdict]]]:
    """The groups of the next prompts, in their order."""
    prompts = tools.task.stream(cursor, config.num_prompts, seed=tools.seed)
    draws = Draws(tools.seed, "train", step)
    return graded_groups(prompts, sampling, draws, tools, stop, samples=config.group_size)
