"""From a policy's reference to a folder that can be loaded: embedded name, artifact, local folder or HF id."""

import hashlib
from pathlib import Path

from hicra_cli.core.registry import Registry
from hicra_cli.embedded import policy_path

from .base import External, Input


def resolve_policy(reference: str, registry: Registry) -> Input:
    """`nano`, `policy:name[@…]`, a folder, or an HF id (downloaded by transformers' cache; offline only if there).

    Raises ArtifactError (exit 3) where nothing of that name can be reached.
    """
    embedded = policy_path(reference)
    if embedded is not None:
        return External(ref=reference, digest=folder_digest(embedded), path=embedded)
    if reference.startswith("policy:"):
        return registry.resolve(reference)
    from hicra_cli.engine.policy import policy_directory

    path = policy_directory(reference)
    # A hub snapshot is named by its commit; hashing tens of gigabytes again would tell nothing more.
    digest = f"hub:{reference}@{path.name}" if path.parent.name == "snapshots" else folder_digest(path)
    return External(ref=reference, digest=digest, path=path.resolve())


def folder_digest(folder: Path) -> str:
    """sha256 over the names and contents of the files in a model folder, sorted by name."""
    digest = hashlib.sha256()
    for path in sorted(each for each in folder.rglob("*") if each.is_file()):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
        with path.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()
