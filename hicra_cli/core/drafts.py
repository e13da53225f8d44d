"""Drafts: folders under `staging/` in which an artifact grows until it is published.

`staging/<id>.lock` is locked by the process that owns the draft, `staging/<id>/draft.json` says what it will be and
`staging/<id>/files/` is what will be published. The lock is taken before the folder exists and given up after it is
gone, so a folder whose lock is free belongs to nobody alive.
"""

import json
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from hicra_cli.core.artifact import DraftInfo
from hicra_cli.core.catalog import artifact_folder
from hicra_cli.core.errors import RunError, UsageError
from hicra_cli.core.filesystem import size_of_tree, storage_errors, sync_folder, write_durably
from hicra_cli.core.locks import OwnerLock, is_held, owner_pid
from hicra_cli.core.names import check_kind, check_name, is_id, new_id


@dataclass(frozen=True, slots=True)
class OwnedDraft:
    """A draft this process owns: what draft.json says, its folders and the held lock."""

    home: Path
    id: str
    kind: str
    name: str
    key: str | None
    created: str
    run_id: str | None
    lock: OwnerLock

    @property
    def folder(self) -> Path:
        """`staging/<id>`, with draft.json and the payload."""
        return self.home / "staging" / self.id

    @property
    def files(self) -> Path:
        """`staging/<id>/files`, the payload."""
        return self.folder / "files"

    @property
    def place(self) -> Path:
        """Where the payload will lie once published."""
        return artifact_folder(self.home, self.kind, self.name, self.id)

    def drop(self) -> None:
        """Removes the draft and gives its lock up."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.lock.release(remove=not self.folder.exists())


def create_draft(home: Path, kind: str, name: str, *, key: str | None, run_id: str | None) -> OwnedDraft:
    """A new empty draft. RunError where the disk is full."""
    draft_id, staging = new_id(), home / "staging"
    with storage_errors("starting an artifact", staging):
        lock = OwnerLock.try_acquire(staging / f"{draft_id}.lock")
        if lock is None:
            raise RunError(f"draft {draft_id} is taken", where=str(staging))
        draft = OwnedDraft(home, draft_id, kind, name, key, utc_now(), run_id, lock)
        try:
            draft.files.mkdir(parents=True)
            _write_json(draft)
        except BaseException:
            draft.drop()
            raise
    return draft


def take_over(
    home: Path, info: DraftInfo, *, run_id: str | None, is_published: Callable[[str], bool]
) -> OwnedDraft | None:
    """Owns an unfinished draft again; None if it was published or dropped. RunError names the pid of a live owner."""
    with storage_errors("resuming a draft", home):
        lock = OwnerLock.acquire(_lock_path(home, info.id), patience_s=1.0)
        if lock is None:
            raise RunError(
                f"{info.kind}:{info.name} is being made by process {owner_pid(_lock_path(home, info.id))}",
                where=str(info.path),
                fix="Wait for it or stop it, then repeat the command",
            )
        draft = OwnedDraft(home, info.id, info.kind, info.name, info.key, info.created, run_id, lock)
        try:
            if is_published(info.id) or not draft.folder.is_dir():
                draft.drop()
                return None
            _bring_back(draft)
            _write_json(draft)
        except BaseException:
            lock.release()
            raise
    return draft


def list_drafts(home: Path) -> list[DraftInfo]:
    """All drafts with a readable draft.json, newest first. A lock that is held shows in `owner`."""
    return [info for path in _draft_folders(home) if (info := read_draft(home, path.name)) is not None]


def read_draft(home: Path, draft_id: str) -> DraftInfo | None:
    """What draft.json says, or None where the draft was killed before it was written, or vanished."""
    folder = home / "staging" / draft_id
    try:
        content = json.loads((folder / "draft.json").read_bytes())
        info = DraftInfo(
            id=folder.name,
            kind=check_kind(content["kind"]),
            name=check_name(content["name"]),
            key=content["key"],
            created=str(content["created"]),
            command=str(content["command"]),
            path=folder / "files",
            bytes=size_of_tree(folder / "files"),
            owner=None,
        )
    except (OSError, ValueError, KeyError, TypeError, UsageError):
        return None
    lock_path = _lock_path(home, folder.name)
    return replace(info, owner=owner_pid(lock_path) or -1) if is_held(lock_path) else info


def utc_now() -> str:
    """The time in UTC, to the microsecond, as ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _lock_path(home: Path, draft_id: str) -> Path:
    return home / "staging" / f"{draft_id}.lock"


def _bring_back(draft: OwnedDraft) -> None:
    """Undoes the rename of a publication that was killed before its rows were written."""
    if draft.place.is_dir() and not draft.files.exists():
        draft.place.rename(draft.files)
        sync_folder(draft.folder)
        sync_folder(draft.place.parent)
    draft.files.mkdir(exist_ok=True)


def _write_json(draft: OwnedDraft) -> None:
    content = {
        "id": draft.id,
        "kind": draft.kind,
        "name": draft.name,
        "key": draft.key,
        "run_id": draft.run_id,
        "created": draft.created,
        "command": shlex.join(sys.argv),
    }
    write_durably(draft.folder / "draft.json", json.dumps(content, indent=1).encode())


def _draft_folders(home: Path) -> Iterator[Path]:
    try:
        names = sorted(os.listdir(home / "staging"), reverse=True)
    except FileNotFoundError:
        return
    yield from (home / "staging" / name for name in names if is_id(name))
