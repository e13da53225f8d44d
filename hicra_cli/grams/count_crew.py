"""Processes that scan and count beside this one: new interpreters, never forks, so safe beside torch's threads.

Protocol: a request is a line of JSON, {"task", "bytes", …}, and so many bytes; a reply is a line of JSON, with
"error" where the task failed. Large results are files in the folder of the tasks.
"""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np

from hicra_cli.core.errors import RunError
from hicra_cli.grams.count_levels import Counted, Rule
from hicra_cli.grams.count_tasks import Batch, Tasks, Written, load_counted, save_counted

_PROGRAM = "import sys; sys.path[:] = sys.argv[1:]; from hicra_cli.grams.count_crew import serve; serve()"
_ENCODING = "surrogatepass"  # texts may hold lone surrogates


class Crew:
    """`size` workers on the tasks of one folder. A context manager: leaving it ends them."""

    def __init__(self, size: int, folder: Path, rule: Rule, *, capacity: int) -> None:
        self._folder = folder
        self._setup = {"folder": str(folder), "rule": asdict(rule), "capacity": capacity}
        self._idle: queue.SimpleQueue[subprocess.Popen[bytes]] = queue.SimpleQueue()
        self._threads = ThreadPoolExecutor(size, thread_name_prefix="counting")
        self._processes = self._started(size)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes:
            process.kill()  # who waits for it in a thread hears that it has ended
        self._threads.shutdown(cancel_futures=True)
        self._end()

    def restart(self) -> None:
        """New processes, without the memory that the work of the old ones has left behind. No task may be running."""
        size = len(self._processes)
        self._end()
        self._idle = queue.SimpleQueue()
        self._processes = self._started(size)

    def scan(self, batch: Batch) -> Future[Written]:
        """Scan and write a batch."""
        return self._threads.submit(self._scan, batch)

    def count(self, first: int, last: int, floor: tuple[int, int]) -> Future[Counted]:
        """Count buckets."""
        return self._threads.submit(self._count, first, last, floor)

    def _started(self, size: int) -> list[subprocess.Popen[bytes]]:
        processes = [_start() for _ in range(size)]
        for number, process in enumerate(processes, start=1):  # 0 is this process
            _send(process, {**self._setup, "process": number}, b"")
            self._idle.put(process)
        return processes

    def _end(self) -> None:
        for process in self._processes:
            process.kill()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    with contextlib.suppress(BrokenPipeError):  # an unsent request to a killed worker
                        stream.close()
            process.wait()

    def _scan(self, batch: Batch) -> Written:
        texts = [text.encode(errors=_ENCODING) for text in batch.texts]
        request = {
            "task": "scan",
            "number": batch.number,
            "first": batch.first,
            "sizes": [len(text) for text in texts],
            "truncated": list(batch.truncated),
            "counted": list(batch.counted),
        }
        reply = self._ask(request, b"".join(texts))
        return Written(**{**reply, "offsets": np.array(reply["offsets"], dtype=np.int64)})

    def _count(self, first: int, last: int, floor: tuple[int, int]) -> Counted:
        self._ask({"task": "count", "first": first, "last": last, "floor": floor})
        path = _counted_file(self._folder, first)
        counted = load_counted(path)
        path.unlink()
        return counted

    def _ask(self, request: dict[str, Any], payload: bytes = b"") -> dict[str, Any]:
        """One task by whichever worker is idle; there is one at least for each thread."""
        process = self._idle.get()
        try:
            _send(process, request, payload)
            assert process.stdout is not None
            line = process.stdout.readline()
        except BrokenPipeError:
            line = b""
        finally:
            self._idle.put(process)  # a dead one too: who gets it next must not wait for ever
        if not line:
            raise RunError(
                f"a counting process ended while it worked (status {process.wait()})",
                fix="If memory ran out: a smaller --set collect.memory, or --set collect.workers=1",
            )
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise RunError(f"a counting process failed: {reply['error']}")
        return reply


def serve() -> None:
    """The worker: serve tasks until stdin closes. What libraries print goes to stderr."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is interrupted too, and ends its workers
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    requests = sys.stdin.buffer
    setup = json.loads(requests.readline())
    folder = Path(setup["folder"])
    tasks = Tasks(folder, Rule(**setup["rule"]), process=setup["process"], capacity=setup["capacity"])
    for line in requests:
        try:
            reply = _work(tasks, folder, json.loads(line), requests)
        except (OSError, MemoryError, ValueError) as error:
            reply = {"error": f"{type(error).__name__}: {error}"}
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


def _work(tasks: Tasks, folder: Path, request: dict[str, Any], requests: BinaryIO) -> dict[str, Any]:
    if request["task"] == "scan":
        texts = [requests.read(size).decode(errors=_ENCODING) for size in request["sizes"]]
        batch = Batch(request["number"], request["first"], texts, request["truncated"], request["counted"])
        written = tasks.write(batch.number, batch.first, *tasks.scan(batch))
        return {**asdict(written), "offsets": written.offsets.tolist()}
    first = request["first"]
    save_counted(_counted_file(folder, first), tasks.count(first, request["last"], tuple(request["floor"])))
    return {}


def _counted_file(folder: Path, first: int) -> Path:
    return folder / f"counted-{first}.npz"


def _start() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, *(path for path in sys.path if path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def _send(process: subprocess.Popen[bytes], request: dict[str, Any], payload: bytes) -> None:
    assert process.stdin is not None
    process.stdin.write(json.dumps(request).encode() + b"\n" + payload)
    process.stdin.flush()
