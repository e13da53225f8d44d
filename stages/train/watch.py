"""Detectors: faults of a run that are named while there is still a state worth keeping.

Before an update: log-probs, loss, gradient and ratios; the update is not taken, so the state is whole and is saved.
After it: the weights; a state with a weight that is not a finite number is never saved. A falling reward is only
warned of: it may be what the task is like.
"""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hicra_cli.config.train import TrainConfig, WatchConfig
from hicra_cli.core.errors import TrainingError
from hicra_cli.rl.parallel import Workers

from .best import unknown_metric
from .coverage import coverage_warning

NON_FINITE = "record/non_finite"
_KEPT = "the state before this step is kept"
_MISMATCH = (
    "Engine and trainer disagree about the policy: compare engine.dtype with train.precision; the state before this "
    "step is kept, and --resume goes on from it, also with another train.watch.max_ratio"
)
_DRIFT = (
    "The updates of this step move the policy too far: lower train.lr, train.epochs or train.minibatches, or --resume "
    "from the newest checkpoint with a higher train.watch.max_ratio"
)


class UpdateWatch:
    """What is looked at before each update of a step.

    sampler_logprobs: (N,) nats of the engine. old_logprobs: (N,) of the policy before the step, where there are several
    updates; NaN where this worker computed nothing. step: counted from 1.
    """

    def __init__(
        self,
        sampler_logprobs: Tensor,
        old_logprobs: Tensor | None,
        watch: WatchConfig,
        workers: Workers,
        *,
        step: int,
    ) -> None:
        self._sampler, self._old = sampler_logprobs, old_logprobs
        self._watch, self._workers, self._step = watch, workers, step
        bad = int((~torch.isfinite(sampler_logprobs)).sum())
        if bad:
            raise TrainingError(
                f"step {step}: {bad} of {sampler_logprobs.numel()} log-probs that the engine reported are not finite",
                fix=f"The policy or the engine's precision is damaged; {_KEPT}. Try --set engine.dtype=float32",
            )
        if old_logprobs is not None:
            self._require_bounded("trainer/sampler", old_logprobs - sampler_logprobs, _MISMATCH)

    def require(self, logprobs: Tensor, *, loss: Tensor, grad_norm: float) -> None:
        """TrainingError, before the update is taken, where its loss or gradient is not finite or explodes, or where
        the policy is too far from the one that sampled.

        logprobs: (N,) nats, NaN where this worker computed nothing (yet). loss: a scalar. grad_norm: before clipping.
        Loss and norm are the whole update's, equal on every worker.
        """
        if not math.isfinite(grad_norm) or not math.isfinite(float(loss)):
            raise TrainingError(
                f"step {self._step}: the loss is {float(loss):.4g}, the gradient norm {grad_norm:.4g}; the update was "
                "not taken",
                fix="Go on from the newest checkpoint with --resume; where it comes back, start with a lower train.lr "
                "or train.precision float32",
            )
        if grad_norm > self._watch.max_grad_norm:
            raise TrainingError(
                f"step {self._step}: the gradient norm is {grad_norm:.4g}, above train.watch.max_grad_norm "
                f"{self._watch.max_grad_norm:g}; the update was not taken",
                fix="Start with a lower train.lr; or raise train.watch.max_grad_norm and --resume (train.watch does "
                "not make it another run)",
            )
        if self._old is None:
            self._require_bounded("trainer/sampler", logprobs - self._sampler, _MISMATCH)
        else:
            self._require_bounded("new/old", logprobs - self._old, _DRIFT)

    def _require_bounded(self, name: str, difference: Tensor, remedy: str) -> None:
        """The 99 % quantile of exp(|difference|), (N,) nats, is at most `train.watch.max_ratio` on every worker."""
        computed = difference[torch.isfinite(difference)].abs()
        place = math.ceil(0.99 * computed.numel())
        # kthvalue, because torch.quantile refuses more than 16 million values
        largest = float(computed.kthvalue(place).values) if place else 0.0
        if self._workers.any(largest > math.log(self._watch.max_ratio)):
            raise TrainingError(
                f"step {self._step}: the 99 % quantile of the {name} ratio is {math.exp(min(largest, 700.0)):.4g} (or "
                f"one over it), beyond train.watch.max_ratio {self._watch.max_ratio:g}",
                fix=remedy,
            )


def require_finite_weights(model: nn.Module, *, workers: Workers, step: int) -> None:
    """TrainingError that names the first weight which is not finite; such a state must not be saved."""
    name = non_finite_weight(model)
    if workers.any(name is not None):
        raise TrainingError(
            f"after step {step} the weight {name or 'of another worker'} is not finite",
            fix="The checkpoint before it is intact: go on from there with --resume; a lower train.lr would be "
            "another run",
        )


def finite_record(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record with null for NaN and infinities, and their number (with those of before) under
    `record/non_finite`.
    """
    bad = [name for name, value in record.items() if isinstance(value, float) and not math.isfinite(value)]
    return {**record, **dict.fromkeys(bad), NON_FINITE: record.get(NON_FINITE, 0) + len(bad)}


def non_finite_weight(model: nn.Module) -> str | None:
    """The name of a trained weight (of this worker's part of it) that is not finite, None where all are."""
    named = [(name, _local(each.detach())) for name, each in model.named_parameters() if each.requires_grad]
    with torch.no_grad():
        # One question to the device for all weights; names only where the answer is bad.
        sums = [torch.isfinite(each).all() for _, each in named if each.numel()]
        if not sums or bool(torch.stack(sums).all()):
            return None
        return next(name for name, each in named if not bool(torch.isfinite(each).all()))


class StepWarnings:
    """What is worth a warning in a step's record; each kind is warned of once in a run.

    records: the steps before, of a resumed run.
    """

    def __init__(self, config: TrainConfig, *, with_grams: bool, records: Sequence[Mapping[str, Any]]) -> None:
        self._config, self._with_grams = config, with_grams
        self._rewards = RewardWatch(config.watch)
        self._told: set[str] = set()
        for record in records:
            self.of(record)

    def of(self, record: Mapping[str, Any]) -> list[str]:
        """The warnings that this record is the first to deserve."""
        found = {
            "coverage": coverage_warning(record["hicra/planning_fraction"], self._config) if self._with_grams else None,
            "metric": unknown_metric(self._config.best_metric, record),
            "collapse": self._rewards.see(record),
            "non-finite": _lost_figures(record),
        }
        new = {kind: text for kind, text in found.items() if text is not None and kind not in self._told}
        self._told |= new.keys()
        return list(new.values())


class RewardWatch:
    """Looks for a collapse: the mean reward of the last window is below a share of the best window's."""

    def __init__(self, watch: WatchConfig) -> None:
        self._fraction = watch.collapse_fraction
        self._rewards: deque[float] = deque(maxlen=watch.collapse_window)
        self._best = 0.0
        self._best_step = 0

    def see(self, record: Mapping[str, Any]) -> str | None:
        """Take in a step's record; a warning while the reward is collapsed."""
        reward = record["reward/mean"]
        if reward is None:
            return None
        self._rewards.append(reward)
        if len(self._rewards) < (self._rewards.maxlen or 0):
            return None
        mean = sum(self._rewards) / len(self._rewards)
        if mean > self._best:
            self._best, self._best_step = mean, record["step"]
        if mean >= self._fraction * self._best:
            return None
        return (
            f"the reward has collapsed: {mean:.3f} over the last {len(self._rewards)} steps, "
            f"{self._best:.3f} over as many until step {self._best_step}. Look at the newest rollouts; a policy before "
            "the fall may be the better one (train.best_metric)"
        )


def _lost_figures(record: Mapping[str, Any]) -> str | None:
    count = record.get(NON_FINITE)
    return f"{count} figures of the step were not finite; they are null in its record" if count else None


def _local(tensor: Tensor) -> Tensor:
    """This worker's part of a sharded tensor."""
    local = getattr(tensor, "to_local", None)
    return tensor if local is None else local()
