"""Which tokens are praised and blamed how much: the algorithms that differ from GRPO only in credit, and controls.

All act on what group normalisation has made of the rewards, before ratio and clip; no gradient flows through them.
The algorithm is chosen once (`choose_credit`); the step calls what it gets.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from hicra_cli.config.train import TrainConfig
from hicra_cli.core.seeds import generator_for
from hicra_cli.grams.matcher import MOVES
from hicra_cli.rl.advantages import hicra_advantages, move_alphas
from hicra_cli.rl.credit import entropy_advantages, fork_mask, release_mask, zero_sum_advantages


@dataclass(frozen=True, slots=True)
class Signals:
    """What credit may depend on: B rollouts, group after group, with N response tokens.

    advantages: (B,). lengths: (B,) int64. token_advantages: (N,), each rollout's advantage on its tokens.
    planning_mask: (N,) bool. moves: (N,) int64, an index into MOVES or -1. token_entropy: (N,) nats, where the
    algorithm needs it. alpha_fraction: share of alpha at this step, see `rl.alpha`.
    """

    step: int
    advantages: Tensor
    lengths: Tensor
    token_advantages: Tensor
    planning_mask: Tensor
    moves: Tensor
    token_entropy: Tensor | None
    alpha_fraction: float

    @property
    def known_entropy(self) -> Tensor:
        """The token entropies; only algorithms that asked for them may look."""
        assert self.token_entropy is not None
        return self.token_entropy


Credit = Callable[[Signals], Tensor]


def choose_credit(config: TrainConfig, *, seed: int) -> Credit:
    """The (N,) advantages that the loss uses, as a function of a step's signals."""

    def amplified(signals: Signals, mask: Tensor) -> Tensor:
        return _amplified(signals, mask, config)

    def hicra(signals: Signals) -> Tensor:
        return amplified(signals, signals.planning_mask)

    def zero_sum(signals: Signals) -> Tensor:
        group_tokens = signals.lengths.view(-1, config.group_size).sum(dim=1)
        return zero_sum_advantages(signals.token_advantages, hicra(signals), group_tokens)

    def shuffled(signals: Signals) -> Tensor:
        return amplified(signals, shuffled_mask(signals.planning_mask, signals.lengths, seed=seed, step=signals.step))

    def release(signals: Signals) -> Tensor:
        mask = release_mask(
            signals.planning_mask,
            signals.known_entropy,
            signals.advantages,
            signals.lengths,
            group_size=config.group_size,
            fraction=config.release_fraction,
        )
        return amplified(signals, mask)

    def entropy_adv(signals: Signals) -> Tensor:
        return entropy_advantages(
            signals.token_advantages,
            signals.known_entropy,
            beta=config.entropy_adv_beta,
            kappa=config.entropy_adv_kappa,
        )

    def fork(signals: Signals) -> Tensor:
        return signals.token_advantages * fork_mask(signals.known_entropy, fraction=config.fork_fraction)

    known: dict[str, Credit] = {
        "hicra": hicra,
        "placebo": hicra,  # the same with another gram-set
        "zero-sum": zero_sum,
        "shuffled": shuffled,
        "release": release,
        "entropy-adv": entropy_adv,
        "fork": fork,
    }
    return known.get(config.algo, _unchanged)


def shuffled_mask(planning_mask: Tensor, lengths: Tensor, *, seed: int, step: int) -> Tensor:
    """(N,) bool: in each rollout as many tokens as the mask has there, elsewhere. The control of where they are."""
    parts = []
    for index, part in enumerate(planning_mask.split(lengths.tolist())):
        order = generator_for(seed, "shuffled-mask", step=step, sample=index).permutation(len(part))
        parts.append(part[torch.from_numpy(order)])
    return torch.cat(parts) if parts else planning_mask


def _amplified(signals: Signals, mask: Tensor, config: TrainConfig) -> Tensor:
    fraction = signals.alpha_fraction
    if config.alpha_moves is not None:
        of_moves = [getattr(config.alpha_moves, move.value) for move in MOVES]
        alphas = torch.tensor(of_moves, dtype=torch.float32) * fraction
        # A token of a gram without a move, or that only entropy or a shuffle has chosen, gets the common alpha.
        alpha = torch.where(signals.moves >= 0, move_alphas(signals.moves, alphas), config.alpha * fraction)
        return hicra_advantages(signals.token_advantages, mask, alpha=alpha)
    if config.alpha_negative is not None:
        return hicra_advantages(
            signals.token_advantages,
            mask,
            alpha_positive=config.alpha * fraction,
            alpha_negative=config.alpha_negative * fraction,
        )
    return hicra_advantages(signals.token_advantages, mask, alpha=config.alpha * fraction)


def _unchanged(signals: Signals) -> Tensor:
    return signals.token_advantages
