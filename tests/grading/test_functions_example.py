"""The reward of examples/ does what its text says."""

from pathlib import Path

from hicra_cli.config.task import TaskConfig
from hicra_cli.core.records import Outcome
from hicra_cli.grading.rewards import RewardCall, RewardPool

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "reward_function.py"


def test_the_example_rewards_right_and_brief_answers():
    right = "3 * 5 + 7 = 22, so \\boxed{3*5+7}"
    calls = [
        RewardCall("right", "q", right, "3 5 7 -> 22", truncated=False),
        RewardCall("long", "q", " " * 2000 + right, "3 5 7 -> 22", truncated=False),
        RewardCall("wrong", "q", "\\boxed{3+5+7}", "3 5 7 -> 22", truncated=False),
        RewardCall("cut", "q", "3 times", "3 5 7 -> 22", truncated=True),
    ]
    with RewardPool(TaskConfig(reward=f"{EXAMPLE}:brief_and_right")) as pool:
        verdicts = pool.verdicts(calls)
    # 32 characters cost 0.0032 of the reward, 2,032 cost 0.2032
    assert [round(each.reward, 4) for each in verdicts] == [0.9968, 0.7968, 0.0, 0.0]
    outcomes = [Outcome.CORRECT, Outcome.CORRECT, Outcome.WRONG, Outcome.TRUNCATED]
    assert [each.outcome for each in verdicts] == outcomes
