r"""What other graders count as right, to explain a score that differs from a paper's. Never used for our own verdicts.

- `hendrycks`: the MATH release (2021), also in lm-evaluation-harness. The last box of the whole response; both texts
  cleaned by a list of replacements, then equal as strings.
- `verl`: `math_reward` of verl. The same strings; a box written with a blank (`\boxed 5`) reaches to the next `$`, and
  where a response holds such a one anywhere, it is the answer.
- `qwen`: the evaluation of Qwen2.5-Math. What follows the last word `boxed`, else "answer is", else the last number;
  units, percent and dollar signs dropped; equal within 1e-4 relative, also times 100 and divided by 100; lists element
  by element; formulas by algebra.
- `math-verify`: math-verify's `parse` and `verify` with their defaults and the gold in a box, as verl and TRL call it.

Each is written after the rule, not copied from the code: rare spellings may differ (number words and Qwen's list of 130
units are shortened here). Sources: hendrycks/math modeling/math_equivalence.py; verl utils/reward_score/math_reward.py;
QwenLM/Qwen2.5-Math evaluation/{grader,parser}.py; math-verify 0.9.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from hicra_cli.grading.policy_qwen import qwen
from hicra_cli.grading.policy_strings import hendrycks, verl


def math_verify(response: str, gold: str) -> bool:
    """Whether math-verify takes the response for right. May hang or raise: for workers with a clock of their own."""
    from math_verify import parse, verify

    expected = parse(f"\\boxed{{{gold}}}", parsing_timeout=None)
    return bool(verify(expected, parse(response, parsing_timeout=None), timeout_seconds=None))


POLICIES: Mapping[str, Callable[[str, str], bool]] = MappingProxyType(
    {"math-verify": math_verify, "verl": verl, "qwen": qwen, "hendrycks": hendrycks}
)
"""By name: whether a response is right, given one gold answer."""
