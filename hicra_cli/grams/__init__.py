"""Strategic grams: sets of them, and where they occur in rollouts.

Loaded when first used, so that importing a neighbour costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hicra_cli.grams.gram_set import GramSet
    from hicra_cli.grams.matcher import PlanningMatcher, TextMatcher

__all__ = ["GramSet", "PlanningMatcher", "TextMatcher"]

_HOMES = {"GramSet": "gram_set", "PlanningMatcher": "matcher", "TextMatcher": "matcher"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
