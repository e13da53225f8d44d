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
from hicra_cli.rl.losses import importance_weights, loss_weights
from hicra_cli.rl.model import policy_statistics
from hicra_cli.rl.optim import clip_gradients, learning_rate, optimizer_step
from hicra_cli.rl.packing import PackedRollouts, pack

from .coverage import require_coverage
from .credit import Signals
from .record import Credit, Learned, Planning, StepData, Update, step_record
from .sample import SampledGroups, sample_groups
from .state import TrainState
from .stop import StopSignal
from .tools import StepTools, TokenTerms


def train_step(state: TrainState, tools: StepTools, config: TrainConfig, stop: StopSignal) -> StepData:
    """One on-policy update of `state`: sample, credit, learn, publish the weights.

    Interrupted before the optimizer step it leaves the state as it was (but for gradients, which the caller drops);
    after it, signals wait until the caller has recorded the step.
    """
    clock = Clock()
    with stop.allowed():
        with clock.phase("generate"):
            sampled = sample_groups(state, tools, config)  # B rollouts, verdicts
        rollouts = sampled.rollouts
        with clock.phase("credit"):
            rewards = torch.tensor([verdict.reward for verdict in sampled.verdicts])  # (B,)
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
                _known_entropy(rollouts, state, tools, config),
                fraction,
            )
            token_advantages = tools.credit(signals)  # (N,) HICRA
        with clock.phase("update"):
            weights = loss_weights(lengths, reduction=config.reduction, response_limit=sampled.sampling.max_new_tokens)
            chosen = _rollouts_to_compute(rewards, tools, config)
            learned = _accumulate_gradient(state, tools, config, pack(rollouts), chosen, token_advantages, weights)
            grad_norm = clip_gradients(state.model, max_norm=config.max_grad_norm)

    rate = learning_rate(state.step, lr=config.lr, warmup_steps=config.warmup_steps)
    optimizer_step(state.optimizer, lr=rate, grad_norm=grad_norm, step=state.step)
    _advance(state, sampled, config)
    with clock.phase("publish"):
        tools.engine.update_weights(state.model, version=state.step)  # the next step samples from these
    credit = Credit(advantages, token_advantages, config.alpha * fraction)
    data = step_record(state.step, sampled, planning, credit, Update(learned, grad_norm, rate), clock.seconds)
    if config.alpha_schedule == "adaptive":
        state.adaptive = _gate_after(state.adaptive, data.record)
    return data


def _advance(state: TrainState, sampled: SampledGroups, config: TrainConfig) -> None:
    """The step is done: take over the data cursor, and the next response limit where too many were cut."""
    state.step, state.cursor = state.step + 1, sampled.cursor
    cut_fraction = np.mean([rollout.finish_reason is FinishReason.LENGTH for rollout in sampled.rollouts])
    if cut_fraction > config.grow_at and state.limit_index + 1 < len(config.response_limits):
        state.limit_index += 1


def _alpha_fraction(state: TrainState, config: TrainConfig) -> float:
    """Share of alpha at this step."""
    if config.alpha_schedule == "adaptive":
        return state.adaptive.fraction
    return scheduled_fraction(config.alpha_schedule, state.step, steps=config.steps)


def _gate_after(gate: AdaptiveAlpha, record: dict[str, Any]) -> AdaptiveAlpha:
    logprob = record["policy/logprob_execution_nats"]
    perplexity = math.nan if logprob is None else math.exp(-logprob)
    return gate.seen(execution_perplexity=perplexity, accuracy=record["reward/accuracy"])


def _known_entropy(rollouts: list[Rollout], state: TrainState, tools: StepTools, config: TrainConfig) -> Tensor | None:
    """(N,) nats of each response token under the policy that sampled it, where credit asks for it.

    From the engine where it reports it, else from a forward pass: before the update the trainer's policy is that one.
    """
    if not tools.needs_entropy:
        return None
    reported = [each.token_entropy for each in rollouts if each.token_entropy is not None]
    if len(reported) == len(rollouts):
        return torch.from_numpy(np.concatenate(reported))
    packed = pack(rollouts)
    entropy = torch.empty(packed.num_tokens)
    for micro in packed.micro_batches(range(len(rollouts)), token_budget=config.token_budget, device=tools.device):
        with torch.no_grad(), tools.accelerator.autocast():
            _, found = policy_statistics(state.model, micro, temperature=1.0, head_chunk=config.head_chunk)
        entropy[micro.flat.cpu()] = found.float().cpu()
    return entropy


def _accumulate_gradient(
    state: TrainState,
    tools: StepTools,
    config: TrainConfig,
    packed: PackedRollouts,
    chosen: list[int],
    token_advantages: Tensor,
    weights: Tensor,
) -> Learned:
    """Backward through the chosen rollouts; every micro-batch adds a weighted *sum* over its tokens.

    One update per rollout, so the old policy is the present one and needs no pass of its own: the ratio is 1 and
    carries the gradient. What the engine reported differently is an importance weight, truncated at the cap.
    """
    device = tools.device
    sampler_logprobs = torch.from_numpy(np.concatenate([each.sampler_logprobs for each in packed.rollouts])).to(device)
    token_advantages, weights = token_advantages.to(device), weights.to(device)
    logprobs_all = torch.full((packed.num_tokens,), torch.nan, device=device)
    entropy_all = torch.full_like(logprobs_all, torch.nan)
    loss_sum = torch.zeros((), device=device)
    for micro in packed.micro_batches(chosen, token_budget=config.token_budget, device=device):
        with tools.accelerator.autocast():
            logprobs, token_entropy = policy_statistics(
                state.model, micro, temperature=config.sampling.temperature, head_chunk=config.head_chunk
            )
        old_logprobs = logprobs.detach()
        importance = importance_weights(
            old_logprobs, sampler_logprobs[micro.flat], cap=config.importance_cap, above=config.importance_above
        )
        terms = TokenTerms(
            logprobs, old_logprobs, token_entropy, token_advantages[micro.flat], importance, weights[micro.flat]
        )
        loss = tools.objective(terms).sum()
        tools.accelerator.backward(loss)
        loss_sum += loss.detach()
        logprobs_all[micro.flat] = old_logprobs
        entropy_all[micro.flat] = token_entropy.detach()
    return Learned.from_device(loss_sum, logprobs_all, entropy_all, sampler_logprobs)


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
    """Seconds per phase of one step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the time of the block to phase `name`."""
        started = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started
