"""Token-level diagnostics: entropy of the next-token distribution and relative perplexity, by token class.

Everything is in nats. `N` tokens, `V` vocabulary entries. A class without tokens has the value nan: it was not
measured, which is not zero.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class ClassMeans:
    """Means of a per-token value over planning tokens, execution tokens and all of them; nan where there are none."""

    planning: float
    execution: float
    all: float


def token_entropy(logits: "Tensor") -> "Tensor":
    """Shannon entropy of each next-token distribution: -sum over the vocabulary of p log p.

    logits: (..., V) any float type, at the temperature the entropy is wanted for (1 unless said). Returns (...)
    float32 (float64 for float64 input), nats. A logit of -inf is an impossible token and adds nothing.
    Source: arXiv 2509.03646v3, section 2.2.1.
    """
    import torch  # here, because the diagnosis of a finished run reads numbers and needs no torch

    wide = logits if logits.dtype == torch.float64 else logits.float()
    entropy: Tensor = torch.special.entr(torch.softmax(wide, dim=-1)).sum(dim=-1)
    return entropy


def class_means(values: ArrayLike, planning_mask: ArrayLike) -> ClassMeans:
    """Mean of per-token values by class, in float64.

    values: (N,) any float type. planning_mask: (N,) bool; the other tokens are execution tokens.
    """
    wide = np.asarray(values, dtype=np.float64)
    planning = np.asarray(planning_mask, dtype=bool)
    if wide.shape != planning.shape:
        raise ValueError(f"{wide.shape} values for a planning mask of shape {planning.shape}")
    return ClassMeans(planning=_mean(wide[planning]), execution=_mean(wide[~planning]), all=_mean(wide))


def relative_perplexity(mean_logprobs: Sequence[float]) -> list[float]:
    """Perplexity of a token class at each step, divided by its value at the first step.

    mean_logprobs: per step the mean log-prob (nats, at most 0) of the class's tokens; perplexity is exp(-mean).
    Returns one ratio per step: 1.0 at the first, below 1 where the policy became surer. Steps without tokens of
    the class are nan, and the first step that has some is the reference. Source: arXiv 2509.03646v3, section 2.2.1.
    """
    logprobs = np.asarray(mean_logprobs, dtype=np.float64)
    measured = logprobs[np.isfinite(logprobs)]
    if measured.size == 0:
        return [float("nan")] * logprobs.size
    # exp(-a) / exp(-b) = exp(b - a), which cannot overflow before the ratio itself does
    ratios: list[float] = np.exp(measured[0] - logprobs).tolist()
    return ratios


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if values.size else float("nan")
