"""The policy's forward pass for training: hidden states of the backbone, then the fused head.

The head is a matrix product, with the bias, scale and soft-cap that the model's configuration names. A start-up
self-check compares this path with the model's own logits, one sequence at a time, and refuses what does anything else.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from hicra_cli.core.errors import TrainingError
from hicra_cli.rl.attention import packed_inputs, use_packed_attention
from hicra_cli.rl.head import token_losses, token_statistics
from hicra_cli.rl.objective import Objective, TokenTerms
from hicra_cli.rl.packing import MicroBatch


class Forward(NamedTuple):
    """A micro-batch seen by the policy. logprobs (at the sampling temperature), entropy (at 1): (n,), nats, in the
    order of `micro.flat`; differentiable where no objective was given, else detached. loss: the sum of the objective's
    losses, to call backward on; zero without an objective. A tuple, because sharding looks for tensors in it.
    """

    logprobs: Tensor
    entropy: Tensor
    loss: Tensor


class Policy(nn.Module):
    """A HF decoder as the trainer runs it: micro-batch in, figures of its response tokens out.

    All use of the weights in training goes through this module's call, so that a wrapper around it (sharding) sees
    every one. `model` keeps the HF names of its parameters.
    """

    def __init__(self, model: Any, *, temperature: float, head_chunk: int) -> None:
        super().__init__()
        self.model = model
        self.temperature = temperature
        self.head_chunk = head_chunk

    def forward(
        self, micro: MicroBatch, objective: Objective | None = None, terms: TokenTerms | None = None
    ) -> Forward:
        head = head_inputs(self.model, predictor_states(self.model, micro))
        inputs = head.hidden, head.weight, micro.targets
        how: Any = {"temperature": self.temperature, "chunk": self.head_chunk, "softcap": head.softcap}
        if objective is not None and terms is not None and objective.by_token:
            loss, logprobs, entropy = token_losses(*inputs, objective, terms, **how)
            return Forward(logprobs, entropy, loss)
        logprobs, entropy = token_statistics(*inputs, **how)
        if objective is None or terms is None:
            return Forward(logprobs, entropy, logprobs.new_zeros(()))
        return Forward(logprobs.detach(), entropy.detach(), objective.losses(logprobs, entropy, terms).sum())


def policy_statistics(
    model: nn.Module, micro: MicroBatch, *, temperature: float, head_chunk: int
) -> tuple[Tensor, Tensor]:
    """Log-probs (at `temperature`) and entropies (at 1) of a micro-batch's response tokens.

    Returns two (n,) float32 tensors in the order of `micro.flat`, nats, differentiable in the model's parameters.
    """
    head = head_inputs(model, predictor_states(model, micro))
    return token_statistics(
        head.hidden, head.weight, micro.targets, temperature=temperature, chunk=head_chunk, softcap=head.softcap
    )


@dataclass(frozen=True, slots=True)
class HeadInputs:
    """What the head multiplies. hidden: (n, H). weight: (V, H). softcap: bound of the logits, None without one."""

    hidden: Tensor
    weight: Tensor
    softcap: float | None


def head_inputs(model: Any, hidden: Tensor) -> HeadInputs:
    """hidden and the output embedding such that their product, capped, is the model's logits.

    A scale of the logits goes into hidden; a bias becomes one more column of the weight, beside a column of ones.
    """
    head = model.get_output_embeddings()
    config = model.config.get_text_config()
    scale = (getattr(config, "logit_scale", None) or 1.0) / (getattr(config, "logits_scaling", None) or 1.0)
    weight: Tensor = head.weight
    if getattr(head, "bias", None) is not None:
        hidden = torch.cat([hidden, hidden.new_ones(len(hidden), 1)], dim=1)
        weight = torch.cat([weight, head.bias[:, None]], dim=1)
    softcap = getattr(config, "final_logit_softcapping", None)
    return HeadInputs(hidden if scale == 1.0 else hidden * scale, weight, softcap)


def predictor_states(model: nn.Module, micro: MicroBatch) -> Tensor:
    """(n, H): the last hidden states whose next token is a response token."""
    backbone: nn.Module = model.base_model  # type: ignore[assignment]
    if micro.segments is None:
        # attention_mask=None keeps the pure causal kernel; right padding cannot reach a real token.
        states: Tensor = backbone(input_ids=micro.input_ids, use_cache=False).last_hidden_state
    else:
        use_packed_attention(model)
        packed = packed_inputs(micro.segments)
        states = backbone(
            input_ids=micro.input_ids, position_ids=micro.position_ids, use_cache=False, **packed
        ).last_hidden_state
    return states.reshape(-1, states.shape[-1])[micro.predictor]


@torch.no_grad()
def check_forward(model: nn.Module, micro: MicroBatch, *, tolerance: float) -> float:
    """Compare micro-batched log-probs with the model's own logits on each row alone; returns the largest difference.

    Raises TrainingError beyond `tolerance` (nats): then this architecture cannot be trained exactly here.
    """
    batched, _ = policy_statistics(model, micro, temperature=1.0, head_chunk=4096)
    worst = 0.0
    for rollout, mine in zip(micro.rollouts, batched.split(micro.lengths.tolist()), strict=True):
        ids = torch.from_numpy(np.concatenate([rollout.prompt_token_ids, rollout.token_ids]).astype(np.int64))
        row = ids[None].to(micro.input_ids.device)
        places = slice(len(rollout.prompt_token_ids) - 1, -1)
        logits = model(input_ids=row, use_cache=False).logits[0, places].float()
        single = torch.log_softmax(logits, dim=-1).gather(1, row[0, places.start + 1 :, None]).squeeze(1)
        worst = max(worst, float((single - mine).abs().max()))
    if not worst <= tolerance:
        raise TrainingError(
            f"micro-batched log-probs differ from single ones by {worst:.2e} nats (tolerance {tolerance:.0e})",
            where=type(model).__name__,
            fix="This architecture has a head or attention that hicra cannot train exactly; use another model"
            + _unusual(model),
        )
    return worst


def _unusual(model: Any) -> str:
    """What the configuration says of logits and attention that may be the reason of a difference; "" if nothing."""
    words = ("softcap", "logit", "sliding_window", "attention_chunk", "position_embedding_type")
    values = model.config.get_text_config().to_dict()
    found = [f"{name} {value!r}" for name, value in values.items() if value and any(word in name for word in words)]
    return f" (its configuration has {', '.join(found)})" if found else ""
