"""Diagnostics as plain functions of numbers: entropies, pass@k, intervals. Names load their module on first use."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hicra_cli.metrics.entropy import relative_perplexity, token_entropy
    from hicra_cli.metrics.passk import pass_at_k
    from hicra_cli.metrics.semantic import conditional_entropy, semantic_entropy

__all__ = ["conditional_entropy", "pass_at_k", "relative_perplexity", "semantic_entropy", "token_entropy"]

_HOMES = {
    "conditional_entropy": "hicra_cli.metrics.semantic",
    "pass_at_k": "hicra_cli.metrics.passk",
    "relative_perplexity": "hicra_cli.metrics.entropy",
    "semantic_entropy": "hicra_cli.metrics.semantic",
    "token_entropy": "hicra_cli.metrics.entropy",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
