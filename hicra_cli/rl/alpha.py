"""How strongly planning tokens are amplified at each step: constant, ramped, or opened by the run itself.

The paper's two phases are the reason for `adaptive`: procedure is learnt first, and only when the perplexity of
execution tokens has flattened does strategy become the bottleneck. Its authors name an adaptive alpha as future work.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

Schedule = Literal["constant", "linear", "cosine", "adaptive"]


def scheduled_fraction(schedule: Schedule, step: int, *, steps: int) -> float:
    """Share of alpha at `step` (0 is the first of `steps`): 1, or rising from 0 to 1 over the run.

    linear: step / (steps - 1). cosine: (1 - cos(pi * step / (steps - 1))) / 2.
    """
    if schedule == "constant" or steps == 1:
        return 1.0
    part = min(1.0, step / (steps - 1))
    return part if schedule == "linear" else (1 - math.cos(math.pi * part)) / 2


@dataclass(frozen=True, slots=True)
class AdaptiveAlpha:
    """The controller of `adaptive`, a value: `seen` returns the next one. All of it is kept in checkpoints.

    With p the execution tokens' perplexity and a the accuracy of a step, both smoothed by
    m_k = decay * m_(k-1) + (1 - decay) * x_k (the first value starts it):

    - execution is flat when |p_k - p_(k-window)| <= tolerance * p_(k-window);
    - the gate opens, for good, at the first step with flat execution and accuracy a_k >= min_accuracy;
    - from then on the share of alpha is min(1, (steps since opening) / ramp_steps); before it is 0.
    """

    window: int = 10
    tolerance: float = 0.02
    min_accuracy: float = 0.1
    decay: float = 0.8
    ramp_steps: int = 20
    perplexities: tuple[float, ...] = ()
    accuracy: float | None = None
    steps_open: int = 0

    @property
    def fraction(self) -> float:
        """Share of alpha for the next step, in [0, 1]."""
        return min(1.0, self.steps_open / self.ramp_steps)

    @property
    def is_open(self) -> bool:
        """Whether the gate has opened."""
        return self.steps_open > 0

    def seen(self, *, execution_perplexity: float, accuracy: float) -> "AdaptiveAlpha":
        """The controller after a step with these figures; a perplexity that is no number (no execution token) is
        passed over."""
        if self.is_open:
            return replace(self, steps_open=self.steps_open + 1)
        smoothed = self.accuracy if self.accuracy is not None else accuracy
        rate = self.decay * smoothed + (1 - self.decay) * accuracy
        history = self.perplexities
        if math.isfinite(execution_perplexity):
            last = history[-1] if history else execution_perplexity
            history = (*history, self.decay * last + (1 - self.decay) * execution_perplexity)[-self.window - 1 :]
        opened = len(history) > self.window and self._is_flat(history) and rate >= self.min_accuracy
        return replace(self, perplexities=history, accuracy=rate, steps_open=int(opened))

    def _is_flat(self, history: tuple[float, ...]) -> bool:
        return abs(history[-1] - history[0]) <= self.tolerance * history[0]
