"""Diagnostics as plain functions of numbers: entropies, scores of k samples, intervals, paired comparison.

Names load their module on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hicra_cli.metrics.entropy import relative_perplexity, token_entropy
    from hicra_cli.metrics.intervals import accuracy_interval
    from hicra_cli.metrics.majority import majority_at_k
    from hicra_cli.metrics.paired import paired_difference
    from hicra_cli.metrics.passk import pass_at_k, pass_hat_k
    from hicra_cli.metrics.semantic import conditional_entropy, semantic_entropy

__all__ = [
    "accuracy_interval",
    "conditional_entropy",
    "majority_at_k",
    "paired_difference",
    "pass_at_k",
    "pass_hat_k",
    "relative_perplexity",
    "semantic_entropy",
    "token_entropy",
]

_HOMES = {
    "accuracy_interval": "hicra_cli.metrics.intervals",
    "conditional_entropy": "hicra_cli.metrics.semantic",
    "majority_at_k": "hicra_cli.metrics.majority",
    "paired_difference": "hicra_cli.metrics.paired",
    "pass_at_k": "hicra_cli.metrics.passk",
    "pass_hat_k": "hicra_cli.metrics.passk",
    "relative_perplexity": "hicra_cli.metrics.entropy",
    "semantic_entropy": "hicra_cli.metrics.semantic",
    "token_entropy": "hicra_cli.metrics.entropy",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
