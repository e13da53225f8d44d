r"""Strict grading: the last complete `\boxed{...}` against the gold, exact forms first, algebra behind a clock.

    grade("... so \\boxed{\\frac{1}{2}}", "0.5").outcome        # Outcome.CORRECT

For more than a few answers use `GradingPool`, which keeps its worker processes.
"""

from hicra_cli.core.records import Verdict
from hicra_cli.grading.pool import Gold, GradingPool

GRADER_VERSION = "1"

__all__ = ["GRADER_VERSION", "Gold", "GradingPool", "grade"]


def grade(response: str, gold: Gold, *, truncated: bool = False, timeout_s: float = 5.0) -> Verdict:
    """The verdict on one response. `gold` may be a list of alternatives.

    truncated: the response hit the token limit; without an answer its outcome is then `truncated`. Where algebra has
    to decide, a worker process is started for this call alone (about a second).
    """
    with GradingPool(workers=1, timeout_s=timeout_s) as pool:
        return pool.grade_many([(response, gold, truncated)])[0]
