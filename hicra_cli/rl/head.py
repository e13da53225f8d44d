"""Log-probs, entropies and losses of response tokens with their gradients, without a response × vocabulary matrix.

`N` response tokens, `H` hidden size, `V` vocabulary. Where the loss of a token depends on that token alone,
`token_losses` takes the gradient in the forward pass: a chunk of exponentials is kept just long enough, and three
matrix products do the work of the four that computing logits again takes. `token_statistics` keeps nothing and computes
again. All gradients are exact; the passes over the vocabulary are in rl/vocabulary.py.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from hicra_cli.rl.objective import Objective, TokenTerms
from hicra_cli.rl.vocabulary import HeadGradients, KeptTiles, Tiling, TokenFigures, token_figures


class TokenLosses(NamedTuple):
    """loss: the sum of the tokens' losses, differentiable once. logprobs, entropy: (N,), nats, detached."""

    loss: Tensor
    logprobs: Tensor
    entropy: Tensor


def token_statistics(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    *,
    temperature: float = 1.0,
    chunk: int = 4096,
    softcap: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Log-prob of each target at `temperature` and entropy of each distribution at temperature 1.

    hidden: (N, H), the states that predict the targets. weight: (V, H), the output embedding. targets: (N,) int64.
    chunk: tokens at once, at most. softcap: bound c of a model whose logits are c * tanh(z / c).
    Returns (N,) and (N,), nats, float32 (float64 for float64 input); both are differentiable in hidden and weight.
    """
    tiling = Tiling.of(hidden, weight, temperature=temperature, softcap=softcap, chunk=chunk)
    logprobs, entropy = _TokenStatistics.apply(hidden, weight, targets, tiling)
    return logprobs, entropy


def token_losses(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    objective: Objective,
    terms: TokenTerms,
    *,
    temperature: float = 1.0,
    chunk: int = 4096,
    softcap: float | None = None,
) -> TokenLosses:
    """The summed loss of an objective `by_token`, its gradient already taken; arguments as in `token_statistics`.

    The backward pass only scales what the forward pass left, and may run once. Tokens without a gradient, and whichever
    of hidden and weight needs none, cost no matrix product.
    """
    tiling = Tiling.of(hidden, weight, temperature=temperature, softcap=softcap, chunk=chunk)
    wanted = torch.is_grad_enabled() and hidden.requires_grad, torch.is_grad_enabled() and weight.requires_grad
    return TokenLosses(*_TokenLosses.apply(hidden, weight, targets, objective, terms, tiling, wanted))


class _TokenStatistics(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, tiling: Tiling) -> Any:
        ctx.save_for_backward(hidden, weight, targets)
        ctx.tiling = tiling
        with torch.autocast(hidden.device.type, enabled=False):
            ctx.figures = [
                token_figures(hidden[part], weight, targets[part], tiling) for part in tiling.chunks(len(hidden))
            ]
        if not ctx.figures:
            empty = hidden.new_zeros(0, dtype=tiling.accumulate)
            return empty, empty.clone()
        return torch.cat([each.logprobs for each in ctx.figures]), torch.cat([each.entropy for each in ctx.figures])

    @staticmethod
    def backward(ctx: Any, grad_logprobs: Tensor, grad_entropy: Tensor) -> Any:
        hidden, weight, targets = ctx.saved_tensors
        sums = HeadGradients(hidden, weight, ctx.tiling, wanted=ctx.needs_input_grad[:2])
        with_entropy = bool(grad_entropy.any())
        with torch.autocast(hidden.device.type, enabled=False):
            for part, figures in zip(ctx.tiling.chunks(len(hidden)), ctx.figures, strict=True):
                entropy_part = grad_entropy[part] if with_entropy else None
                sums.add(part, targets[part], figures, grad_logprobs[part], entropy_part)
        return *sums.result(), None, None


class _TokenLosses(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        targets: Tensor,
        objective: Objective,
        terms: TokenTerms,
        tiling: Tiling,
        wanted: tuple[bool, bool],
    ) -> Any:
        losses, logprobs, entropy = (hidden.new_zeros(len(hidden), dtype=tiling.accumulate) for _ in range(3))
        sums = HeadGradients(hidden, weight, tiling, wanted=wanted)
        kept = None
        if any(wanted):
            # Exponentials are all that the gradient of a log-prob needs; other gradients need the logits.
            simple = tiling.softcap is None and not objective.with_entropy
            kept = KeptTiles(len(hidden), len(weight), tiling, exponentials=simple, like=hidden)
        with torch.autocast(hidden.device.type, enabled=False):
            for part in tiling.chunks(len(hidden)):
                figures = token_figures(hidden[part], weight, targets[part], tiling, kept)
                logprobs[part], entropy[part] = figures.logprobs, figures.entropy
                losses[part], grad_logprobs, grad_entropy = _losses(figures, objective, terms.rows(part))
                if kept is not None:
                    sums.add(part, targets[part], figures, grad_logprobs, grad_entropy, kept)
        ctx.gradients = sums.result()
        ctx.mark_non_differentiable(logprobs, entropy)
        return losses.sum(), logprobs, entropy

    @staticmethod
    def backward(ctx: Any, grad_loss: Tensor, *_: Any) -> Any:
        # Handed over rather than shared: autograd may then keep the tensors instead of copying them.
        gradients, ctx.gradients = ctx.gradients, None
        if gradients is None:
            raise RuntimeError("the gradient of token_losses was handed out already: backward may run once")
        # On a CPU asking is free and saves a pass over the weight's gradient.
        if grad_loss.device.type != "cpu" or float(grad_loss) != 1.0:
            gradients = tuple(None if each is None else each.mul_(grad_loss) for each in gradients)
        return *gradients, None, None, None, None, None


def _losses(figures: TokenFigures, objective: Objective, terms: TokenTerms) -> tuple[Tensor, Tensor, Tensor | None]:
    """(rows,) losses and their gradients with respect to log-prob and, where the objective has it, entropy."""
    with torch.enable_grad():
        logprobs = figures.logprobs.detach().requires_grad_()
        entropy = figures.entropy.detach().requires_grad_(objective.with_entropy)
        losses = objective.losses(logprobs, entropy, terms)
        leaves = [logprobs, entropy] if objective.with_entropy else [logprobs]
        gradients = torch.autograd.grad(losses.sum(), leaves, allow_unused=True, materialize_grads=True)
    return losses.detach(), gradients[0], gradients[1] if objective.with_entropy else None
