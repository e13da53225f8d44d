"""One step of training, top to bottom: sample, reward, credit, learn, publish the weights, record."""

import math
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hicra_cli.config.train import TrainConfig
from hicra_cli.core.records import FinishReason, Rollout
from hicra_cli.rl.advantages import group_advantages, has_signal, spread
from hicra_cli.rl.alpha import AdaptiveAlpha, scheduled_fraction
from hicra_cli.rl.losses import overlong_penalty
from hicra_cli.rl.optim import learning_rate
from hicra_cli.rl.packing import PackedRollouts, pack

from .coverage import require_coverage
from .credit import Signals
from .live import LiveView
from .record import Credit, Planning, StepData, Update, step_record
from .sample import SampledGroups, sample_groups
from .state import TrainState
from .stop import StopSignal
from .tools import StepTools
from .update import Batch, learn, policy_figures


def train_step(state: TrainState, tools: StepTools, config: TrainConfig, stop: StopSignal) -> StepData:
    """One on-policy update of `state`: sample, credit, learn, publish the weights.

    Interrupted before the first optimizer step it leaves the state as it was (but for gradients, which the caller
    drops); after it `state.torn` is set until the caller has recorded the step, and signals wait where that is short.
    """
    clock = Clock(tools.view)
    with stop.allowed():
        with clock.phase("generate"):
            sampled = sample_groups(state, tools, config, stop)  # B rollouts, verdicts
        rollouts = sampled.rollouts
        with clock.phase("credit"):
            packed = pack(rollouts, tools.layout)
            rewards = shaped_rewards(sampled, config)  # (B,)
            advantages = group_advantages(
                rewards, group_size=config.group_size, scale=config.advantage_scale
            )  # (B,) GRPO
            planning = _planning(rollouts, tools, with_moves=config.alpha_moves is not None)  # (N,) strategic grams
            require_coverage(planning.mask, config)
            lengths = torch.tensor([len(rollout.token_ids) for rollout in rollouts])
            fraction = _alpha_fraction(state, config)
            signals = Signals(
                state.step,
                advantages,
                lengths,
                spread(advantages, lengths),
                torch.from_numpy(planning.mask),
                torch.from_numpy(planning.moves),
                _known_entropy(packed, state, tools, config, stop),
                fraction,
            )
            token_advantages = tools.credit(signals)  # (N,) HICRA
    rate = learning_rate(state.step, lr=config.lr, warmup_steps=config.warmup_steps)
    with clock.phase("update"):
        batch = Batch(
            packed,
            useful=_rollouts_to_compute(rewards, tools, config),
            lengths=lengths,
            counted=_counted(rollouts, config),
            token_advantages=token_advantages,
            response_limit=sampled.sampling.max_new_tokens,
        )
        learned = learn(batch, state, tools, config, stop, lr=rate)
    _advance(state, sampled, config)
    with clock.phase("publish"):
        tools.publish(state.policy, state.step)  # the next step samples from these
    credit = Credit(rewards, advantages, token_advantages, config.alpha * fraction)
    data = step_record(state.step, sampled, planning, credit, Update(learned, rate), clock.seconds)
    if config.alpha_schedule == "adaptive":
        state.adaptive = _gate_after(state.adaptive, data.record)
    return data


def shaped_rewards(sampled: SampledGroups, config: TrainConfig) -> Tensor:
    """(B,) float32: the graders' rewards, less the soft penalty on responses near the limit where one is set."""
    rewards = torch.tensor([verdict.reward for verdict in sampled.verdicts], dtype=torch.float32)
    if config.overlong_buffer == 0:
        return rewards
    lengths = torch.tensor([len(rollout.token_ids) for rollout in sampled.rollouts])
    limit = sampled.sampling.max_new_tokens
    penalty = overlong_penalty(lengths, limit=limit, buffer=min(config.overlong_buffer, limit))
    return rewards + config.overlong_penalty * penalty


def _advance(state: TrainState, sampled: SampledGroups, config: TrainConfig) -> None:
    state.step += 1
    state.cursor = sampled.cursor
    cut_fraction = np.mean([each.finish_reason is FinishReason.LENGTH for each in sampled.rollouts])
    if cut_fraction > config.grow_at and state.limit_index + 1 < len(config.response_limits):
        state.limit_index += 1


def _counted(rollouts: list[Rollout], config: TrainConfig) -> Tensor:
    """(B,) bool: which responses belong to the loss."""
    keep = [config.overlong == "keep" or each.finish_reason is not FinishReason.LENGTH for each in rollouts]
    return torch.tensor(keep, dtype=torch.bool)


def _alpha_fraction(state: TrainState, config: TrainConfig) -> float:
    """Share of alpha at this step."""
    if config.alpha_schedule == "adaptive":
        return state.adaptive.fraction
    return scheduled_fraction(config.alpha_schedule, state.step, steps=config.steps)


def _gate_after(gate: AdaptiveAlpha, record: dict[str, Any]) -> AdaptiveAlpha:
    logprob = record["policy/logprob_execution_nats"]
    perplexity = math.nan if logprob is None else math.exp(-logprob)
    return gate.seen(execution_perplexity=perplexity, accuracy=record["reward/accuracy"])


def _known_entropy(
    packed: PackedRollouts, state: TrainState, tools: StepTools, config: TrainConfig, stop: StopSignal
) -> Tensor | None:
    """(N,) nats of each response token under the policy that sampled it, where credit asks for it.

    From the engine where it reports it, else from a forward pass: before the update the trainer's policy is that one.
    """
    if not tools.needs_entropy:
        return None
    reported = [each.token_entropy for each in packed.rollouts if each.token_entropy is not None]
    if len(reported) == len(packed.rollouts):
        return torch.from_numpy(np.concatenate(reported))
    everything = range(len(packed.rollouts))
    return policy_figures(state.policy, packed, everything, tools, config, stop).entropy.cpu()


def _rollouts_to_compute(rewards: Tensor, tools: StepTools, config: TrainConfig) -> list[int]:
    """Indices of rollouts that have a gradient. Groups with equal rewards are skipped in compute, not in counts."""
    if tools.learns_from_all:
        return list(range(len(rewards)))
    signal = has_signal(rewards.view(-1, config.group_size)).expand(-1, config.group_size).reshape(-1)
    return [int(index) for index in signal.nonzero().squeeze(1)]


def _planning(rollouts: list[Rollout], tools: StepTools, *, with_moves: bool) -> Planning:
    """The mask belongs to the rollout: from the sampled ids alone, never from the present policy."""
    moves = np.full(sum(len(rollout.token_ids) for rollout in rollouts), -1, dtype=np.int64)
    if tools.matcher is None:
        return Planning(np.zeros(len(moves), dtype=np.bool_), moves, Counter())
    token_ids = [rollout.token_ids for rollout in rollouts]
    truncated = [rollout.finish_reason is FinishReason.LENGTH for rollout in rollouts]
    counted = tools.matcher.batch_counted(token_ids, truncated=truncated)
    if with_moves:
        labels = tools.matcher.batch_labels(token_ids, truncated=truncated)
        masks = [each.planning_mask for each in labels]
        moves = np.concatenate([each.move_codes for each in labels]).astype(np.int64)
    else:
        masks = tools.matcher.planning_masks(token_ids, truncated=truncated)
    return Planning(np.concatenate(masks), moves, Counter(each.gram.text for found in counted for each in found))


class Clock:
    """Seconds per phase of one step; the view is told which one has begun."""

    def __init__(self, view: LiveView) -> None:
        self._view = view
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the time of the block to phase `name`."""
        self._view.tell(name)
        started = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started
