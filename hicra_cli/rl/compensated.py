"""AdamW over bfloat16 weights whose updates are not lost: precision `bfloat16-kahan`.

A bfloat16 number has 8 significant bits, and an update of 1e-6 rounds away in almost any weight. Kahan's remedy is to
keep what each rounding took off and to add it to the next update. Here the remainder is kept exactly: weight and
remainder are the upper and lower 16 bits of one float32, which takes the update as a float32 optimizer's weight would.
Moments are bfloat16 too; rounded to nearest they would stop several per cent off their goal (0.05 of the way is then
less than half a spacing), so they are rounded up or down by chance, right in the mean. With the gradient 10 bytes a
weight instead of 16.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

# Elements updated at once: float32 copies of a whole vocabulary matrix would cost what this optimizer saves.
_CHUNK = 1 << 24


class CompensatedAdamW(torch.optim.Optimizer):
    """AdamW (decoupled decay, bias correction) over bfloat16 parameters, which may be sharded.

    State by parameter: `step` (scalar), `exp_avg` and `exp_avg_sq` (bfloat16), `remainder` (int16: float32 bits of the
    weight less its bfloat16 bits). The chance in it is a function of `step` and the place in the tensor.
    """

    def __init__(
        self,
        params: Iterable[dict[str, Any]],
        *,
        lr: float,
        betas: tuple[float, float],
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        if closure is not None:
            raise ValueError("CompensatedAdamW takes no closure")
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)

    def _update(self, parameter: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros(())
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
            state["remainder"] = torch.zeros_like(parameter, dtype=torch.int16)
        state["step"] += 1
        step, (beta1, beta2) = int(state["step"]), group["betas"]
        names = ("exp_avg", "exp_avg_sq", "remainder")
        for place, (gradient, weight, exp_avg, exp_avg_sq, remainder) in enumerate(
            _chunks(grad, parameter, *(state[name] for name in names))
        ):
            wide = gradient.float()
            first = exp_avg.float().lerp_(wide, 1 - beta1)
            second = exp_avg_sq.float().mul_(beta2).addcmul_(wide, wide, value=1 - beta2)
            chance = _chance(first, step=step, place=place)
            exp_avg.copy_(rounded_by_chance(first, chance & 0xFFFF))
            exp_avg_sq.copy_(rounded_by_chance(second, (chance >> 16) & 0xFFFF))
            master = joined(weight, remainder).mul_(1 - group["lr"] * group["weight_decay"])
            root = second.div_(1 - beta2**step).sqrt_().add_(group["eps"])
            master.addcdiv_(first, root, value=-group["lr"] / (1 - beta1**step))
            high, low = parted(master)
            weight.copy_(high)
            remainder.copy_(low)


def joined(weight: Tensor, remainder: Tensor) -> Tensor:
    """The float32 that `parted` took apart; a remainder of 0 is the bfloat16 weight itself."""
    bits = (weight.view(torch.int16).to(torch.int32) << 16) + remainder.to(torch.int32)
    return bits.view(torch.float32)


def parted(master: Tensor) -> tuple[Tensor, Tensor]:
    """(weight, remainder) of finite float32: the nearest bfloat16 (halves away from zero), int16 difference of bits."""
    bits = master.view(torch.int32)
    high = (bits + 0x8000) >> 16
    return high.to(torch.int16).view(torch.bfloat16), (bits - (high << 16)).to(torch.int16)


def rounded_by_chance(wide: Tensor, chance: Tensor) -> Tensor:
    """bfloat16 of float32: the neighbour further from zero with the probability of its nearness.

    chance: int32, uniform in 0 … 65535.
    """
    return ((wide.view(torch.int32) + chance) >> 16).to(torch.int16).view(torch.bfloat16)


def _chance(like: Tensor, *, step: int, place: int) -> Tensor:
    """32 random bits per element as int32: a hash of (step, place in the tensor), with no generator to store."""
    start = (step * 0x9E3779B1 + place * 0x7FEB352D) & 0x7FFFFFFF
    bits = torch.arange(like.numel(), dtype=torch.int32, device=like.device).add_(start - (1 << 30))
    for factor in (0x7FEB352D, 0x846CA68B - (1 << 32)):  # wraps around: multiplication modulo 2^32
        bits ^= (bits >> 16) & 0xFFFF
        bits *= factor
    return bits ^ ((bits >> 16) & 0xFFFF)


def _chunks(gradient: Tensor, *kept: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Equal flat pieces of tensors of one shape, the `kept` ones as views; of sharded tensors this process's part."""
    local: list[Tensor] = [each.to_local() if hasattr(each, "to_local") else each for each in (gradient, *kept)]
    flat = [local[0].reshape(-1), *(each.view(-1) for each in local[1:])]
    yield from zip(*(each.split(_CHUNK) for each in flat), strict=True)
