"""A reward of your own: right answers count 1, a little less for every thousand characters they take.

    hicra train -c quickstart --set task.reward=examples/reward_function.py:brief_and_right

The function is called once per response, in worker processes that are stopped when it hangs. It takes these five
arguments by name and returns a number, (number, outcome), or a dict with `reward`, `outcome` and `detail`. What it
raises is counted and shown, never a silent 0. Other ways to name one: `package.module:function` and the name of an
entry point that an installed package offers in the group `hicra.rewards`.
"""

from hicra_cli.tasks.countdown import grade_countdown


def brief_and_right(prompt, response, answer, metadata, truncated):
    """answer: the gold of the task, for countdown "3 5 7 -> 22". metadata: the other fields of the problem's row."""
    verdict = grade_countdown(response, answer, truncated=truncated)
    penalty = min(0.5, 0.1 * len(response) / 1000)
    return {"reward": verdict.reward * (1 - penalty), "outcome": verdict.outcome, "detail": verdict.detail}
