"""Pipeline files: several stages in order, with shared settings and references to earlier steps.

    config: [quickstart]                # presets by name, files relative to this file
    set: {seed: 0}                      # for every step; nested sections or dotted keys
    steps:
      - stage: train
        name: train-hicra               # names the step; the stage's own name by default
        set: {train.algo: hicra}
      - stage: eval
        set: {eval.policy: "${steps.train-hicra.policy}"}

`${steps.NAME}` is the artifact that the step published (or found published), `${steps.NAME.policy}` the last policy of
a training. Precedence: defaults < config < set < a step's set < `HICRA_*` < `--set` < options.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hicra_cli.commands.stage import MODULES, load_stage
from hicra_cli.config.layers import Fault, Layer, document_layer, file_layer
from hicra_cli.config.load import ResolvedConfig, config_error, resolve
from hicra_cli.config.presets import pipeline_names, pipeline_path, preset_path
from hicra_cli.config.yaml_file import Document, read_yaml
from hicra_cli.core.errors import ArtifactError, ConfigError, HicraError
from hicra_cli.core.progress import Progress

if TYPE_CHECKING:
    from hicra_cli.core.registry import Artifact, Registry
    from hicra_cli.stages.base import StageResult

_REFERENCE = re.compile(r"\$\{steps\.([A-Za-z0-9_-]+)(?:\.(policy))?\}")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class Step:
    """One stage of a pipeline. `layers` are all of its files, lowest first; `where` is its `file:line`."""

    stage: str
    name: str
    where: str
    layers: Sequence[Layer]

    def needs(self) -> set[str]:
        """Names of the earlier steps this one refers to."""
        values = [value for layer in self.layers for value in layer.values.values()]
        return {match[1] for value in values for text in _texts(value) for match in _REFERENCE.finditer(text)}


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A checked pipeline: known stages, unique names, references that point backwards."""

    source: str
    steps: Sequence[Step]


@dataclass(frozen=True, slots=True)
class StepPlan:
    """What a step would do: publish `output` or reuse what was `found`; neither where it waits for an earlier step."""

    step: Step
    output: str | None = None
    found: "Artifact | None" = None


def read_pipeline(name: str) -> Pipeline:
    """A pipeline file by its path, or one that ships with hicra by its name. Raises ConfigError with file and line."""
    shipped = pipeline_path(name)
    path = shipped or Path(name)
    if not path.is_file():
        known = ", ".join(pipeline_names())
        raise ConfigError(f"there is no pipeline file {name!r}", fix=f"Pipelines that ship with hicra: {known}")
    document = read_yaml(path)
    _check_shape(document)
    top = [*_config_layers(document, ()), *_set_layers(document, ())]
    steps: list[Step] = []
    for index, entry in enumerate(document.value["steps"]):
        key = ("steps", index)
        layers = [*top, *_config_layers(document, key), *_set_layers(document, key)]
        steps.append(Step(entry["stage"], entry.get("name", entry["stage"]), document.where(*key), layers))
    _check_references(steps)
    return Pipeline(document.source, steps)


def resolve_step(
    step: Step, overrides: Sequence[Layer], done: Mapping[str, "Artifact"], registry: "Registry | None"
) -> ResolvedConfig:
    """The configuration of a step, its references replaced by what the steps before it have made.

    Without a registry the references stay as they are: that checks everything else before anything runs.
    """
    layers = step.layers if registry is None else [_substituted(each, done, registry) for each in step.layers]
    try:
        return resolve([*layers, *overrides])
    except ConfigError as error:
        raise _at(step, error) from error


def run_pipeline(
    pipeline: Pipeline, overrides: Sequence[Layer], registry: "Registry", progress: Progress, *, force: bool = False
) -> Iterator[tuple[Step, "StageResult"]]:
    """Run the steps in order and yield each result. A step that an earlier, killed run left unfinished goes on."""
    from hicra_cli.stages.base import execute

    done: dict[str, Artifact] = {}
    for number, step in enumerate(pipeline.steps, 1):
        stage = load_stage(step.stage)
        progress.note(f"[{number}/{len(pipeline.steps)}] {step.name}")
        try:
            config = resolve_step(step, overrides, done, registry).config
            resume = stage.resumable and bool(registry.unfinished(stage.kind))
            result = execute(stage, config, registry, progress, force=force, resume=resume)
        except HicraError as error:
            raise _at(step, error) from error
        if step.stage == "curate" and config.curate.export is not None:
            from hicra_cli.stages.curate import export_grams

            export_grams(result.artifact, config.curate.export)
        done[step.name] = result.artifact
        yield step, result


def plan_pipeline(pipeline: Pipeline, overrides: Sequence[Layer], registry: "Registry") -> Iterator[StepPlan]:
    """What each step would do. After the first step that would run, later ones cannot be planned."""
    from hicra_cli.stages.base import stage_key

    done: dict[str, Artifact] = {}
    waiting = False
    for step in pipeline.steps:
        if waiting:
            yield StepPlan(step)
            continue
        stage = load_stage(step.stage)
        plan = stage.plan(resolve_step(step, overrides, done, registry).config, registry)
        found = registry.find(stage_key(stage, plan))
        if found is None:
            waiting = True
        else:
            done[step.name] = found
        yield StepPlan(step, f"{stage.kind}:{plan.name}", found)


def _check_shape(document: Document) -> None:
    """Refuse what is no pipeline, with all its faults and their lines."""
    value = document.value
    if not isinstance(value, dict) or not isinstance(value.get("steps"), list) or not value["steps"]:
        raise ConfigError("a pipeline is a mapping with a list `steps`", where=document.where("steps"))
    faults = [
        _stray(document, (key,), key, "config, set, steps") for key in value if key not in ("config", "set", "steps")
    ]
    names: set[str] = set()
    for index, entry in enumerate(value["steps"]):
        where = document.where("steps", index)
        if not isinstance(entry, dict) or entry.get("stage") not in MODULES:
            stage = entry.get("stage") if isinstance(entry, dict) else entry
            faults.append(
                Fault(where, f"step {index + 1} has no known stage: {stage!r}", f"Stages: {', '.join(MODULES)}")
            )
            continue
        allowed = ("stage", "name", "config", "set")
        faults += [
            _stray(document, ("steps", index, key), key, ", ".join(allowed)) for key in entry if key not in allowed
        ]
        name = entry.get("name", entry["stage"])
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            faults.append(Fault(where, f"step name {name!r} is not made of letters, digits, `-` and `_`"))
        elif name in names:
            faults.append(Fault(where, f"two steps are named {name}", "Give one of them another `name`"))
        else:
            names.add(name)
    if faults:
        raise config_error(faults)


def _stray(document: Document, key: tuple[str | int, ...], name: str, allowed: str) -> Fault:
    return Fault(document.where(*key), f"unknown key {name}", f"Allowed here: {allowed}")


def _check_references(steps: Sequence[Step]) -> None:
    """A reference names a step before its own."""
    before: set[str] = set()
    for step in steps:
        if unknown := sorted(step.needs() - before):
            known = ", ".join(sorted(before)) or "none"
            raise ConfigError(
                f"step {step.name} refers to {unknown[0]}, which is no step before it",
                where=step.where,
                fix=f"Steps before it: {known}",
            )
        before.add(step.name)


def _config_layers(document: Document, key: tuple[str | int, ...]) -> list[Layer]:
    """The files and presets under `config`; paths are relative to the pipeline's own folder."""
    entry = document.value
    for part in key:
        entry = entry[part]
    names = entry.get("config") or []
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ConfigError("`config` is a list of presets and files", where=document.where(*key, "config"))
    folder = Path(document.source).parent
    where = document.where(*key, "config")
    return [file_layer(name if preset_path(name) else str(folder / name), where=where) for name in names]


def _set_layers(document: Document, key: tuple[str | int, ...]) -> list[Layer]:
    entry = document.value
    for part in key:
        entry = entry[part]
    return [document_layer(document, at=(*key, "set"))] if "set" in entry else []


def _substituted(layer: Layer, done: Mapping[str, "Artifact"], registry: "Registry") -> Layer:
    def replaced(value: Any) -> Any:
        if isinstance(value, list):
            return [replaced(each) for each in value]
        if isinstance(value, str):
            return _REFERENCE.sub(lambda match: _reference(done[match[1]], match[2], registry), value)
        return value

    return Layer({path: replaced(value) for path, value in layer.values.items()}, layer.origins, layer.faults)


def _reference(artifact: "Artifact", what: str | None, registry: "Registry") -> str:
    """The text of a reference: the artifact, or the policy of a training's last checkpoint."""
    if what is None:
        return artifact.ref
    steps = [
        (int(role.removeprefix("step-")), each)
        for each, role in registry.inputs(artifact)
        if each.kind == "policy" and role.startswith("step-")
    ]
    if not steps:
        raise ArtifactError(f"{artifact.ref} has made no policy", fix="Only a train step has a `.policy`")
    return max(steps, key=lambda each: each[0])[1].ref


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)


def _at(step: Step, error: HicraError) -> HicraError:
    """The same failure, of the same class, with the step in its place."""
    where = f"step {step.name} ({step.where})" + (f": {error.where}" if error.where else "")
    return type(error)(error.what, where=where, fix=error.fix)
