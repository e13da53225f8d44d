"""Differences between two artifacts as plain data: grams of two gram-sets, configuration of two runs."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hicra_cli.core.artifact import Artifact
from hicra_cli.core.errors import ArtifactError


@dataclass(frozen=True, slots=True)
class Change:
    """A value that differs. `path` is dotted (`train.alpha`) or a gram; None on a side where it does not occur."""

    path: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class GramDiff:
    """added, removed: grams, sorted. moved: grams in both whose move differs (before and after are moves)."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    moved: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class ArtifactDiff:
    """`grams` is None unless both are gram-sets; `config` compares the resolved configuration of their runs."""

    grams: GramDiff | None
    config: tuple[Change, ...]
    same_content: bool


def diff_artifacts(
    first: Artifact, second: Artifact, *, configs: Sequence[Mapping[str, Any]] = ({}, {})
) -> ArtifactDiff:
    """What became different from first to second. configs: of the runs that made them."""
    both = first.kind == second.kind == "gram-set"
    return ArtifactDiff(
        diff_grams(_moves(first), _moves(second)) if both else None,
        diff_configs(configs[0], configs[1]),
        first.digest == second.digest,
    )


def diff_grams(before: Mapping[str, str | None], after: Mapping[str, str | None]) -> GramDiff:
    """before, after: gram → move."""
    moved = (Change(gram, before[gram], after[gram]) for gram in sorted(before.keys() & after.keys()))
    return GramDiff(
        added=tuple(sorted(after.keys() - before.keys())),
        removed=tuple(sorted(before.keys() - after.keys())),
        moved=tuple(change for change in moved if change.before != change.after),
    )


def diff_configs(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Change, ...]:
    """Leaves that differ, by dotted path. Lists are compared whole; 1 and 1.0, 1 and True are different values."""
    old, new = dict(_leaves(before)), dict(_leaves(after))
    paths = sorted(old.keys() | new.keys())
    return tuple(
        Change(path, old.get(path), new.get(path))
        for path in paths
        if path not in old or path not in new or json.dumps(old[path]) != json.dumps(new[path])
    )


def _leaves(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _moves(artifact: Artifact) -> dict[str, str | None]:
    """gram → move of a gram-set's `grams.jsonl`."""
    path = artifact.file("grams.jsonl")
    moves: dict[str, str | None] = {}
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            row = json.loads(line)
            moves[str(row["gram"])] = row.get("move")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ArtifactError(
                f"a gram of {artifact.ref} cannot be read: {error}", where=f"{path}:{number}"
            ) from error
    return moves
