r"""Rules of other graders: what each is known to accept and to refuse."""

import pytest

from hicra_cli.core.errors import UsageError
from hicra_cli.grading.policies import POLICIES
from hicra_cli.grading.policy_pool import PolicyPool
from hicra_cli.grading.policy_qwen import extracted
from hicra_cli.grading.policy_strings import cleaned


def box(answer):
    return f"so \\boxed{{{answer}}}"


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("\\dfrac12", "\\frac{1}{2}"),
        ("\\frac1{72}", "\\frac{1}{72}"),
        ("\\frac{3}4", "\\frac{3}4"),
        ("\\left( 3, 4 \\right)", "(3,4)"),
        ("90^\\circ", "90"),
        ("5\\text{ cm}", "5"),
        ("50\\%", "50"),
        (".5", "\\frac{1}{2}"),
        ("x = 5", "5"),
        ("xyz=5", "xyz=5"),
        ("\\sqrt3", "\\sqrt{3}"),
        ("3/4", "\\frac{3}{4}"),
        ("03/4", "03/4"),
        ("a/4", "a/4"),
        ("\\frac", None),
        ("2\\sqrt", None),
        ("1\\text{ m}2\\text{ cm}", None),
        ("\\\\!2", "\\2"),
        ("", ""),
    ],
)
def test_cleaning_of_the_math_release(text, result):
    assert cleaned(text) == result


@pytest.mark.parametrize(
    ("policy", "response", "gold", "right"),
    [
        ("hendrycks", box("\\frac12"), "1/2", True),
        ("hendrycks", box("0.5"), "\\frac{1}{2}", True),
        ("hendrycks", box("0.25"), "\\frac{1}{4}", False),
        ("hendrycks", box("42."), "42", False),
        ("hendrycks", box("1,234"), "1234", False),
        ("hendrycks", "so 42", "42", False),
        ("hendrycks", box("1") + box("2"), "2", True),
        ("hendrycks", "\\fbox{2}", "2", True),
        ("hendrycks", "\\boxed{2", "2", False),
        ("verl", box("\\frac12"), "1/2", True),
        ("verl", "so $\\boxed 5$.", "5", True),
        ("verl", "so $\\boxed 5$. and \\boxed{6}", "6", False),
        ("verl", "\\boxed{7}</think> hm", "7", True),  # it does not know of thinking
        ("qwen", box("700"), "7", True),
        ("qwen", box("0.07"), "7", True),
        ("qwen", box("7.0005"), "7", True),
        ("qwen", box("7.01"), "7", False),
        ("qwen", "The answer is 7.", "7", True),
        ("qwen", "I count 6, then 7 of them", "7", True),
        ("qwen", box("5 \\text{ cm}"), "5", True),
        ("qwen", box("(1,4.5)"), "(1,\\frac{9}{2})", True),
        ("qwen", box("(1,4)"), "(1,5)", False),
        ("qwen", box("\\frac{x}{7}+\\frac{2}{7}"), "\\frac{x+2}{7}", True),
        ("qwen", box("\\$1,234"), "1234", True),
        ("qwen", "no idea", "7", False),
        ("math-verify", box("0.5"), "\\frac12", True),
        ("math-verify", "The answer is 7.", "7", True),
        ("math-verify", box("8"), "7", False),
        ("math-verify", box("10^{-20}"), "10^{-21}", True),  # its known mistake: an absolute tolerance
    ],
)
def test_each_policy_judges_by_its_rule(policy, response, gold, right):
    assert POLICIES[policy](response, gold) is right


def test_qwen_takes_an_unclosed_box_to_the_end():
    assert extracted("so \\boxed{5") == "5"


def test_policies_judge_in_processes_that_can_be_killed():
    # the parser tries every reading of each fraction: 2^30 of them
    hanging = box("\\frac{" * 30 + "1" + "}{2}" * 30)
    with PolicyPool("math-verify", timeout_s=1.0) as policies:
        items = [(box("7"), ["8", "7"], False), (hanging, ["7"], False), ("7", ["7"], True), (box("8"), ["7"], False)]
        judged = policies.judge(items)
        assert policies.judge([]) == []
    assert [each.correct for each in judged] == [True, None, True, False]
    assert "longer than 1 s" in judged[1].detail


def test_an_unknown_policy_is_refused():
    with pytest.raises(UsageError, match="Known: math-verify, verl, qwen, hendrycks"):
        PolicyPool("nobody")
