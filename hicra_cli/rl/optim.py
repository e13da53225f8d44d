"""AdamW with linear warm-up, gradient clipping, and a step that refuses non-finite gradients."""

import math

import torch
from torch import nn

from hicra_cli.core.errors import TrainingError
from hicra_cli.rl.compensated import CompensatedAdamW


def build_optimizer(
    model: nn.Module, *, lr: float, beta1: float, beta2: float, weight_decay: float
) -> torch.optim.Optimizer:
    """AdamW over the trainable parameters; matrices decay, vectors (norms, biases) do not.

    bfloat16 parameters get the compensated update: plain AdamW's would round away.
    """
    parameters = [each for each in model.parameters() if each.requires_grad]
    groups = [
        {"params": [each for each in parameters if each.dim() >= 2], "weight_decay": weight_decay},
        {"params": [each for each in parameters if each.dim() < 2], "weight_decay": 0.0},
    ]
    if any(each.dtype is torch.bfloat16 for each in parameters):
        return CompensatedAdamW(groups, lr=lr, betas=(beta1, beta2))
    # Fused it needs no temporary copy of all moments; only on a GPU, so that results on CPU stay those of plain AdamW.
    fused = all(each.is_cuda for each in parameters)
    return torch.optim.AdamW(groups, lr=lr, betas=(beta1, beta2), eps=1e-8, fused=fused or None)


def learning_rate(step: int, *, lr: float, warmup_steps: int) -> float:
    """Rate of optimizer step `step` (0 is the first): linear from lr / warmup_steps up to lr, then constant."""
    return lr * min(1.0, (step + 1) / warmup_steps) if warmup_steps else lr


def clip_gradients(model: nn.Module, *, max_norm: float) -> float:
    """Scale all gradients together so that their norm is at most max_norm; returns the norm before."""
    return float(torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm))


def optimizer_step(optimizer: torch.optim.Optimizer, *, lr: float, grad_norm: float, step: int) -> None:
    """One update at rate `lr`, then clear the gradients. Raises TrainingError, weights untouched, if not finite."""
    if not math.isfinite(grad_norm):
        optimizer.zero_grad(set_to_none=True)
        raise TrainingError(
            f"the gradient of step {step} is not finite (norm {grad_norm})",
            fix="The last checkpoint is intact; resume with a lower train.lr or train.max_grad_norm",
        )
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
