"""From a policy's reference to a folder that can be loaded: embedded name, artifact, local folder or HF id."""

import hashlib
from pathlib import Path

from hicra_cli.core.errors import ArtifactError
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
    path = Path(reference)
    if path.is_dir():
        return External(ref=reference, digest=folder_digest(path), path=path.resolve())
    if path.is_absolute() or reference.startswith(".") or reference.count("/") != 1:
        raise ArtifactError(
            f"policy {reference} is neither an embedded model, an artifact, a folder nor an HF id",
            fix="Known: nano, policy:NAME (see `hicra artifacts list --kind policy`), ./FOLDER, ORGANISATION/MODEL",
        )
    return _from_hub(reference)


def folder_digest(folder: Path) -> str:
    """sha256 over the names and contents of the files in a model folder, sorted by name."""
    digest = hashlib.sha256()
    for path in sorted(each for each in folder.rglob("*") if each.is_file()):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
        with path.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def _from_hub(reference: str) -> External:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    patterns = ["*.json", "*.safetensors", "*.jinja", "*.txt", "*.model"]
    try:
        folder = Path(snapshot_download(reference, allow_patterns=patterns, etag_timeout=10))
    except (OSError, HfHubHTTPError, LocalEntryNotFoundError) as error:
        raise ArtifactError(
            f"policy {reference} is no local folder and could not be fetched from the hub: {type(error).__name__}",
            fix="Check the name and the network, or pass the path of a downloaded copy",
        ) from error
    return External(ref=reference, digest=f"hub:{reference}@{folder.name}", path=folder)
