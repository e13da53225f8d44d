r"""Strict grading: the last complete `\boxed{...}` against the gold, exact forms first, algebra behind a clock.

    grade("... so \\boxed{\\frac{1}{2}}", "0.5").outcome        # Outcome.CORRECT
    grade_answer("1/2", ["0.5", "50\\%"]).outcome               # Outcome.CORRECT

Both keep a worker process for answers that need algebra; for many responses at once use `GradingPool`.
"""

from hicra_cli.core.records import Outcome, Verdict
from hicra_cli.grading.normalform import normal_form
from hicra_cli.grading.pool import Gold, GradingPool, Item, Mode
from hicra_cli.grading.shared import grade, grade_answer
from hicra_cli.grading.version import GRADER_VERSION

__all__ = [
    "GRADER_VERSION",
    "Gold",
    "GradingPool",
    "Item",
    "Mode",
    "Outcome",
    "Verdict",
    "grade",
    "grade_answer",
    "normal_form",
]
