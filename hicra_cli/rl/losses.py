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


def dual_clipped(token_loss: Tensor, token_advantages: Tensor, *, dual_clip: float) -> Tensor:
    """Bound the loss of blamed tokens: min(loss, -dual_clip * A) where A < 0.

    A token that became likely although it is blamed would otherwise pull without bound. dual_clip > 1; 3 is usual.
    Source: arXiv 1912.09729, equation 5.
    """
    return torch.where(token_advantages < 0, torch.minimum(token_loss, -dual_clip * token_advantages), token_loss)


def cispo_loss(logprobs: Tensor, old_logprobs: Tensor, token_advantages: Tensor, *, ratio_cap: float) -> Tensor:
    """Loss of each token: -min(ratio, ratio_cap) * A * logprob, the ratio detached: no token loses its gradient.

    All (N,) float32, nats. Source: arXiv 2506.13585 (CISPO), equation 4, without a lower bound, as in its experiments.
    """
    ratio = torch.exp(logprobs.detach() - old_logprobs).clamp(max=ratio_cap)
    return -ratio * token_advantages * logprobs


def sequence_logprobs(logprobs: Tensor, old_logprobs: Tensor, lengths: Tensor) -> Tensor:
    """Log-probs whose ratio to `old_logprobs` is the sequence's: old + mean over the sequence of (logprobs - old).

    logprobs, old_logprobs: (n,) of whole responses, laid end to end; lengths: (b,) int64, summing to n. With them the
    clipped surrogate is GSPO's: one ratio, the geometric mean, per response. Source: arXiv 2507.18071, equation 7.
    """
    owner = torch.repeat_interleave(torch.arange(len(lengths), device=logprobs.device), lengths)
    total = torch.zeros(len(lengths), dtype=logprobs.dtype, device=logprobs.device)
    mean = total.index_add(0, owner, logprobs - old_logprobs) / lengths
    return old_logprobs + mean[owner]


def kl_estimate(logprobs: Tensor, ref_logprobs: Tensor, *, estimator: Literal["k1", "k2", "k3"]) -> Tensor:
    """(N,) estimate of KL(policy || reference) at each sampled token, nats, with d = ref_logprobs - logprobs.

    k1 = -d (unbiased, any sign), k2 = d^2 / 2 (biased, its gradient is right on policy), k3 = exp(d) - 1 - d (unbiased,
    never negative). Source: Schulman, Approximating KL divergence (2020).
    """
    difference = ref_logprobs - logprobs
    if estimator == "k1":
        return -difference
    return 0.5 * difference**2 if estimator == "k2" else torch.expm1(difference) - difference


def importance_weights(
    old_logprobs: Tensor, sampler_logprobs: Tensor, *, cap: float, above: Literal["truncate", "mask"]
) -> Tensor:
    """(N,) weight trainer / sampler of each token: what the sampling engine computed differently.

    Above `cap` a weight is truncated to it (Yao et al. 2025, truncated importance sampling) or the token is masked: 0.
    """
    weights = torch.exp(old_logprobs - sampler_logprobs)
    return weights.clamp(max=cap) if above == "truncate" else torch.where(weights <= cap, weights, 0.0)


def overlong_penalty(lengths: Tensor, *, limit: int, buffer: int) -> Tensor:
    """(B,) float32 soft penalty: 0 up to limit - buffer tokens, then linear to -1 at the limit.

    Source: DAPO, arXiv 2503.14476, equation 13.
    """
    return ((limit - buffer - lengths.to(torch.float32)) / buffer).clamp(min=-1.0, max=0.0)


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
