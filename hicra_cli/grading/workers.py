"""Processes that do one piece of work at a time and can be killed: what both graders stand on.

A worker is a new interpreter, not a fork: safe beside torch's threads, in its own session, ended with everything it
started. Its clock counts CPU time of the work (see `serving.py`), so neither waiting in a queue nor a busy machine
turns work into a timeout; a second deadline, by the wall clock, is for what sleeps. Not covered: what the work is and
what a lost piece of it means, which `pool.py` and `rewards.py` decide.
"""

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

START_LIMIT_S = 120.0
MAX_STARTS = 3
_PIPE_BYTES = 65_536

_PROGRAM = (
    "import json, sys; options = json.loads(sys.argv[1]); sys.path[:] = options['path']; "
    "from importlib import import_module; import_module(options['module']).main(options)"
)


@dataclass(frozen=True, slots=True)
class Program:
    """What a worker runs: `main(options)` of a module, with `environment` and nothing else from this process's."""

    module: str
    options: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Lost:
    """Work that got no answer. `cpu` and `clock`: a limit was passed; `death`: two workers ended on it.

    status: the exit status of the process, negative for a signal.
    """

    why: Literal["cpu", "clock", "death"]
    status: int


Answer = dict[str, Any] | Lost


class WorkersDoNotStart(Exception):
    """`starts` workers in a row ended, or said nothing for START_LIMIT_S, before their first word."""

    def __init__(self, *, status: int, late: bool) -> None:
        super().__init__(f"status {status}")
        self.status = status
        self.late = late


@dataclass(frozen=True, slots=True)
class _Work:
    place: int
    request: Mapping[str, Any]
    retried: bool = False


@dataclass(eq=False, slots=True)
class _Worker:
    """A process and what it is doing. `deadline` is by the monotonic clock; `unsent` is what its pipe did not take."""

    process: subprocess.Popen[bytes]
    deadline: float
    ready: bool = False
    work: _Work | None = None
    unread: bytes = b""
    unsent: bytes = b""


class WorkerPool:
    """At most `workers` processes, started when there is work. Not for several threads at once.

    cpu_s, wall_s: what one piece of work may cost by the CPU clock and by the wall clock. welcome: called with a
    worker's first message; what it raises ends the pool and reaches the caller. starts: attempts in a row.
    """

    def __init__(
        self,
        program: Program,
        *,
        workers: int,
        cpu_s: float,
        wall_s: float,
        welcome: Callable[[dict[str, Any]], None] | None = None,
        starts: int = MAX_STARTS,
    ) -> None:
        self.workers: list[_Worker] = []
        self._program = program
        self._size = workers
        self._cpu_s = cpu_s
        self._wall_s = wall_s
        self._welcome = welcome or _anybody
        self._starts = starts
        self._failed_starts = 0

    def answers(
        self, requests: Sequence[Mapping[str, Any]], *, heard: Callable[[int, Answer], None] | None = None
    ) -> list[Answer]:
        """One answer per request, in order. heard: called with place and answer as they come; may raise to stop.

        Work whose worker died of unknown cause is tried once more: whatever killed it may have meant the process, not
        the work. Raises WorkersDoNotStart.
        """
        waiting = deque(_Work(place, request) for place, request in enumerate(requests))
        found: dict[int, Answer] = {}
        with self._closed_on_failure():
            while len(found) < len(requests):
                self._start_workers(len(waiting))
                for worker in self.workers:
                    if worker.ready and worker.work is None and waiting:
                        self._give(worker, waiting.popleft())
                for work, answer in self._listen():
                    if isinstance(answer, Lost) and answer.why == "death" and not work.retried:
                        waiting.appendleft(replace(work, retried=True))
                        continue
                    found[work.place] = answer
                    if heard is not None:
                        heard(work.place, answer)
        return [found[place] for place in range(len(requests))]

    def start(self) -> None:
        """Have one worker ready, so that what keeps it from starting is known now. Raises WorkersDoNotStart."""
        with self._closed_on_failure():
            while not any(worker.ready for worker in self.workers):
                self._start_workers(1)
                self._listen()

    def close(self) -> None:
        """End the workers; harmless when repeated, and the next work starts new ones."""
        for worker in self.workers:
            _kill(worker)
        self.workers = []

    @contextlib.contextmanager
    def _closed_on_failure(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.close()  # a worker in the middle of something must not meet the next list
            raise

    def _start_workers(self, num_waiting: int) -> None:
        busy = sum(worker.work is not None for worker in self.workers)
        for _ in range(min(self._size, busy + num_waiting) - len(self.workers)):
            self.workers.append(_start(self._program))

    def _give(self, worker: _Worker, work: _Work) -> None:
        worker.work = work
        worker.deadline = time.monotonic() + self._wall_s
        worker.unsent = json.dumps({**work.request, "seconds": self._cpu_s}).encode() + b"\n"
        _send(worker)

    def _listen(self) -> list[tuple[_Work, Answer]]:
        """Wait until something happens: an answer, an end, a deadline. The pieces of work that are done or lost."""
        done = []
        for worker, late in self._wait():
            work = worker.work
            answer = self._lose(worker, late=True) if late else self._read(worker)
            if answer is not None and work is not None:
                done.append((work, answer))
        return done

    def _wait(self) -> list[tuple[_Worker, bool]]:
        """Workers that said something or ended (False), or are past their deadline (True). Requests go on meanwhile."""
        active = [worker for worker in self.workers if worker.work is not None or not worker.ready]
        with selectors.DefaultSelector() as selector:
            for worker in active:
                selector.register(_pipe(worker.process.stdout), selectors.EVENT_READ, (worker, False))
                if worker.unsent:
                    selector.register(_pipe(worker.process.stdin), selectors.EVENT_WRITE, (worker, True))
            patience = max(0.0, min(worker.deadline for worker in active) - time.monotonic())
            events = [key.data for key, _ in selector.select(patience)]
        for worker in [worker for worker, takes_more in events if takes_more]:
            _send(worker)
        heard = [worker for worker, takes_more in events if not takes_more]
        late = [worker for worker in active if worker not in heard and time.monotonic() >= worker.deadline]
        return [*((worker, False) for worker in heard), *((worker, True) for worker in late)]

    def _read(self, worker: _Worker) -> Answer | None:
        """A whole message of a worker, its loss where it ended, None where more is to come."""
        part = os.read(_pipe(worker.process.stdout), _PIPE_BYTES)
        if not part:
            return self._lose(worker, late=False)
        worker.unread += part
        if not worker.unread.endswith(b"\n"):
            return None
        message: dict[str, Any] = json.loads(worker.unread)
        worker.unread, worker.work = b"", None
        if worker.ready:
            return message
        self._welcome(message)
        worker.ready, self._failed_starts = True, 0
        return None

    def _lose(self, worker: _Worker, *, late: bool) -> Lost | None:
        """Take a worker out that ended or is late; what that means for its work."""
        self.workers.remove(worker)
        status = _kill(worker)
        if not worker.ready:
            self._failed_starts += 1
            if late or self._failed_starts >= self._starts:
                raise WorkersDoNotStart(status=status, late=late)
            return None
        if late:
            return Lost("clock", status)
        return Lost("cpu" if status == -signal.SIGPROF else "death", status)


def minimal_environment() -> dict[str, str]:
    """What a worker needs that parses hostile text: nothing of this process's, and no random hashes."""
    # Library paths are kept because some installations of Python do not start without.
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH") if name in os.environ}
    return {"PYTHONHASHSEED": "0", "PYTHONUTF8": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"} | kept


def _anybody(message: dict[str, Any]) -> None:
    """The welcome of a pool that expects nothing of a first message."""


def _start(program: Program) -> _Worker:
    options = {"path": [path for path in sys.path if path], "module": program.module, **program.options}
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", _PROGRAM, json.dumps(options)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,
        env=dict(program.environment),
        start_new_session=True,
    )
    os.set_blocking(_pipe(process.stdin), False)  # a long request to a worker that stands still must not wait
    return _Worker(process, deadline=time.monotonic() + START_LIMIT_S)


def _send(worker: _Worker) -> None:
    """Write as much of the request as the pipe takes."""
    try:
        worker.unsent = worker.unsent[os.write(_pipe(worker.process.stdin), worker.unsent) :]
    except BlockingIOError:
        return
    except BrokenPipeError:  # it died idle: reading meets the end of its output, and the work is passed on
        worker.unsent = b""


def _pipe(stream: Any) -> int:
    assert stream is not None
    return int(stream.fileno())


def _kill(worker: _Worker) -> int:
    """End a worker, and what it started, for sure; its exit status, negative for a signal."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(worker.process.pid, signal.SIGKILL)
    for stream in (worker.process.stdin, worker.process.stdout):
        if stream is not None:
            stream.close()
    return worker.process.wait()
