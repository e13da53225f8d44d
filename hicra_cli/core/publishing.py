"""Publication: from a finished draft to an artifact, all of it or nothing.

Order: files are made durable → the payload is renamed to its place → one transaction writes version, rows, lineage and
aliases. A crash before the commit leaves a folder without rows and its draft.json: `begin(resume=True)` brings it back
and `gc` removes it. A crash after the commit leaves at most an empty draft folder.
"""

import errno
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from sqlite_utils import Database

from hicra_cli.core import catalog
from hicra_cli.core.cache import canonical_json
from hicra_cli.core.drafts import OwnedDraft, utc_now
from hicra_cli.core.errors import RunError
from hicra_cli.core.filesystem import make_folders, storage_errors, sync_folder
from hicra_cli.core.manifest import Manifest
from hicra_cli.core.runs import insert_run
from hicra_cli.core.schema import RegistryDatabase


@dataclass(frozen=True, slots=True)
class Publication:
    """A sealed draft and what is to be said about it.

    inputs: (artifact id or draft id, role). origin, run: of an imported artifact, the id it was born with and the row
    of the run that made it. move_aliases: take an alias that already points elsewhere.
    """

    draft: OwnedDraft
    manifest: Manifest
    inputs: Sequence[tuple[str, str]] = ()
    aliases: Sequence[str] = ()
    summary: Mapping[str, Any] = field(default_factory=dict)
    origin: str | None = None
    run: Mapping[str, Any] | None = None
    move_aliases: bool = True


def publish_all(database: RegistryDatabase, publications: Sequence[Publication], *, reuse: bool) -> list[str]:
    """Publishes all drafts in one transaction and returns the ids of the artifacts, in order.

    reuse: a draft whose content is already published under its kind and name, intact, yields that artifact instead:
    aliases and cache key are moved to it, its lineage stays, the draft is dropped.
    """
    summaries = [_summary_text(publication) for publication in publications]
    placed: list[OwnedDraft] = []
    try:
        for publication in publications:
            _place(publication)
            placed.append(publication.draft)
        with database.write() as db:
            ids = _record_all(database, db, publications, summaries, reuse=reuse)
    except BaseException:
        for draft in placed:
            _put_back(database, draft)
        raise
    for publication, artifact_id in zip(publications, ids, strict=True):
        _finish(publication.draft, kept=artifact_id == publication.draft.id)
    return ids


def _summary_text(publication: Publication) -> str:
    try:
        return json.dumps(json.loads(canonical_json(publication.summary)), ensure_ascii=False)
    except RunError as error:
        ref = f"{publication.draft.kind}:{publication.draft.name}"
        raise RunError(
            f"the summary of {ref} is no JSON: {error.what}", fix="Write None for what is unknown"
        ) from error


def _place(publication: Publication) -> None:
    """Renames the payload to where published files lie, durably."""
    draft = publication.draft
    with storage_errors(f"publishing {draft.kind}:{draft.name}", draft.home, needed_bytes=publication.manifest.bytes):
        make_folders(draft.place.parent)
        try:
            draft.files.rename(draft.place)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            raise RunError(
                "staging/ and artifacts/ lie on different file systems, so nothing can be published at one stroke",
                where=str(draft.home),
                fix="Move the whole registry instead of linking a part of it elsewhere",
            ) from error
        sync_folder(draft.place.parent)
        sync_folder(draft.folder)


def _record_all(
    database: RegistryDatabase,
    db: Database,
    publications: Sequence[Publication],
    summaries: Sequence[str],
    *,
    reuse: bool,
) -> list[str]:
    """Inside the transaction: rows of all artifacts, then the edges, which may run between them."""
    ids: dict[str, str] = {}
    for publication, summary in zip(publications, summaries, strict=True):
        existing = _same_content(database, publication) if reuse else None
        ids[publication.draft.id] = _record(db, publication, summary) if existing is None else existing
        _point_at(db, publication, ids[publication.draft.id])
    for publication in publications:
        child = ids[publication.draft.id]
        if child == publication.draft.id:
            catalog.insert_edges(db, [(ids.get(parent, parent), child, role) for parent, role in publication.inputs])
    return [ids[publication.draft.id] for publication in publications]


def _same_content(database: RegistryDatabase, publication: Publication) -> str | None:
    draft = publication.draft
    found = catalog.select(
        database,
        draft.home,
        "kind = ? AND name = ? AND digest = ?",
        [draft.kind, draft.name, publication.manifest.digest],
    )
    return next((artifact.id for artifact in found if artifact.first_fault() is None), None)


def _record(db: Database, publication: Publication, summary: str) -> str:
    draft, manifest = publication.draft, publication.manifest
    if publication.run is not None:
        insert_run(db, publication.run)
    row = {
        "id": draft.id,
        "kind": draft.kind,
        "name": draft.name,
        "digest": manifest.digest,
        "created": utc_now(),
        "bytes": manifest.bytes,
        "run_id": draft.run_id,
        "key": draft.key,
        "summary": summary,
        "origin": publication.origin,
    }
    catalog.insert_artifact(db, row, manifest.files)
    return draft.id


def _point_at(db: Database, publication: Publication, artifact_id: str) -> None:
    draft = publication.draft
    if draft.key is not None:
        catalog.insert_key(db, draft.key, artifact_id)
    for alias in publication.aliases:
        row = {"kind": draft.kind, "name": draft.name, "alias": alias, "artifact": artifact_id, "changed": utc_now()}
        catalog.point_alias(db, row, move=publication.move_aliases)


def _put_back(database: RegistryDatabase, draft: OwnedDraft) -> None:
    """After a failed transaction the payload returns to its draft, unless its rows are there after all."""
    if draft.id not in catalog.known_ids(database):
        draft.place.rename(draft.files)


def _finish(draft: OwnedDraft, *, kept: bool) -> None:
    """Published files are made read-only (a guard against accidents, not a promise), the draft's remains go."""
    if kept:
        for path in draft.place.rglob("*"):
            if path.is_file():
                with suppress(OSError):
                    path.chmod(0o444)
    else:
        with suppress(OSError):
            draft.place.rename(draft.files)
    draft.drop()
