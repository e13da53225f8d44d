"""The loss of each response token as a function of the policy's figures: one interface for head, step and tests.

`n` response tokens of a micro-batch, `b` whole responses laid end to end. What stays fixed during an update is in
`TokenTerms`; log-prob and entropy of the policy come from its forward pass and carry the gradient.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import Tensor


@dataclass(frozen=True, slots=True)
class TokenTerms:
    """What the loss of n tokens is made of besides the policy's own figures. All (n,) float32, log-probs in nats.

    advantages: after credit. weights: make a sum over tokens the wanted mean. sampler_logprobs: what the engine
    reported. old_logprobs: of the policy before the step's first update; None where that is the present one.
    ref_logprobs: of the reference policy, None without a KL term. lengths: (b,) int64, summing to n.
    """

    advantages: Tensor
    weights: Tensor
    sampler_logprobs: Tensor
    old_logprobs: Tensor | None
    ref_logprobs: Tensor | None
    lengths: Tensor

    def rows(self, rows: slice) -> "TokenTerms":
        """The terms of some tokens, for objectives that go by token; `lengths` stay those of the micro-batch."""
        old, ref = self.old_logprobs, self.ref_logprobs
        return replace(
            self,
            advantages=self.advantages[rows],
            weights=self.weights[rows],
            sampler_logprobs=self.sampler_logprobs[rows],
            old_logprobs=None if old is None else old[rows],
            ref_logprobs=None if ref is None else ref[rows],
        )


@dataclass(frozen=True, slots=True)
class Objective:
    """losses: (logprobs, entropy, terms) → (n,) weighted losses whose sum over all micro-batches is the step's loss.

    by_token: the loss of a token depends on that token alone, so a head may take the gradient chunk by chunk.
    with_entropy: the loss depends on the entropy too.
    """

    losses: Callable[[Tensor, Tensor, TokenTerms], Tensor]
    by_token: bool
    with_entropy: bool
