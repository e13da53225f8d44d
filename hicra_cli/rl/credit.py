"""Other ways to give tokens credit: the paper's baselines, the released trainer's variant, and controls of HICRA.

`B` rollouts, group after group; `N` response tokens, rollout after rollout. Everything acts between group normalisation
and ratio, as HICRA does, and no gradient flows through it. Token entropies are in nats, of the policy that sampled.
"""

import torch
from torch import Tensor


def entropy_advantages(token_advantages: Tensor, token_entropy: Tensor, *, beta: float, kappa: float) -> Tensor:
    """Advantage shaping by entropy: A + min(beta * H, |A| / kappa).

    Both (N,) float32, H >= 0. kappa > 1 keeps the sign of A. Source: Cheng et al., arXiv 2506.14758, equation 3.
    """
    if not kappa > 1:
        raise ValueError(f"kappa must be above 1, got {kappa}: the bonus could turn blame into praise")
    return token_advantages + torch.minimum(beta * token_entropy, token_advantages.abs() / kappa)


def fork_mask(token_entropy: Tensor, *, fraction: float) -> Tensor:
    """(N,) bool: the `fraction` of the step's tokens with the highest entropy, at least one; ties are all included.

    Only they get gradient in "Beyond the 80/20 rule" (arXiv 2506.01939), with fraction 0.2.
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction must lie in (0, 1], got {fraction}")
    count = max(1, round(fraction * len(token_entropy)))
    threshold = token_entropy.topk(count).values[-1] if len(token_entropy) else 0.0
    return token_entropy >= threshold


def zero_sum_advantages(token_advantages: Tensor, amplified: Tensor, group_tokens: Tensor) -> Tensor:
    """Take out of each group's amplified advantages what amplification has added to their sum.

    token_advantages, amplified: (N,) before and after HICRA. group_tokens: (B / G,) int64 response tokens of each
    group, summing to N. What HICRA adds, alpha * sum |A| over planning tokens, is taken back in equal parts from every
    token of the group: the focus on planning tokens stays, the net push towards emitting them goes.
    """
    group = torch.repeat_interleave(torch.arange(len(group_tokens), device=amplified.device), group_tokens)
    gain = torch.zeros(len(group_tokens), dtype=torch.float64, device=amplified.device)
    gain.index_add_(0, group, (amplified - token_advantages).to(torch.float64))
    return amplified - (gain / group_tokens.clamp(min=1)).to(amplified.dtype)[group]


def release_mask(
    planning_mask: Tensor,
    token_entropy: Tensor,
    advantages: Tensor,
    lengths: Tensor,
    *,
    group_size: int,
    fraction: float,
) -> Tensor:
    """(N,) bool: planning tokens, and high-entropy tokens of praised answers longer than their group's mean.

    planning_mask, token_entropy: (N,). advantages, lengths: (B,). High entropy is strictly above the (1 - fraction)
    quantile of the own answer; 0.3 in the authors' released trainer, whose rule this is as reported (shared by others,
    not checked against its source). Amplified like planning tokens they favour length, which the paper's formula does
    not.
    """
    groups = lengths.to(torch.float64).view(-1, group_size)
    longer = (groups > groups.mean(dim=1, keepdim=True)).reshape(-1)
    thresholds = torch.stack(
        [
            part.quantile(1 - fraction) if len(part) else part.new_zeros(())
            for part in token_entropy.to(torch.float64).split(lengths.tolist())
        ]
    )
    chosen = torch.repeat_interleave((advantages > 0) & longer, lengths)
    return planning_mask | (chosen & (token_entropy > torch.repeat_interleave(thresholds, lengths)))
