"""An evaluation read back from its files: the scores of each benchmark, and what its summary tells of the making."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hicra_cli.core.errors import ArtifactError, RunError
from hicra_cli.report.scores import BenchScores

SAMPLES = "samples.jsonl"
SUMMARY = "summary.json"


@dataclass(frozen=True, slots=True)
class ScoredEvaluation:
    """ref: what it is called in tables. summary: empty where the folder has none. benches: in the order of the file."""

    ref: str
    summary: Mapping[str, Any]
    benches: Mapping[str, BenchScores]

    def about(self, bench: str) -> Mapping[str, Any]:
        """What the summary says of a benchmark; empty where it says nothing."""
        benches = self.summary.get("bench")
        found = benches.get(bench) if isinstance(benches, dict) else None
        return found if isinstance(found, dict) else {}


def read_scored(ref: str, folder: Path) -> ScoredEvaluation:
    """Read `samples.jsonl` line by line, keeping numbers only, and `summary.json` where there is one.

    Raises ArtifactError where samples are missing, there twice or malformed: it names the file and the line.
    """
    benches = read_benches(folder / SAMPLES)
    for name, scores in benches.items():
        try:
            _ = scores.samples
        except RunError as error:
            raise ArtifactError(f"{name}: {error.what}", where=str(folder / SAMPLES), fix=error.fix) from error
    return ScoredEvaluation(ref, _read_summary(folder / SUMMARY), benches)


def read_benches(path: Path) -> dict[str, BenchScores]:
    """The scores of each benchmark in a file of samples. Votes are counted by the answers' text: no maj@k is shown."""
    benches: dict[str, BenchScores] = {}
    try:
        with path.open(encoding="utf-8", newline="\n") as stream:
            for number, line in enumerate(stream, start=1):
                if line.strip():
                    _add(benches, line, f"{path}:{number}")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ArtifactError("there are no samples of an evaluation here", where=str(path)) from error
    except UnicodeDecodeError as error:
        raise ArtifactError("no UTF-8 text", where=str(path)) from error
    if not benches:
        raise ArtifactError("the evaluation has no samples", where=str(path))
    return benches


def _add(benches: dict[str, BenchScores], line: str, where: str) -> None:
    try:
        sample = json.loads(line)
        name = str(sample["bench"])
        benches.setdefault(name, BenchScores(spelling=str.strip)).add(sample)
    except RunError as error:
        raise ArtifactError(error.what, where=where) from error
    except (json.JSONDecodeError, RecursionError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise ArtifactError(f"no sample of an evaluation: {type(error).__name__} {error}", where=where) from error


def _read_summary(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"no summary of an evaluation: {error}", where=str(path)) from error
    return found if isinstance(found, dict) else {}
