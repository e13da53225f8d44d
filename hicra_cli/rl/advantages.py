"""From rewards to token advantages: GRPO's group normalisation, HICRA's amplification.

`B` rollouts, group after group; `N` response tokens, rollout after rollout. No gradient flows through any of this.
Order: group normalisation → HICRA → ratio and clip, with no whitening afterwards.
"""

from typing import Literal

import torch
from torch import Tensor

EPSILON = 1e-6  # added to the group's std; verl's value


def group_advantages(rewards: Tensor, *, group_size: int, scale: Literal["none", "std", "batch"] = "none") -> Tensor:
    """Reward minus the mean of its group, optionally divided by a std.

    rewards: (B,), B a multiple of group_size, rollouts of a group adjacent. Returns (B,) float32.
    `none` is the formula of arXiv 2509.03646v3, section 3 (as Dr. GRPO); `std` divides by the group's unbiased std +
    1e-6, `batch` by that of all B rewards (arXiv 2508.08221). A group whose rewards are exactly equal gets exactly 0: a
    small std never decides it.
    """
    if rewards.numel() % group_size:
        raise ValueError(f"{rewards.numel()} rewards are no whole number of groups of {group_size}")
    groups = rewards.to(torch.float64).view(-1, group_size)
    advantages = groups - groups.mean(dim=1, keepdim=True)
    if scale == "std":
        advantages = advantages / (groups.std(dim=1, keepdim=True, unbiased=True) + EPSILON)
    elif scale == "batch":
        advantages = advantages / (groups.std(unbiased=True) + EPSILON)
    return torch.where(has_signal(groups), advantages, 0.0).reshape(-1).to(torch.float32)


def has_signal(groups: Tensor) -> Tensor:
    """(groups, 1) bool: False where all rewards of a group are exactly equal. groups: (groups, group_size)."""
    return (groups != groups[:, :1]).any(dim=1, keepdim=True)


def spread(advantages: Tensor, lengths: Tensor) -> Tensor:
    """Give each token the advantage of its rollout: (B,) and (B,) int64 lengths → (N,), N the sum of lengths."""
    return torch.repeat_interleave(advantages, lengths)


def hicra_advantages(
    token_advantages: Tensor,
    planning_mask: Tensor,
    *,
    alpha: float | Tensor | None = None,
    alpha_positive: float | None = None,
    alpha_negative: float | None = None,
) -> Tensor:
    """Credit planning tokens more: A + alpha * |A| where planning_mask, A elsewhere.

    token_advantages: (N,) or (B, T) float32, after group normalisation, before clipping.
    planning_mask: same shape, bool. A > 0 grows by (1 + alpha), A < 0 shrinks by (1 - alpha): strategies are paid
    more and punished less. alpha = 0 returns the input bit for bit. No re-centring afterwards: it would undo the
    effect. alpha may be a tensor of that shape (one value per token: `move_alphas`); `alpha_positive` and
    `alpha_negative` replace alpha for A > 0 and A < 0 (both given, no alpha).
    Raises ValueError for an alpha outside [0, 1] or shapes that differ. Source: arXiv 2509.03646v3, section 3.
    """
    praise, blame = _alphas(alpha, alpha_positive, alpha_negative)
    if token_advantages.shape != planning_mask.shape or planning_mask.dtype != torch.bool:
        raise ValueError(
            f"planning_mask must be bool of shape {tuple(token_advantages.shape)}, "
            f"got {planning_mask.dtype} of {tuple(planning_mask.shape)}"
        )
    gain = torch.where(token_advantages > 0, praise, blame) * token_advantages.abs()
    return torch.where(planning_mask, token_advantages + gain, token_advantages)


def move_alphas(moves: Tensor, alphas: Tensor) -> Tensor:
    """The alpha of each token: alphas[move], and 0 for a token without a move.

    moves: (N,) int64, the move of each planning token, -1 elsewhere. alphas: (M,) float32, one per move.
    """
    return torch.where(moves >= 0, alphas[moves.clamp(min=0)], 0.0)


def _alphas(
    alpha: float | Tensor | None, positive: float | None, negative: float | None
) -> tuple[float | Tensor, float | Tensor]:
    pair = [value for value in (positive, negative) if value is not None]
    if (alpha is None) == (not pair) or len(pair) == 1:
        raise ValueError("give either alpha, or alpha_positive and alpha_negative")
    praise, blame = (alpha, alpha) if alpha is not None else pair
    for value in (praise, blame):
        low, high = (float(each) for each in torch.as_tensor(value).aminmax())
        if not (low >= 0 and high <= 1):
            shown = f"{low} to {high}" if low != high else low
            raise ValueError(f"alpha must lie in [0, 1], got {shown}: above 1 blame would turn into praise")
    return praise, blame
