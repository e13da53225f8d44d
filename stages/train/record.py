"""The step record: one JSON object per step, with the names of STYLE ("group/name_unit").

Token entropy is at temperature 1. It comes from the engine for every response token where the engine reports it,
else from the tokens the update computed; `policy/token_entropy_coverage` is the share it rests on. Log-probs are the
sampler's, of every response token.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hicra_cli.core.records import FinishReason, Outcome, Rollout
from hicra_cli.core.resident import peak_resident_bytes
from hicra_cli.metrics.semantic import semantic_entropy

from .sample import SampledGroups


@dataclass(frozen=True, slots=True)
class Learned:
    """What the update saw, on the host: scalars, and (N,) float32 arrays that are NaN where nothing was computed.

    logprobs, token_entropy: of the policy that sampled. latest_logprobs: at the last pass over each token, where there
    were several updates. ref_logprobs: of the reference, with a KL term. loss, grad_norm (before clipping): means over
    the updates of the step.
    """

    loss: float
    grad_norm: float
    logprobs: NDArray[np.float32]
    token_entropy: NDArray[np.float32]
    sampler_logprobs: NDArray[np.float32]
    latest_logprobs: NDArray[np.float32] | None
    ref_logprobs: NDArray[np.float32] | None

    @classmethod
    def from_device(
        cls,
        *,
        loss: Tensor,
        grad_norm: float,
        logprobs: Tensor,
        token_entropy: Tensor,
        sampler_logprobs: Tensor,
        latest_logprobs: Tensor | None,
        ref_logprobs: Tensor | None,
    ) -> "Learned":
        """One transfer for all of them."""
        optional = [latest_logprobs, ref_logprobs]
        rows = [logprobs, token_entropy, sampler_logprobs, *(each for each in optional if each is not None)]
        host = torch.cat([loss.reshape(1), *rows]).cpu().numpy()
        arrays = iter(np.split(host[1:], len(rows)))
        first, entropy, sampler = (next(arrays) for _ in range(3))
        latest, ref = (None if each is None else next(arrays) for each in optional)
        return cls(float(host[0]), grad_norm, first, entropy, sampler, latest, ref)


@dataclass(frozen=True, slots=True)
class Planning:
    """Where the step's rollouts plan. mask: (N,) bool. moves: (N,) int64, the move's index in MOVES, -1 without one
    (everywhere, where no algorithm asks). gram_counts: occurrences per gram (longest match, left to right) over the B
    rollouts.
    """

    mask: NDArray[np.bool_]
    moves: NDArray[np.int64]
    gram_counts: Counter[str]


@dataclass(frozen=True, slots=True)
class Credit:
    """rewards: (B,) with penalties. advantages: (B,) after group normalisation. token_advantages: (N,) what the loss
    used. alpha: of this step.
    """

    rewards: Tensor
    advantages: Tensor
    token_advantages: Tensor
    alpha: float


@dataclass(frozen=True, slots=True)
class Update:
    """learned: what the forward passes saw. learning_rate: of this step."""

    learned: Learned
    learning_rate: float


@dataclass(frozen=True, slots=True)
class StepData:
    """A finished step: its record, and what is stored of its rollouts. planning_mask: (N,) bool."""

    record: dict[str, Any]
    sampled: SampledGroups
    planning_mask: NDArray[np.bool_]
    token_entropy: NDArray[np.float32]


def step_record(
    step: int,
    sampled: SampledGroups,
    planning: Planning,
    credit: Credit,
    update: Update,
    seconds: Mapping[str, float],
) -> StepData:
    """Gather a step's figures. Steps are numbered from 1; the update that a record describes follows its rollouts."""
    rollouts, mask, learned = sampled.rollouts, planning.mask, update.learned
    token_entropy = _token_entropy(rollouts, learned)
    lengths = np.array([len(each.token_ids) for each in rollouts])
    record: dict[str, Any] = {"step": step}
    record |= _reward_figures(sampled, credit)
    record |= {
        "response/length_mean_tokens": float(lengths.mean()),
        "response/length_max_tokens": int(lengths.max()),
        "response/limit_tokens": sampled.sampling.max_new_tokens,
        "response/clipped_fraction": float(np.mean([each.finish_reason is FinishReason.LENGTH for each in rollouts])),
        "policy/loss": learned.loss,
        "policy/grad_norm": learned.grad_norm,
        "policy/learning_rate": update.learning_rate,
    }
    record |= _ratio_figures(learned) | _update_figures(learned)
    record |= _class_figures("policy/token_entropy", token_entropy, mask)
    record["policy/token_entropy_coverage"] = float(np.isfinite(token_entropy).mean())
    record |= _class_figures("policy/logprob", learned.sampler_logprobs, mask)
    record |= {
        "hicra/planning_fraction": float(mask.mean()),
        "hicra/planning_tokens": int(mask.sum()),
        "hicra/alpha": credit.alpha,
        "hicra/gram_occurrences": planning.gram_counts.total(),
        "hicra/grams_observed": len(planning.gram_counts),
        "hicra/semantic_entropy_nats": semantic_entropy(planning.gram_counts) if planning.gram_counts else None,
        "hicra/advantage_abs_mean": float(np.average(credit.advantages.abs().numpy(), weights=lengths)),
        "hicra/advantage_abs_mean_amplified": float(credit.token_advantages.abs().mean()),
        "tokens/response": int(lengths.sum()),
        "tokens/computed": int(np.isfinite(learned.logprobs).sum()),
        "memory/peak_bytes": _peak_bytes(),
    }
    total = sum(seconds.values())
    record |= {f"time/{name}_s": value for name, value in seconds.items()}
    record |= {"time/step_s": total, "time/tokens_per_s": float(lengths.sum() / total)}
    return StepData(record, sampled, mask, token_entropy)


def _reward_figures(sampled: SampledGroups, credit: Credit) -> dict[str, Any]:
    rewards = np.array([each.reward for each in sampled.verdicts])
    outcomes = Counter(each.outcome for each in sampled.verdicts)
    size = 1 + max(each.sample for each in sampled.rollouts)
    groups = credit.advantages.view(-1, size)
    return {
        "reward/mean": float(rewards.mean()),
        "reward/shaped_mean": float(credit.rewards.mean()),
        "reward/accuracy": outcomes[Outcome.CORRECT] / len(rewards),
        "reward/pass_at_group": float((rewards.reshape(-1, size) > 0).any(axis=1).mean()),
        **{f"outcome/{outcome}": outcomes[outcome] for outcome in Outcome},
        "groups/count": len(groups),
        "groups/no_signal_fraction": float((groups == 0).all(dim=1).float().mean()),
        "groups/filtered": sampled.num_filtered_groups,
    }


def _ratio_figures(learned: Learned) -> dict[str, float | None]:
    """Raw trainer/sampler ratios before any cap; null where nothing was computed."""
    computed = np.isfinite(learned.logprobs)
    if not computed.any():
        return dict.fromkeys(("policy/ratio_p01", "policy/ratio_p50", "policy/ratio_p99", "policy/mismatch_max_nats"))
    difference = learned.logprobs[computed] - learned.sampler_logprobs[computed]
    low, middle, high = np.quantile(np.exp(difference), [0.01, 0.5, 0.99])
    return {
        "policy/ratio_p01": float(low),
        "policy/ratio_p50": float(middle),
        "policy/ratio_p99": float(high),
        "policy/mismatch_max_nats": float(np.abs(difference).max()),
    }


def _update_figures(learned: Learned) -> dict[str, float]:
    """How far several updates moved the policy; its KL to the reference (k3). Only what the run knows."""
    figures: dict[str, float] = {}
    if learned.latest_logprobs is not None:
        difference = learned.latest_logprobs - learned.logprobs
        moved = np.exp(difference[np.isfinite(difference)])
        if moved.size:
            low, high = np.quantile(moved, [0.01, 0.99])
            figures |= {"policy/update_ratio_p01": float(low), "policy/update_ratio_p99": float(high)}
    if learned.ref_logprobs is not None:
        difference = learned.ref_logprobs - learned.logprobs
        known = difference[np.isfinite(difference)].astype(np.float64)
        if known.size:
            figures["policy/kl_nats"] = float((np.expm1(known) - known).mean())
    return figures


def _class_figures(name: str, values: NDArray[np.float32], planning_mask: NDArray[np.bool_]) -> dict[str, float | None]:
    """Mean over all, planning and execution tokens, null for an empty class."""
    finite = np.isfinite(values)
    classes = {"": finite, "_planning": finite & planning_mask, "_execution": finite & ~planning_mask}
    return {
        f"{name}{suffix}_nats": float(values[chosen].mean(dtype=np.float64)) if chosen.any() else None
        for suffix, chosen in classes.items()
    }


def _token_entropy(rollouts: list[Rollout], learned: Learned) -> NDArray[np.float32]:
    reported = [each.token_entropy for each in rollouts if each.token_entropy is not None]
    if len(reported) == len(rollouts):
        return np.concatenate(reported)
    return learned.token_entropy


def _peak_bytes() -> int:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return peak_resident_bytes()
