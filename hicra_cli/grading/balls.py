"""Numbers with a bound on their error, the arithmetic they live in, and the work that may be spent on them."""

from dataclasses import dataclass
from typing import Any, TypeAlias

import mpmath  # type: ignore[import-untyped]

MAX_OPERATIONS = 20_000  # some 0.3 seconds

Value: TypeAlias = Any  # mpf or mpc of the arithmetic in use: mpmath is not typed


class TooCostly(Exception):
    """The work allowed for a comparison is used up."""


class Budget:
    """Operations that may still be done; one at high precision counts as many."""

    def __init__(self, operations: int = MAX_OPERATIONS) -> None:
        self.left = operations

    def spend(self, operations: int) -> None:
        """Raises TooCostly where nothing is left."""
        self.left -= operations
        if self.left < 0:
            raise TooCostly


class TooLarge(Exception):
    """The value cannot be computed within the limits, or not to any digit."""


@dataclass(frozen=True, slots=True)
class Ball:
    """All numbers within 2^error of value."""

    value: Value
    error: int


def arithmetic(prec: int) -> Any:
    """A context of mpmath of our own with `prec` bits: the global one may be changed by other code."""
    found = mpmath.MPContext() if hasattr(mpmath, "MPContext") else mpmath.ctx_mp.MPContext()
    found.prec = prec
    return found
