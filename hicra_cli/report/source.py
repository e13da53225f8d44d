"""What a diagnosis reads of one training: its step record and its stored rollouts, opened but not yet measured."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hicra_cli.core.artifact import Artifact
from hicra_cli.core.errors import ArtifactError
from hicra_cli.grams.gram_set import GramSet

STEPS = "steps.jsonl"
ROLLOUTS = "rollouts/"


@dataclass(frozen=True, slots=True)
class RunSource:
    """A training to be diagnosed.

    own_grams: the gram-set it was trained with, None where it had none or it cannot be reached. tokenizer: path of
    its `tokenizer.json`, with which planning masks are recomputed; None where it cannot be reached. settings: its
    resolved configuration as dotted names.
    """

    artifact: Artifact
    label: str
    settings: Mapping[str, str]
    records: Sequence[Mapping[str, Any]]
    rollouts: Mapping[int, Path]
    own_grams: GramSet | None
    tokenizer: Path | None


def read_records(training: Artifact) -> list[dict[str, Any]]:
    """The step records in order. Raises ArtifactError with file and line where one is malformed."""
    path = training.file(STEPS)
    records = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise ArtifactError(f"no step record: {error}", where=f"{path}:{number}") from error
        if not isinstance(record, dict) or not isinstance(record.get("step"), int):
            raise ArtifactError("a step record is an object with a whole number `step`", where=f"{path}:{number}")
        records.append(record)
    return records


def rollout_files(training: Artifact) -> dict[int, Path]:
    """Step -> Parquet file, ascending. Raises ArtifactError where the run kept none: there is nothing to recompute."""
    found = {}
    for entry in training.files:
        if entry.path.startswith(ROLLOUTS) and entry.path.endswith(".parquet"):
            stem = Path(entry.path).stem.removeprefix("step-")
            if not stem.isascii() or not stem.isdigit():
                raise ArtifactError(f"{training.ref} has rollouts of no step: {entry.path}", where=str(training.path))
            found[int(stem)] = training.file(entry.path)
    if not found:
        raise ArtifactError(
            f"{training.ref} kept no rollouts, and a diagnosis is computed from rollouts",
            where=str(training.path),
            fix="Train with train.save_rollouts_every of 1 or more",
        )
    return dict(sorted(found.items()))


def flatten(config: Mapping[str, Any], *, sections: Sequence[str], without: frozenset[str]) -> dict[str, str]:
    """Chosen sections of a resolved configuration as dotted name -> JSON text, strings bare."""
    flat: dict[str, str] = {}

    def visit(prefix: str, value: Any) -> None:
        if prefix in without:
            return
        if isinstance(value, Mapping) and value:
            for name in sorted(value):
                visit(f"{prefix}.{name}", value[name])
        else:
            flat[prefix] = value if isinstance(value, str) else json.dumps(value)

    for section in sections:
        if section in config:
            visit(section, config[section])
    return flat
