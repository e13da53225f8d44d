"""hicra's trainer as a run builds it, on the random models of the benchmarks."""

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from hicra_cli.config.root import HicraConfig
from hicra_cli.core.progress import SilentProgress
from hicra_cli.core.records import Prompt
from hicra_cli.engine.policy import LoadedPolicy
from hicra_cli.grams.gram_set import GramSet
from hicra_cli.stages.train.setup import build_run
from hicra_cli.stages.train.state import TrainState
from hicra_cli.stages.train.tools import StepTools

REWARD = "tests.benchmarks.hicra_side:score"
DEAD = "never"


def configuration(folder: Path, prompts: list[Prompt], *, device: str, threads: int, **train: Any) -> HicraConfig:
    """Problems from a file with a reward of one's own; everything not named here or in `train` is the default."""
    problems = folder / "problems.jsonl"
    rows = [{"id": each.id, "problem": each.text, "answer": each.answer or "sometimes"} for each in prompts]
    problems.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return HicraConfig.model_validate(
        {
            "home": folder / "home",
            "device": device,
            "threads": threads,
            "task": {"kind": "maths", "train_data": [str(problems)], "instruction": "", "reward": REWARD},
            "train": {"warmup_steps": 0, **train},
        }
    )


def build(config: HicraConfig, policy_path: Path, stack: ExitStack) -> tuple[TrainState, StepTools, LoadedPolicy]:
    """State and tools of a run, its self-checks made."""
    grams = GramSet.from_phrases(["let me check", "what if we"])
    built: tuple[TrainState, StepTools, LoadedPolicy] = build_run(
        config, policy_path, None, grams, SilentProgress(), stack
    )
    return built


def score(prompt: str, response: str, answer: str, metadata: dict[str, Any], truncated: bool) -> float:
    """1 for responses of an even number of words, but always 0 where the answer says so: a group without signal."""
    return 0.0 if answer == DEAD else float(len(response.split()) % 2 == 0)
