"""The policy objective per token, and the weights that make a sum over tokens the wanted mean.

Everything is a sum over tokens with weights fixed for the whole optimizer step, so neither accumulation, nor the
size of micro-batches, nor their number can change the gradient.
"""

from typing import Literal

import torch
from torch import Tensor


def clipped_surrogate(
    logprobs: Tensor, old_logprobs: Tensor, token_advantages: Tensor, *, clip_low: float, clip_high: float
) -> Tensor:
    """Loss of each token: -min(ratio * A, clip(ratio, 1 - clip_low, 1 + clip_high) * A).

    All (N,) float32, log-probs in nats; gradient flows through `logprobs` only. clip_high > clip_low is DAPO's
    clip-higher. Source: arXiv 1707.06347; DESIGN of arXiv 2509.03646v3, appendix E.1 for clip-higher.
    """
    ratio = torch.exp(logprobs - old_logprobs)
    clipped_ratio = ratio.clamp(1 - clip_low, 1 + clip_high)
    return -torch.minimum(ratio * token_advantages, clipped_ratio * token_advantages)


def importance_weights(
    old_logprobs: Tensor, sampler_logprobs: Tensor, *, cap: float, above: Literal["truncate", "mask"]
) -> Tensor:
    """(N,) weight trainer / sampler of each token: what the sampling engine computed differently.

    Above `cap` a weight is truncated to it (Yao et al. 2025, truncated importance sampling) or the token is masked: 0.
    """
    weights = torch.exp(old_logprobs - sampler_logprobs)
    return weights.clamp(max=cap) if above == "truncate" else torch.where(weights <= cap, weights, 0.0)


def loss_weights(
    lengths: Tensor, *, reduction: Literal["token", "sequence", "constant"], response_limit: int
) -> Tensor:
    """(N,) float32 weights w so that the step's loss is the sum of w * token loss.

    lengths: (B,) response tokens of *every* rollout of the step, those without signal included: they are skipped in
    compute, never in the denominator. `token`: 1 / all tokens. `sequence`: 1 / (B * own length). `constant`:
    1 / (B * response_limit), Dr. GRPO.
    """
    lengths = lengths.to(torch.float64)
    if reduction == "token":
        per_rollout = torch.full_like(lengths, 1.0) / lengths.sum()
    elif reduction == "sequence":
        per_rollout = 1.0 / (len(lengths) * lengths)
    else:
        per_rollout = torch.full_like(lengths, 1.0) / (len(lengths) * response_limit)
    return torch.repeat_interleave(per_rollout, lengths.to(torch.int64)).to(torch.float32)
