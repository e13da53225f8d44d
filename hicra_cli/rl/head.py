"""Log-probs and entropies of response tokens, and their gradients, without a response × vocabulary matrix.

`N` response tokens, `H` hidden size, `V` vocabulary. Only `chunk` rows of logits exist at a time; the backward pass
computes them again. Both gradients are exact: with p = softmax(z), d log p_y / dz = onehot(y) - p and
d entropy / dz = -p * (log p + entropy).
"""

from typing import Any

import torch
from torch import Tensor


def token_statistics(
    hidden: Tensor, weight: Tensor, targets: Tensor, *, temperature: float = 1.0, chunk: int = 4096
) -> tuple[Tensor, Tensor]:
    """Log-prob of each target at `temperature` and entropy of each distribution at temperature 1.

    hidden: (N, H), the states that predict the targets. weight: (V, H), the output embedding. targets: (N,) int64.
    Returns (N,) and (N,), nats, float32 (float64 for float64 input); both are differentiable in hidden and weight.
    """
    logprobs, entropy = _TokenStatistics.apply(hidden, weight, targets, temperature, chunk)
    return logprobs, entropy


class _TokenStatistics(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, temperature: float, chunk: int) -> Any:
        ctx.save_for_backward(hidden, weight, targets)
        ctx.temperature, ctx.chunk = temperature, chunk
        logprobs, entropy = [], []
        for part, target in zip(hidden.split(chunk), targets.split(chunk), strict=True):
            logits = _logits(part, weight)
            log_p = torch.log_softmax(logits, dim=-1)
            entropy.append(-(log_p.exp() * log_p).sum(dim=-1))
            sampled = log_p if temperature == 1.0 else torch.log_softmax(logits / temperature, dim=-1)
            logprobs.append(sampled.gather(1, target[:, None]).squeeze(1))
        if not logprobs:
            empty = hidden.new_zeros(0, dtype=_accumulator(hidden))
            return empty, empty.clone()
        return torch.cat(logprobs), torch.cat(entropy)

    @staticmethod
    def backward(ctx: Any, grad_logprobs: Tensor, grad_entropy: Tensor) -> Any:
        hidden, weight, targets = ctx.saved_tensors
        grad_hidden = torch.empty_like(hidden)
        grad_weight = torch.zeros_like(weight, dtype=_accumulator(weight))
        with_entropy = bool(grad_entropy.any())
        for start in range(0, len(hidden), ctx.chunk):
            rows = slice(start, start + ctx.chunk)
            logits = _logits(hidden[rows], weight)
            grad = _logit_gradient(logits, targets[rows], grad_logprobs[rows], ctx.temperature)
            if with_entropy:
                log_p = torch.log_softmax(logits, dim=-1)
                p = log_p.exp()
                entropy = -(p * log_p).sum(dim=-1, keepdim=True)
                grad -= grad_entropy[rows, None] * p * (log_p + entropy)
            grad = grad.to(hidden.dtype)
            grad_hidden[rows] = grad @ weight.to(hidden.dtype)
            grad_weight += (grad.T @ hidden[rows]).to(grad_weight.dtype)
        return grad_hidden, grad_weight.to(weight.dtype), None, None, None


def _logit_gradient(logits: Tensor, targets: Tensor, grad_logprobs: Tensor, temperature: float) -> Tensor:
    """(rows, V): gradient of sum(grad_logprobs * logprobs) with respect to the undivided logits."""
    scaled = grad_logprobs / temperature
    grad = torch.softmax(logits / temperature if temperature != 1.0 else logits, dim=-1)
    grad *= -scaled[:, None]
    grad.scatter_add_(1, targets[:, None], scaled[:, None])
    return grad


def _logits(hidden: Tensor, weight: Tensor) -> Tensor:
    return (hidden @ weight.to(hidden.dtype).T).to(_accumulator(hidden))


def _accumulator(tensor: Tensor) -> torch.dtype:
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32
