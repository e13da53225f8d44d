"""From kept samples and verdicts to the published files: `samples.jsonl` row by row, `summary.json` from its rows.

The figures are computed from the published file and from nothing else, so anyone can compute them again. What the
summary says besides comes from `eval_provenance.py`.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hicra_cli.core.errors import RunError
from hicra_cli.core.filesystem import storage_errors, write_durably
from hicra_cli.core.progress import Progress
from hicra_cli.core.records import Outcome

from .eval_summary import BenchScores, mean_summary
from .kept_lines import KeptLines, Row
from .samples import SAMPLES, Key, read_samples, write_samples

SUMMARY = "summary.json"
MEAN = "mean"


def publish_rows(folder: Path, keys: Sequence[Key], sampled: KeptLines[Key], verdicts: KeptLines[Key]) -> None:
    """Write `samples.jsonl` in the order of `keys`. RunError where a sample or a verdict is missing: none is padded."""
    missing = [key for key in keys if key not in sampled or key not in verdicts]
    if missing:
        bench, question, sample = missing[0]
        raise RunError(
            f"{len(missing)} of {len(keys)} samples are missing, the first is sample {sample} of {bench} {question}",
            fix="Go on with --resume",
        )
    rows = zip(sampled.read(keys), verdicts.read(keys), strict=True)
    write_samples(folder, (_published(row, verdict) for row, verdict in rows))


def write_summary(
    folder: Path, about: Mapping[str, Any], benches: Mapping[str, Mapping[str, Any]], settings: Mapping[str, Any]
) -> None:
    """Write `summary.json`: provenance, for each benchmark its figures and what is known of it (`benches`), their mean.

    settings: of the plan: which pass@k are asked for and which golds are in doubt.
    """
    scores = {name: BenchScores(doubtful=settings["bench"][name]["doubtful"]) for name in benches}
    for row in read_samples(folder / SAMPLES):
        scores[row["bench"]].add(row)
    figures = {name: {**scores[name].figures(settings["pass_k"]), **benches[name]} for name in benches}
    summary = {**about, "bench": figures, MEAN: mean_summary(figures)}
    text = json.dumps(summary, indent=1, allow_nan=False) + "\n"
    with storage_errors("writing the summary", folder):
        write_durably(folder / SUMMARY, text.encode())


def read_summary(folder: Path) -> dict[str, Any]:
    """`summary.json` as it was written."""
    summary: dict[str, Any] = json.loads((folder / SUMMARY).read_bytes())
    return summary


def headlines(summary: Mapping[str, Any]) -> dict[str, Any]:
    """The figures that the command line shows: of each benchmark and, of several, their mean."""
    benches = {name: _headline(bench) for name, bench in summary["bench"].items()}
    return {**benches, MEAN: summary[MEAN]} if len(benches) > 1 else benches


def warn_of_trouble(summary: Mapping[str, Any], progress: Progress) -> None:
    """Say what makes a score doubtful."""
    for name, bench in summary["bench"].items():
        if bench["prompts_too_long"]:
            progress.warn(f"{name}: {bench['prompts_too_long']} questions do not fit into the model's context")
        if bench["truncated_fraction"] > 0.05:
            share = bench["truncated_fraction"]
            progress.warn(f"{name}: {share:.0%} of the responses were cut at the token limit (--max-new-tokens)")
        _warn_of_extraction(name, bench, progress)
        for outcome in (Outcome.TIMEOUT, Outcome.ERROR):
            count = bench["outcomes"][outcome.value] - (
                bench["prompts_too_long_samples"] if outcome is Outcome.ERROR else 0
            )
            if count:
                progress.warn(f"{name}: {count} answers could not be compared ({outcome.value}); see {SAMPLES}")


def _headline(bench: Mapping[str, Any]) -> dict[str, Any]:
    shown = (
        "questions", "samples", "average", "low", "high", "truncated_fraction", "no_answer_fraction", "mean_tokens",
        "planning_fraction",
    )  # fmt: skip
    figures = {name: bench[name] for name in shown if bench.get(name) is not None}
    passed = {f"pass@{k}": value for k, value in bench["pass_at_k"].items() if value is not None}
    lenient = {} if bench["lenient"] is None else {"lenient_average": bench["lenient"]["average"]}
    return {**figures, **passed, **lenient, "outcomes": bench["outcomes"]}


def _warn_of_extraction(name: str, bench: Mapping[str, Any], progress: Progress) -> None:
    """Where the answers are there but not in a box, the score tells of the prompt rather than of the policy."""
    lenient = bench["lenient"]
    if lenient is not None and lenient["average"] - bench["average"] > 0.05:
        progress.warn(
            f"{name}: {bench['no_answer_fraction']:.0%} of the responses have no complete box; lenient extraction "
            f"would score {lenient['average']:.1%} instead of {bench['average']:.1%}"
        )


def _published(row: Row, verdict: Row) -> Row:
    """Sample, verdict, and last what is long: prompt and text."""
    return {
        **{name: value for name, value in row.items() if name not in ("prompt", "text", "obstacle")},
        **{name: value for name, value in verdict.items() if name not in row},
        "prompt": row["prompt"],
        "text": row["text"],
    }
