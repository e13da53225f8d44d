"""The objective of a run, chosen once from its configuration."""

from torch import Tensor

from hicra_cli.config.train import TrainConfig
from hicra_cli.rl.losses import (
    cispo_loss,
    clipped_surrogate,
    dual_clipped,
    importance_weights,
    kl_estimate,
    sequence_logprobs,
)
from hicra_cli.rl.objective import Objective, TokenTerms


def choose_objective(config: TrainConfig) -> Objective:
    """Surrogate, weighed by engine mismatch, plus beta times KL, minus beta times entropy for entropy regularisation.

    The importance weight is of what the sampling engine computed differently: it belongs to the surrogate, which is an
    expectation over the sampler's tokens, and neither to the entropy nor to the KL term.
    """
    with_entropy = config.algo == "entropy-reg"
    surrogate = cispo_surrogate if config.loss == "cispo" else ppo_surrogate

    def losses(logprobs: Tensor, entropy: Tensor, terms: TokenTerms) -> Tensor:
        old_logprobs = logprobs.detach() if terms.old_logprobs is None else terms.old_logprobs
        importance = importance_weights(
            old_logprobs, terms.sampler_logprobs, cap=config.importance_cap, above=config.importance_above
        )
        loss = importance * surrogate(logprobs, old_logprobs, terms, config=config)
        if terms.ref_logprobs is not None:
            loss = loss + config.kl_beta * kl_estimate(logprobs, terms.ref_logprobs, estimator=config.kl_estimator)
        if with_entropy:
            loss = loss - config.entropy_beta * entropy
        return terms.weights * loss

    return Objective(losses, by_token=config.ratio_level == "token", with_entropy=with_entropy)


def ppo_surrogate(logprobs: Tensor, old_logprobs: Tensor, terms: TokenTerms, *, config: TrainConfig) -> Tensor:
    """(n,) clipped surrogate, its ratio by token or by sequence, with the dual clip where one is set."""
    if config.ratio_level == "sequence":
        logprobs = sequence_logprobs(logprobs, old_logprobs, terms.lengths)
    loss = clipped_surrogate(
        logprobs, old_logprobs, terms.advantages, clip_low=config.clip_low, clip_high=config.clip_high
    )
    return loss if config.dual_clip is None else dual_clipped(loss, terms.advantages, dual_clip=config.dual_clip)


def cispo_surrogate(logprobs: Tensor, old_logprobs: Tensor, terms: TokenTerms, *, config: TrainConfig) -> Tensor:
    """(n,) CISPO loss."""
    return cispo_loss(logprobs, old_logprobs, terms.advantages, ratio_cap=config.cispo_cap)
