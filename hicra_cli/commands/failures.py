"""From any exception to a failure in the user's terms, and to its JSON document."""

import errno
import os
import traceback
from pathlib import Path
from typing import Any

from hicra_cli.core.errors import HicraError, Interrupted, RunError

SCHEMA = 1


def failure_of(error: BaseException, *, resume_hint: str = "") -> HicraError | None:
    """A failure in the user's terms; None where the error can only be a bug of hicra."""
    if isinstance(error, Interrupted) and resume_hint:
        return Interrupted(error.what, where=error.where, fix=resume_hint)
    if isinstance(error, HicraError):
        return error
    if isinstance(error, KeyboardInterrupt):
        return Interrupted("interrupted; what was done is kept", fix=resume_hint or None)
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return RunError(
            "out of memory" + (f": {error}".splitlines()[0][:200] if str(error) else ""),
            fix="Lower train.token_budget, engine.max_rows or the response limit",
        )
    if _is_disk_full(error):
        fix = "Make space and go on with --resume, or choose another --home"
        return RunError("the disk is full", where=getattr(error, "filename", None), fix=fix)
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return RunError(f"{error.strerror}", where=str(error.filename), fix="Check its permissions")
    return None


def _is_disk_full(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return True
    # safetensors tells it in words only
    return type(error).__name__ == "SafetensorError" and os.strerror(errno.ENOSPC) in str(error)


def bug_report(error: BaseException, log: str) -> HicraError:
    """The paragraph for a failure that nobody foresaw."""
    place = traceback.extract_tb(error.__traceback__)
    where = f"{Path(place[-1].filename).name}:{place[-1].lineno}" if place else None
    return HicraError(
        f"a bug in hicra: {type(error).__name__}: {str(error)[:300]}",
        where=where,
        fix=f"Please report it with {log}" if log else "Please report it with the traceback that --debug shows",
    )


def error_document(command_name: str, error: HicraError, **more: Any) -> dict[str, Any]:
    """The JSON document of a failure, complete like that of a success."""
    return {
        "schema": SCHEMA,
        "command": command_name,
        "status": "error",
        "artifacts": [],
        "metrics": {},
        "warnings": [],
        "run_id": None,
        "seconds": 0.0,
        "cached": None,
        **more,
        "error": {
            "kind": error.kind,
            "what": error.what,
            "where": error.where,
            "fix": error.fix,
            "exit_code": error.exit_code,
        },
    }
