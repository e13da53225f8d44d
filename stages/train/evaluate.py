"""The evaluation inside a run: the same held-out problems each time, graded like everything else."""

import math
from typing import Any

import numpy as np

from hicra_cli.config.train import TrainConfig
from hicra_cli.core.records import Outcome
from hicra_cli.engine.base import Draws
from hicra_cli.metrics.intervals import accuracy_interval

from .sample import graded_groups
from .stop import StopSignal
from .tools import StepTools


def evaluate(step: int, tools: StepTools, config: TrainConfig, stop: StopSignal) -> dict[str, Any]:
    """Accuracy on `eval_prompts` held-out problems × `eval_samples`, with a 95 % interval clustered by question.

    It may take minutes and leaves no trace before its end, so a signal ends it at once.
    """
    prompts = tools.task.held_out(config.eval_prompts)
    draws = Draws(tools.seed, "eval", step)
    with stop.allowed():
        groups = graded_groups(prompts, config.sampling, draws, tools, stop, samples=config.eval_samples)
    rollouts, verdicts = zip(*(pair for group in groups for pair in group), strict=True)
    # Not the rewards: a user's function may give any number for a right answer.
    correct = np.array([verdict.outcome is Outcome.CORRECT for verdict in verdicts], dtype=np.float64)
    interval = accuracy_interval(correct.reshape(len(prompts), -1))
    return {
        "eval/reward_mean": float(np.mean([verdict.reward for verdict in verdicts])),
        "eval/accuracy": interval.mean,
        "eval/low": None if math.isnan(interval.low) else interval.low,
        "eval/high": None if math.isnan(interval.high) else interval.high,
        "eval/length_mean_tokens": float(np.mean([len(each.token_ids) for each in rollouts])),
    }
