"""Durable steps on disk, and what disk failures mean.

A full disk and a refused permission are failures of the run (RunError) that say how much room there is and how much
is needed; they leave what was there before. This file does not know what an artifact is.
"""

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hicra_cli.core.errors import RunError

_STREAMS = ("/dev/std", "/dev/fd/", "/proc/")
FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
NETWORK_FILE_SYSTEMS = frozenset({
    "9p", "afs", "beegfs", "ceph", "cifs", "fuse.ceph", "fuse.glusterfs", "fuse.juicefs", "fuse.rclone", "fuse.s3fs",
    "fuse.sshfs", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "orangefs", "panfs", "pvfs2", "smb2", "smb3",
    "smbfs",
})  # fmt: skip


@contextmanager
def storage_errors(doing: str, folder: Path, *, needed_bytes: int | None = None) -> Iterator[None]:
    """Turns an OSError inside the block into a RunError that says what was being done and how much room is left."""
    try:
        yield
    except OSError as error:
        raise storage_failure(error, doing, folder, needed_bytes=needed_bytes) from error


def storage_failure(error: OSError, doing: str, folder: Path, *, needed_bytes: int | None = None) -> RunError:
    """The RunError for one failed call: full disk (or quota, or file size limit), no permission, or anything else."""
    where = str(error.filename or folder)
    if error.errno in FULL:
        return disk_full(doing, folder, needed_bytes=needed_bytes, where=where, reason=error.strerror)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return RunError(f"no permission while {doing}: {error.strerror}", where=where, fix="Check the owner and mode")
    return RunError(f"the file system failed while {doing}: {error.strerror or error}", where=where)


def disk_full(
    doing: str, folder: Path, *, needed_bytes: int | None, where: str | None = None, reason: str | None = None
) -> RunError:
    """The RunError of a full disk."""
    needed = "" if needed_bytes is None else f"{needed_bytes:,} bytes needed, "
    return RunError(
        f"no room while {doing}: {needed}{free_bytes(folder):,} bytes free ({reason or 'disk full'})",
        where=where or str(folder),
        fix="Make room (`hicra artifacts gc` shows what crashed runs left), then repeat the command; nothing was lost",
    )


def free_bytes(folder: Path) -> int:
    """Bytes an ordinary user may still write at `folder`, or at its nearest existing parent."""
    for place in (folder, *folder.absolute().parents):
        try:
            return shutil.disk_usage(place).free
        except OSError:
            continue
    return 0


def sync_folder(folder: Path) -> None:
    """Makes the names inside `folder` durable."""
    _sync(folder, os.O_RDONLY | os.O_DIRECTORY)


def sync_file(path: Path) -> None:
    """Makes the bytes of a closed file durable."""
    _sync(path, os.O_RDONLY)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_durably(path: Path, content: bytes) -> None:
    """Replaces `path` by `content`: after a crash it holds either the old bytes or the new ones."""
    target = replaceable(path)
    if target is None:
        path.write_bytes(content)
        return
    temporary = target.with_name(f"{target.name}.tmp")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(target)
    sync_folder(target.parent)


def replaceable(path: Path) -> Path | None:
    """What a finished file may take the place of: `path`, or the file it is a link to.

    None where only writing into it as it stands is right: a pipe, a device (another file in the place of /dev/null
    would break the machine), a stream that is open already (/dev/stdout, /dev/fd/3).
    """
    if path.exists() and not path.is_file():
        return None
    if str(path.absolute()).startswith(_STREAMS):
        return None
    return Path(os.path.realpath(path))


def make_folders(folder: Path) -> None:
    """Creates `folder` and its parents, each made durable in its own parent."""
    if folder.is_dir():
        return
    make_folders(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def size_of_tree(folder: Path) -> int:
    """Bytes in the regular files below `folder` (links are not followed); vanished files count nothing."""
    total = 0
    for parent, _, files in os.walk(folder):
        for name in files:
            try:
                total += os.lstat(os.path.join(parent, name)).st_size
            except FileNotFoundError:
                continue
    return total


def network_filesystem_warning(folder: Path, *, mounts: Path = Path("/proc/self/mountinfo")) -> str | None:
    """A warning if `folder` lies on a network file system, where SQLite's locks are not to be trusted, else None.

    mounts: the kernel's mount table (proc(5)); where it cannot be read nothing is known and nothing is said.
    """
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    place = folder.absolute().resolve()
    found: tuple[int, str, str] = (-1, "", "")
    for line in lines:
        before, dash, after = line.partition(" - ")
        fields = before.split()
        if not dash or len(fields) < 5 or not after.split():
            continue
        point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[4])
        # Of two mounts on one point the later one is on top.
        if place.is_relative_to(point) and len(Path(point).parts) >= found[0]:
            found = (len(Path(point).parts), point, after.split()[0])
    if found[2] not in NETWORK_FILE_SYSTEMS:
        return None
    return (
        f"{folder} lies on {found[2]} (mounted at {found[1]}): file locks are not reliable there, "
        "so let only one process at a time use this registry, or put it on a local disk with --home or HICRA_HOME"
    )
