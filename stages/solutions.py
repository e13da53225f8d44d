"""The solutions that candidates were counted on, read again from the rollouts artifact in their lineage."""

from collections.abc import Callable, Iterator

from pydantic import ValidationError

from hicra_cli.config.collect import CollectConfig
from hicra_cli.core.errors import ArtifactError
from hicra_cli.core.records import FinishReason
from hicra_cli.core.registry import Artifact, Registry
from hicra_cli.grams.counting import Solution
from hicra_cli.grams.rollout_file import FILE_NAME as ROLLOUTS_NAME
from hicra_cli.grams.rollout_file import read_rollouts

from .rollouts import is_success


def solutions_of(registry: Registry, candidates: Artifact) -> Callable[[], Iterator[Solution]]:
    """A function that reads the counted solutions, as often as it is called, one at a time in memory.

    Which rollouts count is decided by the settings that the candidates were counted with. Raises ArtifactError where
    the candidates do not know their rollouts.
    """
    path = rollouts_of(registry, candidates).file(ROLLOUTS_NAME)
    collect = _collect_config(registry, candidates)

    def solutions() -> Iterator[Solution]:
        for row in read_rollouts(path):
            if is_success(row, collect):
                cut = row.finish_reason is FinishReason.LENGTH
                yield Solution(row.prompt_id, row.text, row.policy, row.step, cut)

    return solutions


def rollouts_of(registry: Registry, candidates: Artifact) -> Artifact:
    """The rollouts artifact that candidates were counted on. Raises ArtifactError where there is none."""
    for parent, role in registry.inputs(candidates):
        if role == "rollouts":
            return parent
    raise ArtifactError(
        f"{candidates.ref} does not know its rollouts, and clusters are counted on them",
        fix="Repeat `hicra collect-grams`, or use --annotator lexicon",
    )


def _collect_config(registry: Registry, candidates: Artifact) -> CollectConfig:
    """The collect section of the run that made the candidates."""
    runs = registry.runs(run_id=candidates.run_id) if candidates.run_id else []
    try:
        return CollectConfig.model_validate(runs[0].config["collect"])
    except (IndexError, KeyError, TypeError, ValidationError):
        return CollectConfig()  # an imported bundle without its run, or a run of another version of hicra
