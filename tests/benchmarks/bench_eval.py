"""Measures what an evaluation costs besides sampling: keeping every row on disk and grading it meanwhile.

    python -m tests.benchmarks.bench_eval [--questions 512] [--samples 4] [--repeats 5]

Prints the ratio of sampling inside `hicra eval` to the engine's bare `generate` of the same requests, and the seconds
from the last sample to the published artifact per second of sampling. Embedded model, countdown, one thread; the
worst case, for a response of a larger model takes longer and is kept and graded in the same time.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from hicra_cli.config.root import HicraConfig
from hicra_cli.core.progress import SilentProgress
from hicra_cli.core.registry import Registry
from hicra_cli.embedded import policy_path
from hicra_cli.engine.base import Draws
from hicra_cli.engine.factory import build_engine, set_threads
from hicra_cli.engine.policy import load_tokenizer
from hicra_cli.stages.base import execute
from hicra_cli.stages.eval import STAGE
from hicra_cli.stages.eval_questions import read_exam
from hicra_cli.stages.eval_sampling import missing_questions


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--questions", type=int, default=512)
    arguments.add_argument("--samples", type=int, default=4)
    arguments.add_argument("--repeats", type=int, default=5)
    options = arguments.parse_args()
    settings = {
        "device": "cpu",
        "threads": 1,
        "eval": {"bench": ["countdown"], "countdown_questions": options.questions, "samples": options.samples},
    }
    bare, inside, after = [], [], []
    bare_seconds(HicraConfig.model_validate(settings))  # libraries and caches
    for seed in range(options.repeats):
        config = HicraConfig.model_validate({**settings, "seed": seed})
        bare.append(bare_seconds(config))
        sampling_s, rest_s = stage_seconds(config)
        inside.append(sampling_s)
        after.append(rest_s)
    ratios = sorted(b / a for a, b in zip(bare, inside, strict=True))
    print(f"{options.questions} x {options.samples} samples, bare median {statistics.median(bare):.2f} s")
    print(f"  sampling inside eval / bare: {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")
    shares = sorted(b / a for a, b in zip(inside, after, strict=True))
    print(f"  last sample to publication / sampling: {statistics.median(shares):.2f}")


def bare_seconds(config: HicraConfig) -> float:
    """The engine alone, nothing kept."""
    path = policy_path("nano")
    assert path is not None
    set_threads(config)
    questions = missing_questions(read_exam(config), load_tokenizer(path), path, frozenset(), config)
    requests = [each.request for each in questions]
    with build_engine(config, path, sampling=config.eval.sampling) as engine:
        started = time.monotonic()
        engine.generate(requests, config.eval.sampling, Draws(config.seed, "eval"), keep=False)
        return time.monotonic() - started


def stage_seconds(config: HicraConfig) -> tuple[float, float]:
    """Of the stage: sampling with log and grading, and what comes after the last sample."""
    with tempfile.TemporaryDirectory() as home, Registry.open(Path(home)) as registry:
        clock = Clock()
        result = execute(STAGE, config, registry, clock)
        ended = time.monotonic()
        (run,) = registry.runs(run_id=result.run_id)
        return run.metrics["time/sample_s"], ended - clock.sampled


class Clock(SilentProgress):
    """Notes when sampling was over."""

    sampled = 0.0

    def note(self, text: str) -> None:
        if text.startswith("sampled"):
            self.sampled = time.monotonic()


if __name__ == "__main__":
    main()
