"""What curate starts from: annotations, a gram-set, lists and decisions, and the candidates with their figures."""

from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path

from hicra_cli.config.curate import NO_ANNOTATIONS
from hicra_cli.config.root import HicraConfig
from hicra_cli.core.errors import ArtifactError, DataError
from hicra_cli.core.registry import Artifact, Registry
from hicra_cli.grams.annotators.base import Annotation, read_annotations
from hicra_cli.grams.candidate_file import FILE_NAME as CANDIDATES_NAME
from hicra_cli.grams.candidate_file import read_candidates
from hicra_cli.grams.candidates import Candidate
from hicra_cli.grams.curation import Considered, Listed
from hicra_cli.grams.decisions import Decision, read_decisions
from hicra_cli.grams.lists import read_gram_lists

from .annotate_grams import FILE_NAME as ANNOTATIONS_NAME
from .base import External, Input, Workspace
from .gram_sets import gram_set_name, load_gram_set, resolve_gram_set

DEFAULT_ANNOTATIONS = "annotations:default"
DEFAULT_GRAM_SET = "gram-set:default"
OWN, NEWEST = "candidates", "newest_candidates"


def curate_inputs(config: HicraConfig, registry: Registry) -> dict[str, Input]:
    """By role: annotations, gram_set, import-000 …, decisions; candidates where no annotations lead to them."""
    curate = config.curate
    inputs: dict[str, Input] = {}
    if curate.gram_set is not None or curate.placebo or curate.drop:
        inputs["gram_set"] = resolve_gram_set(curate.gram_set or DEFAULT_GRAM_SET, registry)
    elif (annotations := _annotations(config, registry)) is not None:
        inputs["annotations"] = annotations
    inputs |= {f"import-{at:03d}": file_input(path, "--import") for at, path in enumerate(curate.imports)}
    path = decisions_path(config, set_name(config, inputs.get("gram_set")))
    if path is not None and (path.is_file() or not curate.interactive):
        inputs["decisions"] = file_input(path, "--decisions")
    return inputs | _candidates(config, registry, inputs)


def candidates_of(space: Workspace) -> Artifact | None:
    """The candidates of this run: named, behind the annotations or the gram-set, or just the newest; None without."""
    for role in (OWN, NEWEST):
        if role in space.plan.inputs:
            return space.artifact(role)
    if "annotations" not in space.plan.inputs:
        return None
    return input_of(space.registry, space.artifact("annotations"), "candidates")


def has_own_candidates(space: Workspace) -> bool:
    """Whether the candidates belong to what is curated, and are not just the newest there are."""
    return NEWEST not in space.plan.inputs


def considered_grams(
    space: Workspace, candidates: Artifact | None, counted: Mapping[str, Candidate], decided: Iterable[str]
) -> list[Considered]:
    """Every gram that something is said about: by annotators, a gram-set, a list, or (in the candidates) a person.

    Raises ArtifactError where annotations judge a gram that their candidates do not hold, DataError for a bad list.
    """
    annotations = _annotations_by_gram(space)
    listed = _listed(space)
    if candidates is not None and (foreign := next((gram for gram in annotations if gram not in counted), None)):
        raise ArtifactError(
            f"{space.plan.inputs['annotations'].ref} judges `{foreign}`, which {candidates.ref} does not hold",
            fix="Repeat `hicra annotate-grams`",
        )
    grams = dict.fromkeys([*annotations, *listed, *(gram for gram in decided if gram in counted)])
    return [_considered(gram, annotations.get(gram), counted.get(gram), listed.get(gram)) for gram in grams]


def given_decisions(space: Workspace, counted: Mapping[str, Candidate]) -> dict[str, Decision]:
    """The decisions file's, by gram. DataError where it adds a gram of a length that is never collected."""
    if "decisions" not in space.plan.inputs:
        return {}
    path = space.plan.inputs["decisions"].path
    decisions = read_decisions(path)
    shortest, longest = space.config.collect.ngram_min, space.config.collect.ngram_max
    for decision in decisions.values():
        number = len(decision.gram.split())
        if decision.verdict == "accept" and decision.gram not in counted and not shortest <= number <= longest:
            raise DataError(
                f"a gram with {number} words is accepted, {shortest} to {longest} are allowed: `{decision.gram[:160]}`",
                where=str(path),
                fix="Shorten or remove it; collect.ngram_min and collect.ngram_max set the bounds",
            )
    return decisions


def counted_grams(candidates: Artifact | None) -> dict[str, Candidate]:
    """The candidates by their text."""
    if candidates is None:
        return {}
    return {each.gram: each for each in read_candidates(candidates.file(CANDIDATES_NAME))}


def set_name(config: HicraConfig, grams: Input | None) -> str:
    """The configured name, else that of the gram-set to start from, for a control with `-placebo` or `-drop-30` (per
    cent), else `default`.
    """
    curate = config.curate
    if curate.name is not None:
        return curate.name
    name = "default" if grams is None else gram_set_name(grams)
    ending = "-placebo" if curate.placebo else f"-drop-{100 * curate.drop:g}" if curate.drop else ""
    return name[: 64 - len(ending)] + ending


def decisions_path(config: HicraConfig, name: str) -> Path | None:
    """The file of a person's decisions, where there is one; in the terminal they are kept in the home by default."""
    if config.curate.decisions is not None or not config.curate.interactive:
        return config.curate.decisions
    return journal_path(config, name)


def journal_path(config: HicraConfig, name: str) -> Path:
    """Where answers given in the terminal are kept: the decisions file if it is JSON lines, else one in the home."""
    given = config.curate.decisions
    if given is not None and given.suffix == ".jsonl":
        return given
    return config.home / "decisions" / f"{name}.jsonl"


def file_input(path: Path, option: str) -> External:
    """A user's file by its content; DataError where it cannot be read."""
    try:
        return External(str(path), sha256(path.read_bytes()).hexdigest(), path)
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", where=str(path), fix=f"Check {option}") from error


def input_of(registry: Registry, artifact: Artifact, role: str) -> Artifact:
    """The artifact that another one was made from; ArtifactError where its lineage does not say."""
    for parent, found in registry.inputs(artifact):
        if found == role:
            return parent
    raise ArtifactError(f"{artifact.ref} does not know its {role}", fix=f"Make it again from {role}")


def _annotations(config: HicraConfig, registry: Registry) -> Artifact | None:
    """The named ones must be there; the default ones may be missing where lists are imported."""
    curate = config.curate
    if curate.annotations == NO_ANNOTATIONS and curate.imports:
        return None
    if curate.annotations is None and curate.imports and not registry.list("annotations", "default"):
        return None
    if curate.annotations == NO_ANNOTATIONS:
        raise DataError(
            "without annotations there is nothing to curate", where="curate.annotations", fix="Add --import"
        )
    return registry.resolve(curate.annotations or DEFAULT_ANNOTATIONS)


def _candidates(config: HicraConfig, registry: Registry, inputs: Mapping[str, Input]) -> dict[str, Input]:
    """By role: those that are named, or that the gram-set was made from, else the newest; none beside annotations,
    whose own candidates are known.
    """
    grams = inputs.get("gram_set")
    if config.curate.candidates is not None:
        return {OWN: registry.resolve(config.curate.candidates)}
    if "annotations" in inputs:
        return {}
    if isinstance(grams, Artifact) and (known := _ancestors(registry, grams)):
        return {OWN: known[0]}
    newest = registry.newest("candidates")
    return {} if newest is None else {NEWEST: newest}


def _ancestors(registry: Registry, grams: Artifact) -> list[Artifact]:
    """The candidates in a gram-set's lineage, the nearest first."""
    waiting, seen = [grams], {grams.id}
    found: list[Artifact] = []
    while waiting:
        for parent, role in registry.inputs(waiting.pop(0)):
            if role == OWN:
                found.append(parent)
            elif role in ("annotations", "gram_set") and parent.id not in seen:
                seen.add(parent.id)
                waiting.append(parent)
    return found


def _annotations_by_gram(space: Workspace) -> dict[str, Annotation]:
    if "annotations" not in space.plan.inputs:
        return {}
    path = space.artifact("annotations").file(ANNOTATIONS_NAME)
    return {each.gram: each for each in read_annotations(path)}


def _listed(space: Workspace) -> dict[str, Listed]:
    """The grams of the gram-set to start from, and of the imported lists; a gram of both is the gram-set's."""
    collect = space.config.collect
    imported = read_gram_lists(space.config.curate.imports, shortest=collect.ngram_min, longest=collect.ngram_max)
    listed = {text: Listed(gram.source, gram.source, gram.move, gram.cluster) for text, gram in imported.items()}
    if (grams := space.plan.inputs.get("gram_set")) is not None:
        for gram in load_gram_set(grams).grams:
            listed[gram.text] = Listed(grams.ref, gram.source or grams.ref, gram.move, gram.cluster)
    return listed


def _considered(
    gram: str, annotation: Annotation | None, candidate: Candidate | None, listed: Listed | None
) -> Considered:
    if candidate is None:
        return Considered(gram, annotation, 0, 0, listed=listed)
    return Considered(gram, annotation, candidate.count, candidate.document_frequency, candidate.contexts, listed)
