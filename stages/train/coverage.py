"""The coverage gate: an empty planning mask makes HICRA silently equal to GRPO, so the share is looked at each step."""

import numpy as np
from numpy.typing import NDArray

from hicra_cli.config.train import GRAM_ALGOS, TrainConfig
from hicra_cli.core.errors import TrainingError


def require_coverage(planning_mask: NDArray[np.bool_], config: TrainConfig) -> None:
    """Raises TrainingError, before the update, where HICRA would have nothing to amplify.

    planning_mask: (N,) bool of the step's response tokens.
    """
    if config.algo in GRAM_ALGOS and not planning_mask.any():
        raise TrainingError(
            f"none of the {planning_mask.size} response tokens of this step is a planning token, so HICRA would be "
            "plain GRPO",
            fix="Mine grams from this policy (hicra collect-grams, annotate-grams, curate) and pass --gram-set",
        )


def coverage_warning(fraction: float, config: TrainConfig) -> str | None:
    """What to say where the share of planning tokens lies outside `train.coverage`, else None."""
    low, high = config.coverage.low, config.coverage.high
    if low <= fraction <= high:
        return None
    return (
        f"{fraction:.2%} of the response tokens are planning tokens, outside {low:.1%} to {high:.1%} "
        "(train.coverage): the gram-set may not fit this policy"
    )
