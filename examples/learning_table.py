"""Does HICRA learn something else than GRPO? Several algorithms, several seeds, one budget, on the built-in task.

    python examples/learning_table.py --home learning                    # 5 algorithms x 5 seeds, about 40 minutes
    python examples/learning_table.py --home learning --seeds 0 1 --algos grpo hicra --steps 10

Prints a table in Markdown: after training, accuracy on held-out problems, semantic entropy (nats, rarefied, over the
last steps) and response length, each with the difference to the first algorithm. Runs are paired by seed: same
problems, same random numbers. Intervals are 95 %, Student's t over seeds; what varies between seeds is in them, what
varies between tasks or models is not. Everything is published in HOME: killed or repeated, the script goes on.
"""

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hicra_cli.config.load import load_config
from hicra_cli.config.root import HicraConfig
from hicra_cli.core.output import Output
from hicra_cli.core.progress import Progress
from hicra_cli.core.registry import Artifact, Registry
from hicra_cli.metrics.intervals import question_interval
from hicra_cli.stages import annotate_grams, collect_grams, curate, diagnose
from hicra_cli.stages import eval as evaluate
from hicra_cli.stages.base import Stage, execute
from hicra_cli.stages.train import run as train

ALGOS = ("grpo", "hicra", "entropy-reg", "placebo", "zero-sum")
WINDOW = 5  # steps whose rollouts are pooled for semantic entropy and length
MEASURES = {"accuracy": "accuracy, %", "semantic_entropy": "semantic entropy, nats", "length": "length, tokens"}

Figures = dict[str, list[float]]
"""measure → a value per seed."""


def main() -> None:
    options = parse_options()
    progress = Output(results=sys.stdout, talk=sys.stderr, quiet=options.quiet)
    with Registry.open(options.home) as registry:
        grams = mine(options, registry, progress)
        figures: dict[str, Figures] = {algo: {measure: [] for measure in MEASURES} for algo in options.algos}
        for seed in options.seeds:
            for algo, measured in one_seed(seed, grams, options, registry, progress).items():
                for measure, value in measured.items():
                    figures[algo][measure].append(value)
    print(table(figures, seeds=len(options.seeds)))


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, default=Path(".hicra"))
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(5)))
    parser.add_argument("--algos", nargs="+", default=list(ALGOS), help="the first one is what others are compared to")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--questions", type=int, default=512, help="held-out problems, 4 samples each")
    parser.add_argument("--quiet", action="store_true")
    return parser.parse_args()


def mine(options: argparse.Namespace, registry: Registry, progress: Progress) -> dict[str, Artifact]:
    """The gram-set of the built-in model, and a placebo matched to it: the same ones for every seed."""

    def made(stage: Stage, *settings: str) -> Artifact:
        return execute(stage, configuration(options, *settings), registry, progress, resume=True).artifact

    candidates = made(collect_grams.STAGE)
    annotations = made(annotate_grams.STAGE, f"annotate.candidates={candidates.ref}")
    strategic = made(curate.STAGE, f"curate.annotations={annotations.ref}", f"curate.candidates={candidates.ref}")
    if "placebo" not in options.algos:
        return {"strategic": strategic}
    # nano's vocabulary is small: without every n-gram it uses there would be too few to draw a placebo from.
    everything = ("collect.merge_phrases=false", "collect.drop_names=false", "collect.min_document_frequency=1")
    candidates = made(collect_grams.STAGE, "collect.name=all", *everything)
    drawn = ("curate.placebo=true", f"curate.gram_set={strategic.ref}", f"curate.candidates={candidates.ref}")
    return {"strategic": strategic, "placebo": made(curate.STAGE, *drawn)}


def one_seed(
    seed: int, grams: Mapping[str, Artifact], options: argparse.Namespace, registry: Registry, progress: Progress
) -> dict[str, dict[str, float]]:
    """Train and evaluate every algorithm with this seed; semantic entropy counts the strategic grams in all of them."""
    trainings, accuracy = {}, {}
    for algo in options.algos:
        gram_set = grams["placebo" if algo == "placebo" else "strategic"]
        settings = [f"train.algo={algo}", f"train.gram_set={gram_set.ref}", f"train.name={algo}-seed-{seed}"]
        config = configuration(options, *settings, seed=seed)
        trainings[algo] = execute(train.STAGE, config, registry, progress, resume=True).artifact
        policy = trainings[algo].summary["policies"][-1]["policy"]
        config = configuration(options, f"eval.policy={policy}", f"eval.name={algo}-seed-{seed}", seed=seed)
        evaluation = execute(evaluate.STAGE, config, registry, progress, resume=True).artifact
        accuracy[algo] = evaluation.summary["countdown"]["average"]
    settings = [
        f"diagnose.trainings={json.dumps([each.ref for each in trainings.values()])}",
        f"diagnose.gram_set={grams['strategic'].ref}",
        f"diagnose.window={min(WINDOW, options.steps)}",
        f"diagnose.name=seed-{seed}",
    ]
    diagnosis = execute(diagnose.STAGE, configuration(options, *settings, seed=seed), registry, progress).artifact
    runs = json.loads(diagnosis.file("diagnosis.json").read_text())["runs"]
    return {
        algo: {
            "accuracy": 100 * accuracy[algo],
            "semantic_entropy": run["series"]["hicra/semantic_entropy_rarefied_nats"][-1],
            "length": float(np.mean(run["series"]["response/length_mean_tokens"][-WINDOW:])),
        }
        for algo, run in zip(trainings, runs, strict=True)
    }


def configuration(options: argparse.Namespace, *settings: str, seed: int = 0) -> HicraConfig:
    """The quickstart's settings with some changed."""
    common = [f"seed={seed}", f"train.steps={options.steps}", f"eval.countdown_questions={options.questions}"]
    return load_config(["quickstart"], settings=[*common, *settings]).config


def table(figures: Mapping[str, Figures], *, seeds: int) -> str:
    """Markdown: per algorithm each measure's mean over seeds, and the paired difference to the first algorithm."""
    baseline = next(iter(figures))
    titles = [part for title in MEASURES.values() for part in (title, f"minus {baseline}")]
    lines = [f"| {seeds} seeds | {' | '.join(titles)} |", "| --- |" + " ---: |" * len(titles)]
    for algo, measured in figures.items():
        cells = []
        for measure in MEASURES:
            values = np.array(measured[measure], dtype=np.float64)
            difference = values - np.array(figures[baseline][measure], dtype=np.float64)
            cells += [interval(values), "" if algo == baseline else interval(difference, signed=True)]
        lines.append(f"| {algo} | {' | '.join(cells)} |")
    return "\n".join(lines)


def interval(values: Sequence[float] | Any, *, signed: bool = False) -> str:
    """Mean and 95 % interval over seeds; one seed has no interval."""
    found = question_interval([np.array([value]) for value in values])
    mean = f"{found.mean:+.2f}" if signed else f"{found.mean:.2f}"
    return mean if math.isnan(found.low) else f"{mean} ({found.low:.2f} to {found.high:.2f})"


if __name__ == "__main__":
    main()
