"""The record of runs: which command ran with which configuration where, how it ended, and its metrics."""

import json
import math
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from hicra_cli.core.cache import canonical_json
from hicra_cli.core.drafts import utc_now
from hicra_cli.core.errors import RunError
from hicra_cli.core.names import new_id
from hicra_cli.core.schema import RegistryDatabase

STATUSES = ("running", "ok", "failed", "interrupted", "abandoned", "imported")


@dataclass(frozen=True, slots=True)
class RunInfo:
    """One run. `seconds` and `error` are None until it has ended; `metrics` may hold NaN."""

    id: str
    stage: str
    argv: tuple[str, ...]
    config: Mapping[str, Any]
    environment: Mapping[str, Any]
    status: str
    started: str
    seconds: float | None
    error: str | None
    metrics: Mapping[str, float]


def start_run(
    database: RegistryDatabase,
    stage: str,
    argv: Sequence[str],
    config: Mapping[str, Any],
    environment: Mapping[str, Any],
) -> str:
    """Records a run that begins now and returns its id. Secrets must not be in any of it."""
    row = run_row(stage, argv, config, environment, status="running", seconds=None)
    with database.write() as db:
        insert_run(db, row)
    return str(row["id"])


def run_row(
    stage: str,
    argv: Sequence[str],
    config: Mapping[str, Any],
    environment: Mapping[str, Any],
    *,
    status: str,
    seconds: float | None,
) -> dict[str, Any]:
    """The row of a new run of this process. RunError where something has no JSON form."""
    pid = os.getpid()
    return {
        "id": new_id(),
        "stage": stage,
        "argv": canonical_json(list(argv)).decode(),
        "config": canonical_json(config).decode(),
        "environment": canonical_json(environment).decode(),
        "status": status,
        "started": utc_now(),
        "seconds": seconds,
        "pid": pid,
        "process_started": process_start(pid),
        "host": socket.gethostname(),
    }


def insert_run(db: Database, row: Mapping[str, Any]) -> None:
    """Writes the row, unless a run of this id is there already."""
    db.execute(
        "INSERT OR IGNORE INTO runs VALUES (:id, :stage, :argv, :config, :environment, :status, :started, :seconds, "
        "NULL, :pid, :process_started, :host)",
        dict(row),
    )


def finish_run(
    database: RegistryDatabase, run_id: str, *, status: str, seconds: float | None, error: str | None = None
) -> None:
    """Records how a run ended: `ok`, `failed` or `interrupted`."""
    if status not in STATUSES:
        raise RunError(f"{status!r} is no status of a run", fix=f"One of {', '.join(STATUSES)}")
    with database.write() as db:
        db.execute("UPDATE runs SET status = ?, seconds = ?, error = ? WHERE id = ?", [status, seconds, error, run_id])


def add_metrics(database: RegistryDatabase, run_id: str, metrics: Mapping[str, float]) -> None:
    """Records figures of a run, `group/name_unit` → number; a name given again is overwritten."""
    with database.write() as db:
        for name, value in metrics.items():
            number = None if math.isnan(value) else float(value)  # SQLite has no NaN
            db.execute("INSERT OR REPLACE INTO metrics VALUES (?, ?, ?)", [run_id, name, number])


def list_runs(
    database: RegistryDatabase, *, stage: str | None = None, status: str | None = None, run_id: str | None = None
) -> list[RunInfo]:
    """Runs, newest first, of one stage and status if given."""
    conditions, parameters = ["1"], []
    for column, value in (("stage", stage), ("status", status), ("id", run_id)):
        if value is not None:
            conditions.append(f"{column} = ?")
            parameters.append(value)
    rows = database.rows(
        f"SELECT * FROM runs WHERE {' AND '.join(conditions)} ORDER BY started DESC, id DESC", parameters
    )
    return [_run(database, row) for row in rows]


def abandoned_runs(database: RegistryDatabase) -> list[RunInfo]:
    """Runs of this machine that are recorded as running although their process is gone (it was killed)."""
    rows = database.rows("SELECT * FROM runs WHERE status = 'running' AND host = ?", [socket.gethostname()])
    return [_run(database, row) for row in rows if process_start(row["pid"]) != row["process_started"]]


def process_start(pid: int) -> int | None:
    """When a live process started, in clock ticks since boot; None if it is gone (or /proc does not exist).

    Together with the pid it names a process for sure: pids are used again.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    return int(text.rpartition(")")[2].split()[19])


def _run(database: RegistryDatabase, row: Mapping[str, Any]) -> RunInfo:
    metrics = database.rows("SELECT name, value FROM metrics WHERE run_id = ? ORDER BY name", [row["id"]])
    return RunInfo(
        id=row["id"],
        stage=row["stage"],
        argv=tuple(json.loads(row["argv"])),
        config=json.loads(row["config"]),
        environment=json.loads(row["environment"]),
        status=row["status"],
        started=row["started"],
        seconds=row["seconds"],
        error=row["error"],
        metrics={metric["name"]: math.nan if metric["value"] is None else metric["value"] for metric in metrics},
    )
