"""Figures of a model on held-out countdown problems: how often it is right, and why it fails.

A failure is *careless* when something in it is false or unreadable: an equation that does not hold, a box that does
not use the given numbers once each, a box that is not the result just reached. Every other failure is *strategic*:
all that was calculated is right, but it does not reach the target.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hicra_cli.config.sampling import SamplingConfig
from hicra_cli.core.records import FinishReason, Outcome, Rollout
from hicra_cli.engine.base import Draws, Request
from hicra_cli.engine.transformers_engine import TransformersEngine
from hicra_cli.grading.boxed import last_box
from hicra_cli.tasks.countdown import CountdownTask, ExpressionError, evaluate

_EQUATION = re.compile(r"(\d{1,4} [-+*/] \d{1,4}) = (\d{1,4})")


@dataclass(frozen=True, slots=True)
class Figures:
    """avg_at_k and pass_at_k of k samples per problem; shares lie in [0, 1], the length counts the stop token."""

    problems: int
    samples: int
    avg_at_k: float
    pass_at_k: float
    careless_fraction_of_failures: float
    truncated_fraction: float
    mean_response_tokens: float


def evaluate_countdown(
    model: Any, tokenizer: Any, *, problems: int, samples: int, max_new_tokens: int, seed: int
) -> Figures:
    """Sample held-out problems of three numbers at temperature 1 and grade them."""
    task = CountdownTask()
    requests = [
        Request(prompt, np.array(question_ids(tokenizer, prompt.text), np.int32), tuple(range(samples)))
        for prompt in task.held_out(problems)
    ]
    sampling = SamplingConfig(temperature=1.0, max_new_tokens=max_new_tokens)
    with TransformersEngine(model, tokenizer, stop_ids=[tokenizer.eos_token_id]) as engine:
        rollouts = engine.generate(requests, sampling, Draws(seed, "embedded-evaluation"))
    verdicts = task.verdicts(rollouts)
    solved = np.array([verdict.outcome is Outcome.CORRECT for verdict in verdicts]).reshape(problems, samples)
    failed = [rollout for rollout, right in zip(rollouts, solved.ravel(), strict=True) if not right]
    return Figures(
        problems=problems,
        samples=samples,
        avg_at_k=round(float(solved.mean()), 4),
        pass_at_k=round(float(solved.any(axis=1).mean()), 4),
        careless_fraction_of_failures=round(_share([is_careless(rollout) for rollout in failed]), 4),
        truncated_fraction=round(_share([rollout.finish_reason is FinishReason.LENGTH for rollout in rollouts]), 4),
        mean_response_tokens=round(float(np.mean([len(rollout.token_ids) for rollout in rollouts])), 2),
    )


def question_ids(tokenizer: Any, text: str) -> list[int]:
    """The templated ids of one question."""
    messages = [{"role": "user", "content": text}]
    templated = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    return list(tokenizer.encode(templated, add_special_tokens=False))


def is_careless(rollout: Rollout) -> bool:
    """Whether a failed rollout holds something false or unreadable; a cut one is judged by its equations alone."""
    equations = _EQUATION.findall(rollout.text)
    if any(_value(left) != int(right) for left, right in equations):
        return True
    if rollout.finish_reason is FinishReason.LENGTH:
        return False
    try:
        value, used = evaluate(last_box(rollout.text) or "")
    except ExpressionError:
        return True
    numbers = [int(number) for number in rollout.prompt.answer.partition(" -> ")[0].split()]
    return sorted(used) != numbers or not equations or value != int(equations[-1][1])


def _value(equation_side: str) -> object:
    try:
        return evaluate(equation_side)[0]
    except ExpressionError:
        return None


def _share(flags: Sequence[bool]) -> float:
    return sum(flags) / len(flags) if flags else 0.0
