"""Garbage: what crashed processes left in `staging/` and `artifacts/`, told apart from what is alive or can be resumed.

Nothing that has rows is ever touched. Each removal happens under the lock of its draft, so a process that publishes or
resumes at the same time keeps what is its own. Every remain is tried although others fail; doing it again is harmless.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hicra_cli.core.drafts import read_draft
from hicra_cli.core.filesystem import size_of_tree
from hicra_cli.core.locks import OwnerLock, is_held, owner_pid
from hicra_cli.core.names import is_id
from hicra_cli.core.verification import artifact_folders


@dataclass(frozen=True, slots=True)
class Remain:
    """Something in the registry's folders that no row knows: where, how large, and why it goes, stays or resists."""

    path: str
    bytes: int
    reason: str


@dataclass(frozen=True, slots=True)
class GcReport:
    """What was removed (or would be: `dry_run`), what was kept on purpose, and what could not be removed."""

    dry_run: bool
    removed: tuple[Remain, ...]
    kept: tuple[Remain, ...]
    faults: tuple[Remain, ...]

    @property
    def freed_bytes(self) -> int:
        """Bytes that are free now, or would be."""
        return sum(remain.bytes for remain in self.removed)


@dataclass(frozen=True, slots=True)
class _Group:
    """All that lies around under one id: the draft's folder, its lock, the folder at its published place."""

    id: str
    paths: tuple[Path, ...]

    @property
    def bytes(self) -> int:
        return sum(map(_size, self.paths))


@dataclass(frozen=True, slots=True)
class _Rules:
    """What the caller of `collect_garbage` wants."""

    is_published: Callable[[str], bool]
    dry_run: bool
    include_drafts: bool
    keep_drafts_newer_than: timedelta


def collect_garbage(
    home: Path,
    *,
    is_published: Callable[[str], bool],
    dry_run: bool,
    include_drafts: bool,
    keep_drafts_newer_than: timedelta,
) -> GcReport:
    """Removes remains; see the module. include_drafts: also drafts that could be resumed, if they are old enough."""
    rules = _Rules(is_published, dry_run, include_drafts, keep_drafts_newer_than)
    sorted_out: dict[str, list[Remain]] = {"removed": [], "kept": [], "fault": [], "gone": []}
    for group in _groups(home, is_published):
        shown, size = str(group.paths[0].relative_to(home)), group.bytes
        verdict, reason = _treat(home, group, rules) if is_id(group.id) else ("kept", "hicra did not make this")
        sorted_out[verdict].append(Remain(shown, size, reason))
    return GcReport(dry_run, *(tuple(sorted_out[verdict]) for verdict in ("removed", "kept", "fault")))


def _groups(home: Path, is_published: Callable[[str], bool]) -> Iterator[_Group]:
    """What lies in `staging/`, and below `artifacts/` without rows, by id. What is published stays so for ever."""
    found: dict[str, list[Path]] = {}
    for name in sorted(os.listdir(home / "staging")):
        found.setdefault(name.removesuffix(".lock"), []).append(home / "staging" / name)
    for folder in artifact_folders(home):
        if not is_published(folder.name):
            found.setdefault(folder.name, []).append(folder)
    for name, paths in found.items():
        yield _Group(name, tuple(paths))


def _treat(home: Path, group: _Group, rules: _Rules) -> tuple[str, str]:
    """Removes one group where the rules allow it: (removed | kept | fault | gone, the reason)."""
    lock_path = home / "staging" / f"{group.id}.lock"
    try:
        lock = None if rules.dry_run else OwnerLock.acquire(lock_path, patience_s=0.2)
        if is_held(lock_path) if rules.dry_run else lock is None:
            return "kept", f"process {owner_pid(lock_path)} works on it"
        try:
            return _treat_owned(home, group, rules)
        finally:
            if lock is not None:
                lock.release(remove=not (home / "staging" / group.id).exists())
    except OSError as error:
        return "fault", f"{error.strerror}: {error.filename}"


def _treat_owned(home: Path, group: _Group, rules: _Rules) -> tuple[str, str]:
    """As `_treat`, under the lock: who publishes holds it until the rows are there, so what is asked here is final."""
    published = rules.is_published(group.id)
    reason = None if published else _reason_to_keep(home, group, rules)
    if reason is not None:
        return "kept", reason
    staged = [path for path in group.paths if path.parent.name == "staging" and path.suffix != ".lock"]
    doomed = staged if published else [*staged, *(path for path in group.paths if path.parent.name != "staging")]
    doomed = [path for path in doomed if os.path.lexists(path)]
    for path in () if rules.dry_run else doomed:
        _delete(path)
    if not doomed:
        return "gone", "its owner removed it meanwhile"
    return "removed", "its publication had ended" if published else "a crash left it"


def _reason_to_keep(home: Path, group: _Group, rules: _Rules) -> str | None:
    """Why a dead draft stays, or None: with a cache key and files it is work that `--resume` can go on with."""
    info = read_draft(home, group.id)
    placed = sum(_size(path) for path in group.paths if path.parent.name != "staging")
    if info is None or info.key is None or info.bytes + placed == 0:
        return None
    if not rules.include_drafts:
        return f"`--resume` can go on with this {info.kind} of {info.name}; --drafts removes it"
    young = datetime.now(UTC) - datetime.fromisoformat(info.created) < rules.keep_drafts_newer_than
    return "it is a young draft" if young else None


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _size(path: Path) -> int:
    if path.is_dir() and not path.is_symlink():
        return size_of_tree(path)
    try:
        return path.lstat().st_size
    except FileNotFoundError:
        return 0
