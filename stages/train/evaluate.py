"""The evaluation inside a run: the same held-out problems each time, graded like everything else."""

import math
from typing import Any

import numpy as np

from hicra_cli.config.train import TrainConfig
from hicra_cli.core.records import Outcome
from hicra_cli.engine.base import Draws, Request
from hicra_cli.metrics.intervals import accuracy_interval

from .tools import StepTools


def evaluate(step: int, tools: StepTools, config: TrainConfig) -> dict[str, Any]:
    """Accuracy on `eval_prompts` held-out problems × `eval_samples`, with a 95 % interval clustered by question."""
    prompts = tools.task.held_out(config.eval_prompts)
    samples = tuple(range(config.eval_samples))
    requests = [Request(prompt, tools.render(prompt), samples) for prompt in prompts]
    rollouts = tools.engine.generate(requests, config.sampling, Draws(tools.seed, "eval", step))
    verdicts = tools.task.verdicts(rollouts)
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
