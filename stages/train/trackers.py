"""Step records for tensorboard, wandb, trackio and mlflow, through accelerate's tracker classes.

Each tracker lives in a thread of its own: a server that is away costs a warning, never a step. A run's folder for
trackers, `HOME/trackers/<name>-<draft>`, survives interruptions. Its `delivered.json` says up to which step each
tracker was served, so a resumed run sends what is missing and nothing twice; TensorBoard's files, which are ours, are
written anew from `steps.jsonl`.
"""

import importlib.util
import json
import queue
import shutil
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hicra_cli.core.errors import ConfigError
from hicra_cli.core.filesystem import write_durably
from hicra_cli.core.progress import Progress

PROJECT = "hicra"
DELIVERED = "delivered.json"
WAITING_STEPS = 1000  # records that wait for a slow tracker; what comes beyond is dropped and counted
FINISH_S = 20.0


def require_trackers(names: Iterable[str]) -> None:
    """ConfigError, with what to install, for a tracker that is not there."""
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"not installed: {', '.join(missing)}",
            where="train.trackers",
            fix=f"Install with `pip install {' '.join(missing)}`, or leave it out: steps.jsonl is always written",
        )


@dataclass(frozen=True, slots=True)
class TrackedRun:
    """name: of the run, as trackers show it. folder: where local trackers write. settings: the configuration, flat."""

    name: str
    folder: Path
    settings: Mapping[str, Any]


@contextmanager
def tracking(
    names: Sequence[str], run: TrackedRun, records: Sequence[Mapping[str, Any]], progress: Progress
) -> Iterator["Trackers"]:
    """Trackers for the time of a run. records: the steps it has already; those not delivered yet are sent first."""
    trackers = Trackers([_Sender(name, run, progress) for name in dict.fromkeys(names)])
    for record in records:
        trackers.log(record)
    try:
        yield trackers
    finally:
        trackers.finish()


class Trackers:
    """Sends records to all trackers; returns at once."""

    def __init__(self, senders: Sequence["_Sender"]) -> None:
        self._senders = senders

    def log(self, record: Mapping[str, Any]) -> None:
        """Queue a step's record."""
        for sender in self._senders:
            sender.put(record)

    def finish(self) -> None:
        """Wait, all in all at most FINISH_S seconds, until everything is delivered."""
        for sender in self._senders:
            sender.close()
        deadline = time.monotonic() + FINISH_S
        for sender in self._senders:
            sender.join(deadline - time.monotonic())


class _Sender:
    """One tracker and its thread. The first failure is warned of and ends it: `steps.jsonl` has everything."""

    def __init__(self, name: str, run: TrackedRun, progress: Progress) -> None:
        self._name, self._run, self._progress = name, run, progress
        self._waiting: queue.Queue[Mapping[str, Any] | None] = queue.Queue(WAITING_STEPS)
        self._failed = False
        self._thread = threading.Thread(target=self._work, name=f"tracker {name}", daemon=True)
        self._thread.start()

    def put(self, record: Mapping[str, Any]) -> None:
        if self._failed:
            return
        try:
            self._waiting.put_nowait(record)
        except queue.Full:
            self._give_up(f"{WAITING_STEPS} steps are waiting for it")

    def close(self) -> None:
        if not self._failed:
            try:
                self._waiting.put_nowait(None)
            except queue.Full:
                self._give_up(f"{WAITING_STEPS} steps are waiting for it")

    def join(self, patience_s: float) -> None:
        if self._failed:
            return
        self._thread.join(max(0.0, patience_s))
        if self._thread.is_alive():
            self._give_up(f"it is not done after {FINISH_S:.0f} s")

    def _work(self) -> None:
        try:
            self._deliver()
        except Exception as error:  # noqa: BLE001 (whatever a tracker raises, training goes on)
            self._give_up(f"{type(error).__name__}: {error}")

    def _deliver(self) -> None:
        memory = _Delivered(self._run.folder, self._name)
        tracker = _start(self._name, self._run, memory)
        if memory.step < 0:
            tracker.store_init_configuration(_plain(self._run.settings))
            memory.note(0)
        while (record := self._waiting.get()) is not None and not self._failed:
            if record["step"] > memory.step:
                tracker.log(numbers(record), step=record["step"])
                memory.note(record["step"])
        tracker.finish()

    def _give_up(self, reason: str) -> None:
        if not self._failed:
            self._failed = True
            self._progress.warn(
                f"tracker {self._name} gets no more steps: {reason}. steps.jsonl has them all; a resumed run sends "
                "what is missing"
            )


class _Delivered:
    """What one tracker has: the last step, -1 where not even the settings; and the id that it gave the run."""

    def __init__(self, folder: Path, name: str) -> None:
        self._path = folder / f"{name}-{DELIVERED}"
        known = json.loads(self._path.read_text()) if self._path.exists() else {}
        self.step: int = known.get("step", -1)
        self.id: str | None = known.get("id")
        folder.mkdir(parents=True, exist_ok=True)

    def note(self, step: int, *, id: str | None = None) -> None:
        self.step, self.id = step, id or self.id
        write_durably(self._path, json.dumps({"step": self.step, "id": self.id}).encode())


def numbers(record: Mapping[str, Any]) -> dict[str, float]:
    """What trackers draw: the numbers of a record, under its names. Nulls are left out."""
    return {
        name: value
        for name, value in record.items()
        if name != "step" and isinstance(value, (int, float)) and not isinstance(value, bool)
    }


def _start(name: str, run: TrackedRun, memory: _Delivered) -> Any:
    """accelerate's tracker, started; a run that was there before is gone on with."""
    from accelerate import PartialState
    from accelerate import tracking as classes

    if not PartialState._shared_state:  # accelerate's logger insists on it
        PartialState(cpu=True)
    if name == "tensorboard":
        shutil.rmtree(run.folder / name, ignore_errors=True)
        memory.step = -1
        tracker: Any = classes.TensorBoardTracker(run.name, run.folder / name)
    elif name == "wandb":
        folder = run.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        tracker = classes.WandBTracker(PROJECT, name=run.name, id=run.name, resume="allow", dir=str(folder))
    elif name == "trackio":
        tracker = classes.TrackioTracker(PROJECT, name=run.name, resume="allow")
    else:
        tracker = classes.MLflowTracker(PROJECT, run_id=memory.id, run_name=run.name)
    tracker.main_process_only = False  # only the first process comes here at all
    tracker.start()
    if name == "mlflow":
        memory.note(memory.step, id=tracker.tracker.info.run_id)
    return tracker


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Values of the types that trackers take."""
    return {
        name: value if isinstance(value, (bool, int, float, str)) else json.dumps(value, default=str)
        for name, value in settings.items()
    }
