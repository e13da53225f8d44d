"""The learning half of a step: from credited tokens to one or several optimizer updates.

Every micro-batch adds a weighted *sum* over its tokens, and workers add theirs up, so neither the cut nor the number of
processes can change the gradient.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hicra_cli.config.train import TrainConfig
from hicra_cli.core.seeds import generator_for
from hicra_cli.rl.losses import loss_weights
from hicra_cli.rl.objective import TokenTerms
from hicra_cli.rl.optim import optimizer_step
from hicra_cli.rl.packing import PackedRollouts

from .record import Learned
from .reference import Reference
from .state import TrainState
from .stop import StopSignal
from .tools import StepTools
from .watch import UpdateWatch


@dataclass(frozen=True, slots=True)
class Batch:
    """What a step learns from: B rollouts with N response tokens.

    useful: rollouts that have a gradient; others are counted, not computed. counted: (B,) bool, False where a response
    is left out of the loss and its denominator. token_advantages: (N,) after credit. response_limit: tokens.
    """

    packed: PackedRollouts
    useful: Sequence[int]
    lengths: Tensor
    counted: Tensor
    token_advantages: Tensor
    response_limit: int


@dataclass(frozen=True, slots=True)
class _Fixed:
    """(N,) on the device, fixed during the updates of a step."""

    advantages: Tensor
    sampler_logprobs: Tensor
    old_logprobs: Tensor | None
    ref_logprobs: Tensor | None


class Figures:
    """(N,) figures of the tokens a step computed, gathered micro-batch by micro-batch; NaN where nothing was."""

    def __init__(self, num_tokens: int, device: torch.device) -> None:
        self.logprobs = torch.full((num_tokens,), torch.nan, device=device)
        self.entropy = torch.full_like(self.logprobs, torch.nan)

    def put(self, places: Tensor, logprobs: Tensor, entropy: Tensor) -> None:
        self.logprobs[places] = logprobs.detach().to(self.logprobs.dtype)
        self.entropy[places] = entropy.detach().to(self.entropy.dtype)

    def shared(self, tools: StepTools) -> "Figures":
        """The figures of all workers together."""
        if tools.workers.size > 1:
            both = torch.stack([self.logprobs, self.entropy])
            computed = tools.workers.sum(torch.isfinite(both[0]).to(both.dtype))
            total = tools.workers.sum(torch.nan_to_num(both, nan=0.0))
            self.logprobs, self.entropy = torch.where(computed > 0, total, torch.nan).unbind(0)
        return self


def learn(
    batch: Batch, state: TrainState, tools: StepTools, config: TrainConfig, stop: StopSignal, *, lr: float
) -> Learned:
    """`epochs` passes over the batch with `minibatches` updates each; one update in all unless configured otherwise.

    With one update the old policy is the present one and needs no pass of its own: the ratio is 1 and carries the
    gradient. Interrupted before the first update it leaves the weights as they were; from then on `state.torn` is set.
    """
    several = config.epochs * config.minibatches > 1
    with stop.allowed():
        old = policy_figures(state.policy, batch.packed, batch.useful, tools, config, stop) if several else None
        ref = None
        if tools.reference is not None:
            ref = policy_figures(tools.reference, batch.packed, batch.useful, tools, config, stop).logprobs
        sampler_logprobs = np.concatenate([each.sampler_logprobs for each in batch.packed.rollouts])
        fixed = _Fixed(
            batch.token_advantages.to(tools.device),
            torch.from_numpy(sampler_logprobs).to(tools.device),
            None if old is None else old.logprobs,
            ref,
        )
    latest = Figures(batch.packed.num_tokens, tools.device)
    sound = UpdateWatch(fixed.sampler_logprobs, fixed.old_logprobs, config.watch, tools.workers, step=state.step + 1)
    losses, grad_norms = [], []
    for epoch in range(config.epochs):
        for members in minibatches(len(batch.lengths), config, seed=tools.seed, step=state.step, epoch=epoch):
            with stop.allowed():
                losses.append(_accumulate_gradient(members, batch, fixed, latest, state, tools, config, stop))
                grad_norms.append(tools.workers.clip_gradients(state.policy, max_norm=config.max_grad_norm))
                sound.require(latest.logprobs, loss=losses[-1], grad_norm=grad_norms[-1])
            state.torn = True
            optimizer_step(state.optimizer, lr=lr, grad_norm=grad_norms[-1], step=state.step)
    latest.shared(tools)
    sampled = latest if old is None else old
    return Learned.from_device(
        loss=torch.stack(losses).mean(),
        grad_norm=float(np.mean(grad_norms)),
        logprobs=sampled.logprobs,
        token_entropy=sampled.entropy,
        sampler_logprobs=fixed.sampler_logprobs,
        latest_logprobs=latest.logprobs if several else None,
        ref_logprobs=ref,
    )


@torch.no_grad()
def policy_figures(
    policy: Reference,
    packed: PackedRollouts,
    chosen: Sequence[int],
    tools: StepTools,
    config: TrainConfig,
    stop: StopSignal,
) -> Figures:
    """Log-probs and entropies of the chosen rollouts' response tokens under `policy`, the workers sharing the work."""
    figures = Figures(packed.num_tokens, tools.device)
    for members in packed.plan(chosen, token_budget=config.token_budget, workers=tools.workers.size)[
        tools.workers.rank
    ]:
        stop.poll(tools.workers)
        if not members and not tools.workers.lockstep:
            continue
        micro = packed.micro_batch(members or [_shortest(packed)], tools.device)
        with tools.autocast():
            seen = policy(micro)
        if members:
            figures.put(micro.flat, seen.logprobs, seen.entropy)
    return figures.shared(tools)


def minibatches(num_rollouts: int, config: TrainConfig, *, seed: int, step: int, epoch: int) -> list[Sequence[int]]:
    """The rollouts of each update of a pass: whole groups, dealt anew in each pass; all of them where there is one."""
    if config.minibatches == 1:
        return [range(num_rollouts)]
    groups = num_rollouts // config.group_size
    order = generator_for(seed, "minibatches", step=step, sample=epoch).permutation(groups)
    parts = np.array_split(order, config.minibatches)
    return [[int(g) * config.group_size + i for g in np.sort(part) for i in range(config.group_size)] for part in parts]


def token_weights(batch: Batch, members: Sequence[int], config: TrainConfig) -> Tensor:
    """(N,) float32: the weights of an update's tokens, 0 for rollouts outside `members` and those not counted."""
    in_update = torch.zeros(len(batch.lengths), dtype=torch.bool)
    in_update[list(members)] = True
    in_update &= batch.counted
    weights = torch.zeros(int(batch.lengths.sum()))
    if in_update.any():
        weights[torch.repeat_interleave(in_update, batch.lengths)] = loss_weights(
            batch.lengths[in_update], reduction=config.reduction, response_limit=batch.response_limit
        )
    return weights


def _accumulate_gradient(
    members: Sequence[int],
    batch: Batch,
    fixed: _Fixed,
    figures: Figures,
    state: TrainState,
    tools: StepTools,
    config: TrainConfig,
    stop: StopSignal,
) -> Tensor:
    """Backward through this worker's share of the members that have a gradient; returns the summed loss."""
    packed, workers = batch.packed, tools.workers
    weights = token_weights(batch, members, config).to(tools.device)
    inside = set(members)
    chosen = [index for index in batch.useful if index in inside and bool(batch.counted[index])]
    loss_sum = torch.zeros((), device=tools.device)
    for rollouts in packed.plan(chosen, token_budget=config.token_budget, workers=workers.size)[workers.rank]:
        stop.poll(workers)
        if not rollouts and not workers.lockstep:
            continue
        micro = packed.micro_batch(rollouts or [_shortest(packed)], tools.device)
        terms = TokenTerms(
            fixed.advantages[micro.flat],
            weights[micro.flat] if rollouts else torch.zeros_like(micro.targets, dtype=torch.float32),
            fixed.sampler_logprobs[micro.flat],
            None if fixed.old_logprobs is None else fixed.old_logprobs[micro.flat],
            None if fixed.ref_logprobs is None else fixed.ref_logprobs[micro.flat],
            micro.lengths,
        )
        with tools.autocast():
            seen = state.policy(micro, tools.objective, terms)
        seen.loss.backward()
        loss_sum += seen.loss.detach()
        if rollouts:
            figures.put(micro.flat, seen.logprobs, seen.entropy)
    workers.finish_gradients(state.policy)
    return workers.sum(loss_sum)


def _shortest(packed: PackedRollouts) -> int:
    sizes = [len(each.prompt_token_ids) + len(each.token_ids) for each in packed.rollouts]
    return int(np.argmin(sizes))
