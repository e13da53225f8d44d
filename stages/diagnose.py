"""The diagnose stage: the paper's curves of one or several trainings, recomputed from their rollouts, as a report.

Writes `report.html` (self-contained), `diagnosis.json` (every number), `tables/*.csv` and `figures/*.svg`. Same
inputs and settings, same bytes.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hicra_cli import __version__
from hicra_cli.config.root import HicraConfig
from hicra_cli.config.train import GRAM_ALGOS
from hicra_cli.core.errors import ArtifactError, DataError
from hicra_cli.core.progress import Progress
from hicra_cli.core.registry import Artifact, Registry
from hicra_cli.embedded import policy_path
from hicra_cli.grams.gram_set import GramSet
from hicra_cli.report.diagnosis import Diagnosis, GramSetFacts, LineageLine, to_json
from hicra_cli.report.evaluations import evaluation_rows
from hicra_cli.report.html import change, render
from hicra_cli.report.notes import notes
from hicra_cli.report.plots import plots
from hicra_cli.report.runs import MeasuredRun, describe_run, measure_run
from hicra_cli.report.series import choose_rarefaction
from hicra_cli.report.source import RunSource, flatten, read_records, rollout_files
from hicra_cli.report.svg import standalone
from hicra_cli.report.tables import tables

from .base import External, Input, Plan, Stage, Work, Workspace, execute
from .gram_sets import load_gram_set, resolve_gram_set

SECTIONS = ("seed", "device", "task", "engine", "train")
UNTOLD = frozenset(("train.name",))
SUMMARISED = (
    "reward/accuracy",
    "response/length_mean_tokens",
    "hicra/planning_fraction",
    "hicra/semantic_entropy_rarefied_nats",
    "policy/token_entropy_nats",
)


def run(config: HicraConfig, registry: Registry, progress: Progress) -> Artifact:
    """Diagnose the configured trainings and publish kind `diagnosis`."""
    return execute(STAGE, config, registry, progress).artifact


def plan(config: HicraConfig, registry: Registry) -> Plan:
    """Resolve trainings, evaluations and the gram-set."""
    wanted = config.diagnose
    trainings = _trainings(wanted.trainings, registry)
    evaluations = _evaluations(wanted.evaluations, trainings, registry)
    grams = resolve_gram_set(wanted.gram_set, registry) if wanted.gram_set else _own_grams(trainings[0], registry)
    inputs: dict[str, Input] = {f"training-{place}": each for place, each in enumerate(trainings, start=1)}
    inputs |= {f"evaluation-{place}": each for place, each in enumerate(evaluations, start=1)}
    if grams is not None:
        inputs["gram_set"] = grams
    settings = wanted.model_dump(mode="json", exclude={"name", "trainings", "evaluations", "gram_set"})
    # the page shows references, and equal bytes may have been published under several
    settings |= {"seed": config.seed, "references": {role: each.ref for role, each in inputs.items()}}
    return Plan(wanted.name, inputs, settings, {role: each.ref for role, each in inputs.items()})


def work(workspace: Workspace) -> Work:
    """Measure every run, make them comparable, write what a reader takes away."""
    registry, wanted = workspace.registry, workspace.config.diagnose
    inputs = workspace.plan.inputs
    gram_set = None if "gram_set" not in inputs else load_gram_set(inputs["gram_set"])
    trainings = [each for role, each in inputs.items() if role.startswith("training-") and isinstance(each, Artifact)]
    sources = [
        _source(training, label, registry) for training, label in zip(trainings, _labels(trainings), strict=True)
    ]
    measured = [
        measure_run(
            source,
            gram_set,
            workspace.progress,
            window=wanted.window,
            following_words=wanted.following_words,
            num_samples=math.ceil(wanted.sample_rollouts / len(sources)),
            seed=workspace.config.seed,
        )
        for source in sources
    ]
    diagnosis = _diagnosis(workspace, gram_set, measured)
    _warn(diagnosis, workspace.progress)
    _write(diagnosis, workspace.folder)
    return Work(_summary(diagnosis))


def _trainings(references: Sequence[str], registry: Registry) -> list[Artifact]:
    """The named trainings in their order; by default the newest of each name, the oldest of these first."""
    if references:
        return [registry.resolve(reference) for reference in references]
    newest: dict[str, Artifact] = {}
    for each in registry.list("training"):
        newest.setdefault(each.name, each)
    if not newest:
        raise ArtifactError("there is no training to diagnose", where=str(registry.home), fix="Run `hicra train` first")
    return [registry.resolve(each.ref) for each in reversed(newest.values())]


def _evaluations(references: Sequence[str], trainings: Sequence[Artifact], registry: Registry) -> list[Artifact]:
    """The named evaluations; by default the newest of each name whose policy a shown run started from or made."""
    if references:
        return [registry.resolve(reference) for reference in references]
    policies = {_policy_digest(each, registry) for each in trainings} | {
        policy.digest for each in trainings for policy, _ in _policies(each, registry)
    }
    newest: dict[str, Artifact] = {}
    for each in registry.list("evaluation"):
        newest.setdefault(each.name, each)
    chosen = [each for each in reversed(newest.values()) if _policy_digest(each, registry) in policies - {""}]
    return [registry.resolve(each.ref) for each in chosen]


def _own_grams(training: Artifact, registry: Registry) -> Input | None:
    """The gram-set a training used: published, shipped or a file; None where it used none or it is gone."""
    for each, role in registry.inputs(training):
        if role == "gram_set":
            return each
    reference = _external(training, "gram_set").get("ref")
    try:
        return None if reference is None else resolve_gram_set(reference, registry)
    except (ArtifactError, DataError):  # a user's file that is gone or spoilt since
        return None


def _source(training: Artifact, label: str, registry: Registry) -> RunSource:
    own = _own_grams(training, registry)
    own_grams = None if own is None else load_gram_set(own)
    if isinstance(own, External) and own.digest != _external(training, "gram_set").get("digest"):
        own_grams = None  # another release of hicra shipped another list, or the user's file has changed
    runs = registry.runs(run_id=training.run_id) if training.run_id else []
    return RunSource(
        artifact=training,
        label=label,
        settings=flatten(runs[0].config, sections=SECTIONS, without=UNTOLD) if runs else {},
        records=read_records(training),
        rollouts=rollout_files(training),
        own_grams=own_grams,
        tokenizer=_tokenizer(training, registry),
    )


def _tokenizer(training: Artifact, registry: Registry) -> Path | None:
    """`tokenizer.json` of a policy the run made or started from, None where it has none or it is gone."""
    for policy, _ in _policies(training, registry):
        if any(entry.path == "tokenizer.json" for entry in policy.files):
            return policy.file("tokenizer.json")
    folder = policy_path(_external(training, "policy").get("ref", "")) or Path(
        _external(training, "policy").get("ref", "")
    )
    path = folder / "tokenizer.json"
    return path if path.is_file() else None


def _policies(training: Artifact, registry: Registry) -> list[tuple[Artifact, str]]:
    """The policies a training made (role step-N) and started from (role policy)."""
    return [(each, role) for each, role in registry.inputs(training) if each.kind == "policy"]


def _policy_digest(artifact: Artifact, registry: Registry) -> str:
    """What the starting policy of a training, or the policy of an evaluation, is known by; empty if unknown."""
    for each, role in registry.inputs(artifact):
        if role == "policy":
            return each.digest
    return _external(artifact, "policy").get("digest", "")


def _external(artifact: Artifact, role: str) -> Mapping[str, str]:
    found: Mapping[str, str] = (artifact.summary.get("external_inputs") or {}).get(role) or {}
    return found


def _labels(trainings: Sequence[Artifact]) -> list[str]:
    """Names where they are unique, else names with versions."""
    times = Counter(each.name for each in trainings)
    return [each.name if times[each.name] == 1 else f"{each.name}@v{each.version}" for each in trainings]


def _diagnosis(workspace: Workspace, gram_set: GramSet | None, measured: Sequence[MeasuredRun]) -> Diagnosis:
    wanted, registry = workspace.config.diagnose, workspace.registry
    rarefaction = choose_rarefaction(each.pooled for each in measured)
    runs = tuple(
        describe_run(each, gram_set, rarefaction, facts=_facts(each, registry), window=wanted.window)
        for each in measured
    )
    return Diagnosis(
        title=", ".join(run.label for run in runs),
        unit=wanted.unit,
        window=wanted.window,
        following_words=wanted.following_words,
        gram_set=None if gram_set is None else _gram_facts(workspace.plan.inputs["gram_set"], gram_set),
        rarefaction=rarefaction,
        runs=runs,
        evaluations=evaluation_rows(_evaluated(workspace, measured)),
        lineage=tuple(line for each in measured for line in _lineage(each.source.artifact, "", 0, registry)),
        notes=notes(runs, measured, gram_set, rarefaction),
        hicra_version=__version__,
    )


def _evaluated(workspace: Workspace, measured: Sequence[MeasuredRun]) -> list[tuple[Artifact, str, str]]:
    """(evaluation, its policy, label of the shown run that made the policy or "")."""
    registry = workspace.registry
    made_by = {
        policy.id: each.source.label
        for each in measured
        for policy, role in _policies(each.source.artifact, registry)
        if role.startswith("step-")
    }
    found = []
    for role, evaluation in workspace.plan.inputs.items():
        if role.startswith("evaluation-") and isinstance(evaluation, Artifact):
            policies = [each for each, its_role in registry.inputs(evaluation) if its_role == "policy"]
            name = policies[0].ref if policies else _external(evaluation, "policy").get("ref", "an unknown policy")
            found.append((evaluation, name, made_by.get(policies[0].id, "") if policies else ""))
    return found


def _facts(measured: MeasuredRun, registry: Registry) -> dict[str, str]:
    """A few words under a run's name."""
    settings, training = measured.source.settings, measured.source.artifact
    algo = settings.get("train.algo", "")
    facts = {"algo": algo if algo != measured.source.label else "", "steps": f"{len(measured.source.records)} steps"}
    if algo in GRAM_ALGOS:
        facts["alpha"] = f"α {settings.get('train.alpha', '')}"
    start = [each.ref for each, role in _policies(training, registry) if role == "policy"]
    facts["policy"] = f"from {start[0] if start else _external(training, 'policy').get('ref', 'an unknown policy')}"
    facts["seed"] = f"seed {settings['seed']}" if "seed" in settings else ""
    return {name: words for name, words in facts.items() if words}


def _gram_facts(grams: Input, gram_set: GramSet) -> GramSetFacts:
    moves = Counter(str(gram.move or "without a move") for gram in gram_set.grams)
    clusters = {gram.cluster for gram in gram_set.grams}
    return GramSetFacts(
        grams.ref, gram_set.digest, len(gram_set), 0 if None in clusters else len(clusters), dict(sorted(moves.items()))
    )


def _lineage(artifact: Artifact, role: str, depth: int, registry: Registry) -> list[LineageLine]:
    """What an artifact was made from, as indented lines; policies that a training made itself are left out."""
    lines = [LineageLine(depth, role, artifact.ref, artifact.digest)]
    for name, each in sorted((artifact.summary.get("external_inputs") or {}).items()):
        lines.append(LineageLine(depth + 1, name, str(each.get("ref", "")), str(each.get("digest", ""))))
    for each, its_role in sorted(registry.inputs(artifact), key=lambda pair: (pair[1], pair[0].ref)):
        if not (artifact.kind == "training" and its_role.startswith("step-")):
            lines += _lineage(each, its_role, depth + 1, registry)
    return lines


def _warn(diagnosis: Diagnosis, progress: Progress) -> None:
    for each in diagnosis.runs:
        for check in each.checks:
            if not check.passed:
                progress.warn(
                    f"{each.label}: {check.name} in the record differs from the rollouts by {check.largest:.1e} "
                    f"at step {check.at_step}"
                )


def _write(diagnosis: Diagnosis, folder: Path) -> None:
    drawings = plots(diagnosis)
    (folder / "report.html").write_text(render(diagnosis, drawings), encoding="utf-8")
    (folder / "diagnosis.json").write_text(to_json(diagnosis), encoding="ascii")
    for name, texts in (
        ("tables", tables(diagnosis)),
        ("figures", {f"{k}.svg": standalone(v) for k, v in drawings.items()}),
    ):
        (folder / name).mkdir()
        for file_name, text in texts.items():
            (folder / name / file_name).write_text(text, encoding="utf-8")


def _summary(diagnosis: Diagnosis) -> dict[str, Any]:
    """Both ends of each run's main curves, None where nothing was measured."""
    figures: dict[str, Any] = {}
    for each in diagnosis.runs:
        for series in SUMMARISED:
            ends = change(each, series)
            for place, value in (("first", ends.first), ("last", ends.last)):
                figures[f"{each.label}/{place}/{series}"] = value if math.isfinite(value) else None
    failed = sum(not check.passed for each in diagnosis.runs for check in each.checks)
    return {"runs": [each.ref for each in diagnosis.runs], "failed_checks": failed, **figures}


STAGE = Stage("diagnose", kind="diagnosis", code_version="1", plan=plan, work=work)
