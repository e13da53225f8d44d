"""Evaluations by reference, and where their policies come from: for comparing and tabulating, without sampling."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hicra_cli.core.artifact import Artifact
from hicra_cli.core.errors import ArtifactError, HicraError, UsageError
from hicra_cli.core.registry import Registry
from hicra_cli.report.scored import SAMPLES, ScoredEvaluation, read_scored

KIND = "evaluation:"
BASE = "Base"
METHODS = {
    "grpo": "GRPO",
    "hicra": "HICRA",
    "entropy-reg": "Entropy Regularization",
    "entropy-adv": "Entropy Advantage",
    "fork": "Fork Tokens",
    "placebo": "HICRA, placebo grams",
    "zero-sum": "HICRA, zero-sum",
    "shuffled": "HICRA, shuffled mask",
    "release": "HICRA, release",
}
_LONGEST_CHAIN = 64


@dataclass(frozen=True, slots=True)
class Origin:
    """base: reference of the model at the root of the training; method: how it was trained last, `Base` if never.

    policy: the policy's own reference.
    """

    base: str
    method: str
    policy: str


def is_reference(text: str) -> bool:
    """Whether a registry is needed to find it; anything else is a folder."""
    return text.startswith(KIND)


@contextmanager
def registry_for(
    opened: Callable[[], AbstractContextManager[Registry]], references: Sequence[str]
) -> Iterator[Registry | None]:
    """The registry where one of the references names an artifact, else None: folders need none."""
    if not any(map(is_reference, references)):
        yield None
        return
    with opened() as registry:
        yield registry


def find_evaluation(reference: str, registry: Registry | None) -> tuple[ScoredEvaluation, Artifact | None]:
    """`evaluation:NAME[@vN]`, or a folder with `samples.jsonl`. ArtifactError or UsageError where there is none."""
    if is_reference(reference) and registry is not None:
        artifact = registry.resolve(reference)
        return read_scored(artifact.ref, artifact.file(SAMPLES).parent), artifact
    folder = Path(reference)
    if not folder.is_dir():
        raise UsageError(
            f"{reference!r} is neither evaluation:NAME nor a folder with {SAMPLES}",
            fix="`hicra artifacts list evaluation` shows what there is",
        )
    return read_scored(reference, folder), None


def origin_of(evaluation: ScoredEvaluation, artifact: Artifact | None, registry: Registry | None) -> Origin:
    """Where the policy comes from: by the registry's lineage where it is known there, else as the summary names it."""
    inputs = registry.inputs(artifact) if registry is not None and artifact is not None else []
    policy = next((each for each, role in inputs if role == "policy"), None)
    if policy is None:
        ref = str(_external(artifact).get("ref") or evaluation.summary.get("policy") or "an unknown policy")
        return Origin(base=ref, method=BASE, policy=ref)
    ref, method = policy.ref, ""
    for _ in range(_LONGEST_CHAIN):
        base = policy.summary.get("base")
        if base is None:
            return Origin(policy.ref, method or BASE, ref)
        algo = str(policy.summary.get("algo", ""))
        method = method or METHODS.get(algo, algo or "trained")
        before = _policy(str(base), registry)
        if before is None:
            return Origin(str(base), method, ref)
        policy = before
    raise ArtifactError(f"the policies that {ref} was trained from have no beginning", where=str(policy.path))


def short_names(bases: Sequence[str]) -> dict[str, str]:
    """`Qwen/Qwen3-4B-Base` and `/models/Qwen3-4B-Base` are `Qwen3-4B-Base`, where no other base is called so."""
    last = {base: base.removeprefix("policy:").rstrip("/").rpartition("/")[2] or base for base in bases}
    names = list(last.values())
    return {base: name if names.count(name) == 1 else base for base, name in last.items()}


def _policy(reference: str, registry: Registry | None) -> Artifact | None:
    """The artifact of a base, None where it is another thing or gone."""
    if registry is None or not reference.startswith("policy:"):
        return None
    try:
        return registry.resolve(reference, check=False)
    except HicraError:
        return None


def _external(artifact: Artifact | None) -> Mapping[str, Any]:
    found = (artifact.summary.get("external_inputs") or {}).get("policy") if artifact is not None else None
    return found if isinstance(found, Mapping) else {}
