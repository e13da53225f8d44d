"""Reading a bundle that anyone may have made: refused whole, or published whole.

1. The listing is the first member, bounded in size, and every field is checked before anything is written.
2. The members must be exactly the listed files, in the listed order, each a plain file of the listed size and hash.
   Names in the archive are only compared, never used as paths.
3. Everything is extracted into drafts under `staging/`; one transaction publishes all of them.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hicra_cli.core import runs
from hicra_cli.core.archives import Member, archive_format, read_archive, refused
from hicra_cli.core.artifact import Artifact, FileEntry
from hicra_cli.core.bundle import BUNDLE_FORMAT, BUNDLE_VERSION, LIST_NAME, member_name
from hicra_cli.core.cache import canonical_json
from hicra_cli.core.drafts import OwnedDraft, create_draft
from hicra_cli.core.errors import ArtifactError, HicraError, RunError, UsageError
from hicra_cli.core.filesystem import disk_full, free_bytes, storage_errors
from hicra_cli.core.manifest import Manifest, manifest_of, seal
from hicra_cli.core.names import check_alias, check_kind, check_name, clashing_paths, is_id, path_fault
from hicra_cli.core.publishing import Publication, publish_all

if TYPE_CHECKING:
    from hicra_cli.core.registry import Registry

_LARGEST_LISTING = 1 << 24
_CHUNK = 1 << 20
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class _Listed:
    """One artifact of a listing, every field checked."""

    id: str
    origin: str
    kind: str
    name: str
    key: str | None
    run_id: str | None
    summary: Mapping[str, Any]
    aliases: Sequence[str]
    inputs: Sequence[tuple[str, str]]
    manifest: Manifest


def read_bundle(registry: "Registry", path: Path) -> list[Artifact]:
    """Publishes all artifacts of the bundle, in its order. ArtifactError refuses it whole, RunError is a full disk."""
    kind = archive_format(path)
    if not path.is_file():
        raise ArtifactError("there is no such bundle", where=str(path), fix="Check the path")
    try:
        with storage_errors("reading the bundle", path), path.open("rb") as file:
            members = read_archive(file, kind)
            content = _read_listing(members)
            listed = _check_listing(content)
            run_rows = _check_runs(content)
            drafts = _extract_all(registry.home, listed, run_rows, members)
    except HicraError as error:
        error.where = error.where or str(path)
        raise
    try:
        return _publish(registry, run_rows, listed, drafts)
    except BaseException:
        for draft in drafts:
            draft.drop()
        raise


def _read_listing(members: Iterator[Member]) -> dict[str, Any]:
    first = next(members, None)
    if first is None or first.name != LIST_NAME:
        raise refused(f"it does not begin with {LIST_NAME}")
    if first.size > _LARGEST_LISTING:
        raise refused(f"its listing has {first.size:,} bytes")
    text = b"".join(_blocks(first))
    try:
        content = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise refused(f"its listing is no JSON: {error}") from error
    if not isinstance(content, dict) or content.get("format") != BUNDLE_FORMAT:
        raise refused("its listing is not of a hicra bundle")
    if content.get("version") != BUNDLE_VERSION:
        raise ArtifactError(
            f"the bundle has format {content.get('version')!r}, this hicra reads {BUNDLE_VERSION}", fix="Upgrade hicra"
        )
    return content


def _check_listing(content: Mapping[str, Any]) -> list[_Listed]:
    """All artifacts of the listing; refused at the first field that is not what the exporter writes."""
    try:
        listed = [_check_artifact(item) for item in content["artifacts"]]
    except (KeyError, TypeError, ValueError, AttributeError, UsageError, RunError) as error:
        raise refused(f"its listing is malformed: {error}") from error
    ids = [artifact.id for artifact in listed]
    if len(set(ids)) != len(ids) or not ids:
        raise refused("it is empty or lists an artifact twice")
    known: set[str] = set()
    for artifact in listed:
        if any(parent not in known for parent, _ in artifact.inputs):
            raise refused("its lineage refers to something it does not hold")
        known.add(artifact.id)
    return listed


def _check_runs(content: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Rows of the runs, by their foreign id. They get ids of this registry: a foreign id may be anything."""
    try:
        return {
            str(run["id"]): runs.run_row(
                str(run["stage"]),
                [str(word) for word in run["argv"]],
                dict(run["config"]),
                dict(run["environment"]),
                status="imported",
                seconds=None if run["seconds"] is None else float(run["seconds"]),
            )
            for run in content["runs"]
        }
    except (KeyError, TypeError, ValueError, AttributeError, RunError) as error:
        raise refused(f"its record of runs is malformed: {error}") from error


def _check_artifact(item: Mapping[str, Any]) -> _Listed:
    """ValueError and its like where a field is not well-formed."""
    manifest = manifest_of(_check_file(entry) for entry in item["files"])
    clash = clashing_paths(entry.path for entry in manifest.files)
    if clash is not None or not manifest.files:
        raise ValueError(f"paths clash: {clash}")
    if manifest.digest != item["digest"]:
        raise ValueError("the digest does not match the files")
    listed = _Listed(
        id=item["id"],
        origin=item["origin"],
        kind=check_kind(item["kind"]),
        name=check_name(item["name"]),
        key=item["key"],
        run_id=item["run_id"],
        summary=dict(item["summary"]),
        aliases=[check_alias(alias) for alias in item["aliases"]],
        inputs=[(str(parent), check_name(role)) for parent, role in item["inputs"]],
        manifest=manifest,
    )
    if not (is_id(listed.id) and is_id(listed.origin)):
        raise ValueError("an id is malformed")
    canonical_json(listed.summary)
    if listed.key is not None and not _SHA256.fullmatch(listed.key):
        raise ValueError("a cache key is malformed")
    return listed


def _check_file(entry: Mapping[str, Any]) -> FileEntry:
    path, size, sha256 = entry["path"], entry["bytes"], entry["sha256"]
    fault = path_fault(path)
    if fault is not None:
        raise ValueError(f"{path!r} {fault}")
    if type(size) is not int or not 0 <= size < 1 << 62 or not _SHA256.fullmatch(sha256):
        raise ValueError(f"size or hash of {path!r}")
    return FileEntry(path, sha256, size)


def _extract_all(
    home: Path, listed: Sequence[_Listed], run_rows: Mapping[str, Mapping[str, Any]], members: Iterator[Member]
) -> list[OwnedDraft]:
    """A draft with verified files for each artifact; all are dropped again at the first fault."""
    needed = sum(artifact.manifest.bytes for artifact in listed)
    if needed > free_bytes(home):
        raise disk_full("importing a bundle", home, needed_bytes=needed)
    with ExitStack() as undo:
        drafts = []
        for artifact in listed:
            run_id = run_rows.get(artifact.run_id or "", {}).get("id")
            draft = create_draft(home, artifact.kind, artifact.name, key=artifact.key, run_id=run_id)
            undo.callback(draft.drop)
            drafts.append(draft)
            with storage_errors("importing a bundle", home, needed_bytes=needed):
                for entry in artifact.manifest.files:
                    _extract(draft.files / entry.path, member_name(artifact.id, entry.path), entry, next(members, None))
        extra = next(members, None)
        if extra is not None:
            raise refused(f"{extra.name!r} is not in its listing")
        undo.pop_all()
    return drafts


def _extract(target: Path, name: str, entry: FileEntry, member: Member | None) -> None:
    """Writes one file, never more than its listed size."""
    if member is None:
        raise refused(f"{name!r} is missing")
    if member.name != name:
        raise refused(f"{member.name!r} stands where {name!r} is listed")
    if member.size != entry.bytes:
        raise refused(f"{name!r} has {member.size:,} bytes, {entry.bytes:,} are listed")
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    with os.fdopen(descriptor, "wb") as file:
        for block in _blocks(member):
            digest.update(block)
            file.write(block)
    if digest.hexdigest() != entry.sha256:
        raise refused(f"the content of {name!r} does not match its hash")


def _blocks(member: Member) -> Iterator[bytes]:
    """The content, as long as it keeps to the member's size."""
    read = 0
    while block := member.content.read(_CHUNK):
        read += len(block)
        if read > member.size:
            break
        yield block
    if read != member.size:
        raise refused(f"{member.name!r} is not as long as it says")


def _publish(
    registry: "Registry",
    run_rows: Mapping[str, Mapping[str, Any]],
    listed: Sequence[_Listed],
    drafts: Sequence[OwnedDraft],
) -> list[Artifact]:
    draft_ids = {artifact.id: draft.id for artifact, draft in zip(listed, drafts, strict=True)}
    publications = []
    for artifact, draft in zip(listed, drafts, strict=True):
        with storage_errors("importing a bundle", registry.home, needed_bytes=artifact.manifest.bytes):
            manifest = seal(draft.files)
        if manifest != artifact.manifest:
            raise refused(f"{draft.kind}:{draft.name} changed while it was imported")
        publications.append(
            Publication(
                draft,
                manifest,
                inputs=[(draft_ids[parent], role) for parent, role in artifact.inputs],
                aliases=artifact.aliases,
                summary=artifact.summary,
                origin=artifact.origin,
                run=run_rows.get(artifact.run_id or ""),
                move_aliases=False,
            )
        )
    return [registry._by_id(found) for found in publish_all(registry.database, publications, reuse=True)]


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
