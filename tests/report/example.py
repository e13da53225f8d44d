"""A diagnosis made of smooth invented curves, to draw and to check the page with; no claim about any training."""

import math

import numpy as np

from hicra_cli.report.diagnosis import (
    Check,
    Diagnosis,
    EvaluationRow,
    GramSetFacts,
    GramUse,
    LineageLine,
    Mark,
    Rarefaction,
    Run,
    Sample,
)

TEXT = (
    "let's start with the larger numbers. 7 * 8 = 56, and 56 - 3 = 53. but that is not the target. "
    "let's try a different approach. 7 + 8 = 15, and 15 * 3 = 45. the answer is \\boxed{(7+8)*3}"
)


def example(
    *, steps: int = 40, labels: tuple[str, ...] = ("grpo", "hicra"), text: str = TEXT, unit="nats"
) -> Diagnosis:
    """Runs named `labels` of so many steps; `text` is what the sampled model wrote and is also used as names."""
    return Diagnosis(
        title=" and ".join(labels),
        unit=unit,
        window=1,
        following_words=3,
        gram_set=GramSetFacts(
            "gram-set:default@v1", "ab" * 32, 57, 0, {"backtracing": 12, "branching": 20, "deduction": 25}
        ),
        rarefaction=Rarefaction(floor=50, occurrences=212, pairs=180),
        runs=tuple(_run(label, index, steps, text) for index, label in enumerate(labels)),
        evaluations=tuple(_evaluation(label, index) for index, label in enumerate(("nano", *labels))),
        lineage=(
            LineageLine(0, "", "training:hicra@v1", "cd" * 32),
            LineageLine(1, "policy", "nano", "ef" * 32),
            LineageLine(1, "gram_set", "gram-set:default@v1", "ab" * 32),
            LineageLine(2, "annotations", "annotations:default@v1", "01" * 32),
        ),
        notes=("One seed per run: differences between runs are no evidence for either algorithm.",),
        hicra_version="0.1.0",
    )


def _run(label: str, index: int, steps: int, text: str) -> Run:
    noise = np.random.Generator(np.random.Philox(index))
    progress = np.linspace(0, 1, steps)

    def curve(first: float, last: float, spread: float) -> list[float]:
        rise = 1 - np.exp(-3 * progress)
        return [float(value) for value in first + (last - first) * rise + noise.normal(0, spread, steps)]

    series = {
        "reward/mean": curve(0.3, 0.66 + 0.03 * index, 0.025),
        "reward/accuracy": curve(0.3, 0.66 + 0.03 * index, 0.025),
        "reward/pass_at_group": curve(0.7, 0.88, 0.03),
        "response/length_mean_tokens": curve(44, 74 + 5 * index, 1.5),
        "response/clipped_fraction": curve(0.01, 0.02, 0.003),
        "hicra/planning_fraction": curve(0.11, 0.16 + 0.05 * index, 0.004),
        "policy/token_entropy_nats": curve(0.32, 0.24, 0.006),
        "policy/token_entropy_planning_nats": curve(0.62, 0.58, 0.012),
        "policy/token_entropy_execution_nats": curve(0.28, 0.17, 0.006),
        "policy/relative_perplexity_planning": [1.0, *curve(1.0, 0.95, 0.012)[1:]],
        "policy/relative_perplexity_execution": [1.0, *curve(1.0, 0.86, 0.006)[1:]],
        "hicra/semantic_entropy_nats": curve(2.1, 2.9 + 0.1 * index, 0.03),
        "hicra/semantic_entropy_rarefied_nats": curve(2.05, 2.7 + 0.1 * index, 0.03),
        "hicra/semantic_entropy_normalised": curve(0.5, 0.7, 0.008),
        "hicra/conditional_entropy_nats": curve(1.9, 1.8, 0.03),
        "hicra/conditional_entropy_rarefied_nats": curve(1.6, 1.5, 0.03),
    }
    return Run(
        ref=f"training:{label}@v1",
        label=label,
        digest="cd" * 32,
        facts={"algo": label, "steps": f"{steps} steps", "policy": "from nano", "seed": "seed 0"},
        settings={"train.algo": label, "train.lr": "0.0003", "seed": "0"},
        steps=tuple(range(1, steps + 1)),
        edge=max(1, round(steps / 10)),
        series=series,
        validation=tuple(
            (step, 0.3 + 0.35 * step / steps, 0.26 + 0.35 * step / steps, 0.34 + 0.35 * step / steps)
            for step in range(10, steps + 1, 10)
        ),
        grams=(
            GramUse("let's try a different approach", "branching", 400, 0.10, 0.22),
            GramUse("but that is not the", "backtracing", 300, 0.20, 0.15),
            GramUse("let's start with the larger", "deduction", 200, 0.30, 0.21),
        ),
        samples=tuple(_sample(step, text) for step in (1, steps)),
        checks=(
            Check("reward/accuracy", steps, 0.0, 1, 1e-6),
            Check("policy/logprob_planning_nats", steps, 3e-4, 7, 1e-6),
        ),
    )


def _sample(step: int, text: str) -> Sample:
    marks = tuple(
        Mark(text.find(gram), text.find(gram) + len(gram), gram, move)
        for gram, move in (
            ("let's start with the larger", "deduction"),
            ("but that is not the", "backtracing"),
            ("let's try a different approach", "branching"),
        )
        if gram in text
    )
    return Sample(
        step,
        f"countdown/3-7-8-45 {text[:30]}",
        2,
        "Reach 45 with 3, 7, 8.",
        text,
        "correct" if step > 1 else "wrong",
        61,
        0.31,
        marks,
    )


def _evaluation(policy: str, index: int) -> EvaluationRow:
    average = (0.31, 0.64, 0.66)[index % 3]
    return EvaluationRow(
        bench="countdown",
        ref=f"evaluation:{policy}@v1",
        policy=policy,
        run=policy if index else "",
        questions=512,
        samples=4,
        average=average,
        low=average - 0.03,
        high=average + 0.03,
        pass_at_k={"1": average, "4": average + 0.2},
        truncated_fraction=0.01,
        mean_tokens=61.0,
        difference=math.nan if index == 0 else average - 0.31,
        difference_low=math.nan if index == 0 else average - 0.34,
        difference_high=math.nan if index == 0 else average - 0.28,
    )
