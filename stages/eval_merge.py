"""The shards of an evaluation as one: the bytes, and the cache key, of the evaluation that was never cut.

A shard's summary says which part it is and of what: with which settings the whole is made. Shards of other settings,
policies or engines are refused, and so is a part that is missing or comes twice.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from hicra_cli.config.root import HicraConfig
from hicra_cli.core.artifact import Artifact
from hicra_cli.core.diff import diff_configs
from hicra_cli.core.errors import ArtifactError, UsageError
from hicra_cli.core.registry import Registry

from . import eval as eval_stage
from .base import External, Input, Plan, Stage, Work, Workspace
from .eval_provenance import ABOUT_BENCH, SHARD
from .eval_results import MEAN, SUMMARY, headlines, read_summary, warn_of_trouble, write_summary
from .kept_lines import Row
from .samples import SAMPLES, read_samples, write_samples

SHOWN = 6


@dataclass(frozen=True, slots=True)
class ShardFile:
    """A shard's artifact. about: its summary without figures and without what tells it from the others."""

    artifact: Artifact
    number: int
    count: int
    settings: Mapping[str, Any]
    about: Mapping[str, Any]
    benches: Mapping[str, Mapping[str, Any]]

    @property
    def path(self) -> Path:
        return self.artifact.file(SAMPLES)


def merge_stage(references: Sequence[str]) -> Stage:
    """The stage that joins the shards of these references."""

    def plan(config: HicraConfig, registry: Registry) -> Plan:
        shards = read_shards([registry.resolve(each) for each in references])
        settings = dict(shards[0].settings)
        if config.eval.name is not None:
            settings["name"] = config.eval.name
        details = {f"shard {shard.number}/{shard.count}": shard.artifact.ref for shard in shards}
        return Plan(settings["name"], _inputs(shards[0], registry), settings, details)

    def work(space: Workspace) -> Work:
        return _merge(space, read_shards([space.registry.resolve(each) for each in references]))

    return Stage(eval_stage.STAGE.name, eval_stage.STAGE.kind, eval_stage.STAGE.code_version, plan, work)


def read_shards(artifacts: Sequence[Artifact]) -> list[ShardFile]:
    """The shards in order, all of them, once each. Raises UsageError naming what is missing, double or different."""
    shards = sorted((_read(each) for each in artifacts), key=lambda shard: shard.number)
    first = shards[0]
    for shard in shards[1:]:
        _require_same(first, shard)
    found: dict[int, ShardFile] = {}
    for shard in shards:
        if shard.number in found:
            raise UsageError(
                f"shard {shard.number}/{shard.count} was given twice: {found[shard.number].artifact.ref} and "
                f"{shard.artifact.ref}",
                fix="Give each shard once",
            )
        found[shard.number] = shard
    missing = [number for number in range(1, first.count + 1) if number not in found and _has_questions(first, number)]
    if missing:
        named = ", ".join(f"{number}/{first.count}" for number in missing[:SHOWN])
        more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
        raise UsageError(
            f"of the {first.count} shards of {first.settings['name']}, {named}{more} are not given",
            fix="Give every shard with --merge; evaluate what is missing with --shard",
        )
    return shards


def _read(artifact: Artifact) -> ShardFile:
    path = artifact.file(SUMMARY)
    try:
        summary = json.loads(path.read_bytes())
        shard = summary.pop(SHARD, None)
        if shard is None:
            raise UsageError(
                f"{artifact.ref} is no shard but a whole evaluation", fix="--merge joins what --shard i/n has made"
            )
        benches = {name: {key: bench[key] for key in ABOUT_BENCH} for name, bench in summary.pop("bench").items()}
        summary.pop(MEAN, None)
        return ShardFile(artifact, shard["number"], shard["count"], shard["settings"], summary, benches)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(f"{artifact.ref} has a malformed summary: {error}", where=str(path)) from error


def _require_same(first: ShardFile, other: ShardFile) -> None:
    before = {"count": first.count, "settings": first.settings, **first.about}
    after = {"count": other.count, "settings": other.settings, **other.about}
    changes = [f"{each.path}: {each.before} -> {each.after}" for each in diff_configs(before, after)]
    if changes:
        more = f" and {len(changes) - SHOWN} more" if len(changes) > SHOWN else ""
        raise UsageError(
            f"{first.artifact.ref} and {other.artifact.ref} are no shards of one evaluation "
            f"({'; '.join(changes[:SHOWN])}{more})",
            fix="Evaluate all shards with the same settings, policy and engine",
        )


def _has_questions(shard: ShardFile, number: int) -> bool:
    return any(bench["questions"] >= number for bench in shard.settings["bench"].values())


def _inputs(shard: ShardFile, registry: Registry) -> dict[str, Input]:
    """What the shards were made from, by role; by its digest alone where this registry does not have it."""
    known = {role: artifact for artifact, role in registry.inputs(shard.artifact)}
    inputs: dict[str, Input] = {}
    for role, name in (("policy", "policy"), ("gram-set", "gram_set")):
        ref, digest = shard.about[name], shard.about[f"{name}_digest"]
        if ref is not None:
            inputs[role] = known.get(role) or External(ref=ref, digest=digest, path=shard.artifact.path)
    return inputs


def _merge(space: Workspace, shards: Sequence[ShardFile]) -> Work:
    settings = space.plan.settings
    with space.progress.phase("merge shards"):
        write_samples(space.folder, _rows(shards, settings))
        benches = {
            name: next(each.benches[name] for each in shards if name in each.benches) for name in settings["bench"]
        }
        write_summary(space.folder, shards[0].about, benches, settings)
    summary = read_summary(space.folder)
    warn_of_trouble(summary, space.progress)
    links = [(shard.artifact, f"shard-{shard.number}") for shard in shards]
    return Work(headlines(summary), inputs=links)


def _rows(shards: Sequence[ShardFile], settings: Mapping[str, Any]) -> Iterator[Row]:
    """The rows of the whole: question after question from the shards in turn. Holds one question's rows in memory."""
    questions = {shard.number: _questions(shard) for shard in shards}
    for bench, wanted in settings["bench"].items():
        for place in range(wanted["questions"]):
            shard = shards[place % shards[0].count]
            rows = next(questions[shard.number], [])
            if [(row["bench"], row["sample"]) for row in rows] != [(bench, at) for at in range(wanted["samples"])]:
                raise ArtifactError(
                    f"{shard.artifact.ref} lacks samples of question {place + 1} of {bench} ({wanted['samples']} each)",
                    where=str(shard.path),
                    fix=f"hicra artifacts verify {shard.artifact.ref}",
                )
            yield from rows
    for shard in shards:
        if next(questions[shard.number], None) is not None:
            raise ArtifactError(f"{shard.artifact.ref} holds more questions than its part", where=str(shard.path))


def _questions(shard: ShardFile) -> Iterator[list[Row]]:
    return (
        list(rows) for _, rows in groupby(read_samples(shard.path), key=lambda row: (row["bench"], row["question"]))
    )
