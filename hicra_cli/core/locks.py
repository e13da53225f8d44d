"""Locks that the kernel releases when their owner dies, however it dies.

A lock is an flock on a small file that holds the owner's pid. The file may be removed by the owner; whoever opened it
before that notices and tries again, so two processes never own one lock.
"""

import fcntl
import os
import time
import weakref
from contextlib import suppress
from pathlib import Path


class OwnerLock:
    """An exclusive lock on `path`, held until `release` or until the process ends."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor: int | None = descriptor
        # A forked child (a data loader, a grading worker) must not keep the lock of a dead parent alive.
        this = weakref.ref(self)
        os.register_at_fork(after_in_child=lambda: _close_in_child(this))

    @classmethod
    def acquire(cls, path: Path, *, patience_s: float) -> "OwnerLock | None":
        """As `try_acquire`, tried again until the patience is over: whoever looks at a lock holds it for an instant."""
        deadline = time.monotonic() + patience_s
        while (lock := cls.try_acquire(path)) is None and time.monotonic() < deadline:
            time.sleep(0.02)
        return lock

    @classmethod
    def try_acquire(cls, path: Path) -> "OwnerLock | None":
        """The lock, or None while another owner (in this process or another one) has it. OSError passes through."""
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_still(path, descriptor):
                    with suppress(OSError):  # the pid is a courtesy; on a full disk the lock is as good without it
                        os.ftruncate(descriptor, 0)
                        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
                    return cls(path, descriptor)
            except BlockingIOError:
                os.close(descriptor)
                return None
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)

    def release(self, *, remove: bool = False) -> None:
        """Gives the lock up; `remove` deletes the file first, while nobody else can own it. Safe to repeat."""
        if self._descriptor is None:
            return
        try:
            if remove:
                self.path.unlink(missing_ok=True)
        finally:
            self._close()

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def is_held(path: Path) -> bool:
    """Whether a live process holds the lock at this instant. Looking takes it, shared, for that instant."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def owner_pid(path: Path) -> int | None:
    """The pid that the lock file names: the live owner while the lock is held, else its last one."""
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _is_still(path: Path, descriptor: int) -> bool:
    """Whether `path` still names the opened file: the last owner may have removed it meanwhile."""
    try:
        there, opened = os.stat(path, follow_symlinks=False), os.fstat(descriptor)
    except FileNotFoundError:
        return False
    return (there.st_dev, there.st_ino) == (opened.st_dev, opened.st_ino)


def _close_in_child(this: "weakref.ref[OwnerLock]") -> None:
    lock = this()
    if lock is not None:
        lock._close()
