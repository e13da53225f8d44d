"""From a gram-set's reference to a file: an artifact, a set that ships with hicra, or a user's file or folder."""

import re
from pathlib import Path

from hicra_cli.core.errors import ArtifactError, DataError
from hicra_cli.core.registry import Artifact, Registry
from hicra_cli.embedded import grams_path
from hicra_cli.grams.builtin import builtin_names, builtin_path
from hicra_cli.grams.gram_set import FILE_NAME, GramSet

from .base import External, Input

SHIPPED = "grams:"
EMBEDDED = f"{SHIPPED}embedded"


def resolve_gram_set(reference: str, registry: Registry) -> Input:
    """`gram-set:NAME[@…]`, a shipped set (`default-en`, also as `grams:default-en`), a file, or a folder with
    `grams.jsonl`.

    Raises ArtifactError where no such artifact or shipped set is there, DataError for a file that is no gram-set.
    """
    if reference.startswith("gram-set:"):
        return registry.resolve(reference)
    name = reference.removeprefix(SHIPPED)
    shipped = grams_path() if reference == EMBEDDED else builtin_path(name)
    if shipped is not None:
        return External(f"{SHIPPED}{name}", GramSet.load(shipped).digest, shipped)
    path = Path(reference)
    path = path / FILE_NAME if path.is_dir() else path
    if path.is_file():
        return External(reference, GramSet.load(path).digest, path.resolve())
    raise _unknown(reference)


def gram_set_file(grams: Input) -> Path:
    """The `grams.jsonl` of a resolved gram-set."""
    return grams.file(FILE_NAME) if isinstance(grams, Artifact) else grams.path


def load_gram_set(grams: Input) -> GramSet:
    """A resolved gram-set's grams."""
    return GramSet.load(gram_set_file(grams))


def gram_set_name(grams: Input) -> str:
    """A name for what is made from it: the artifact's, the shipped set's, or the file's in letters a name may have."""
    if isinstance(grams, Artifact):
        return grams.name
    stem = grams.path.parent.name if grams.path.name == FILE_NAME else grams.path.name.partition(".")[0]
    return re.sub(r"[^a-z0-9._-]+", "-", stem.lower()).strip("-._")[:64] or "default"


def _unknown(reference: str) -> ArtifactError | DataError:
    shipped = ", ".join(builtin_names())
    fix = "Name an artifact as gram-set:NAME, a file, or a folder with grams.jsonl" + (
        f"; with hicra ship {shipped}" if shipped else ""
    )
    if "/" in reference or reference.endswith(".jsonl"):
        return DataError("there is no gram-set file here", where=reference, fix=fix)
    return ArtifactError(f"there is no gram-set {reference!r}", fix=fix)
