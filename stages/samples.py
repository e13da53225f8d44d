"""Samples of an evaluation: what names one, and the file they are published in.

While an evaluation runs, `sampled.jsonl` in the draft holds what the engine gave and `verdicts.jsonl` what the grader
said, in the order they came (`kept_lines.py`). The published `samples.jsonl` is in the order of benchmarks, questions
and samples, so its bytes do not tell whether the run was interrupted.
"""

import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hicra_cli.core.errors import ArtifactError
from hicra_cli.core.filesystem import storage_errors, sync_file

from .kept_lines import Row, to_line

SAMPLED = "sampled.jsonl"
VERDICTS = "verdicts.jsonl"
ENGINES = "engines.json"
SAMPLES = "samples.jsonl"

Key = tuple[str, str, int]
"""Benchmark, question and number of the sample."""


def key_of(row: Mapping[str, Any]) -> Key:
    """What names a sample."""
    # Interned: the names of a few hundred questions are kept, not one copy of them for each of 100,000 samples.
    return sys.intern(str(row["bench"])), sys.intern(str(row["question"])), int(row["sample"])


def write_samples(folder: Path, rows: Iterable[Row]) -> None:
    """Write `samples.jsonl`, one row after the other: after a crash it is there as a whole or not at all."""
    scratch = folder / f"{SAMPLES}.unfinished"
    with storage_errors("writing samples", folder):
        with scratch.open("wb") as stream:
            stream.writelines(to_line(row) for row in rows)
        sync_file(scratch)
        os.replace(scratch, folder / SAMPLES)


def read_samples(path: Path) -> Iterator[Row]:
    """The rows of a samples.jsonl, one at a time. ArtifactError names the line that is none."""
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                row = json.loads(line)
                key_of(row)
            except (ValueError, KeyError, TypeError) as error:
                raise ArtifactError(f"this line is no sample: {error}", where=f"{path}:{number}") from error
            yield row


def drop_working_files(folder: Path) -> None:
    """What was needed until `samples.jsonl` and the summary were written."""
    for name in (SAMPLED, VERDICTS, ENGINES):
        (folder / name).unlink(missing_ok=True)
