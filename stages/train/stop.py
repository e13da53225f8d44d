"""SIGINT and SIGTERM during training: stop at once where nothing is lost, wait where an update is half done.

With several workers a signal is only noted, except in work that a worker does on its own (`local`), and all stop
together at the next point where they meet: who left alone would leave the others waiting.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from hicra_cli.core.errors import HicraError, Interrupted
from hicra_cli.rl.exchange import Board
from hicra_cli.rl.parallel import Workers

SIGNALS = (signal.SIGINT, signal.SIGTERM)
ALARM_EVERY_S = 1.0


class StopSignal:
    """Raises `Interrupted` when a signal arrives; inside `deferred()` only at its end, unless inside `allowed()`."""

    def __init__(self) -> None:
        self._deferred = False
        self._local = False
        self._alarmed = False
        self._pending: int | None = None
        self._workers: Workers | None = None
        self._board: Board | None = None

    @contextmanager
    def shared(self, workers: Workers, board: Board | None) -> Iterator[None]:
        """From here on all workers stop together. With one worker nothing changes."""
        if board is None:
            yield
            return
        ended = threading.Event()
        watch = threading.Thread(target=self._watch, args=(board, ended), name="alarm", daemon=True)
        self._workers, self._board = workers, board
        watch.start()
        try:
            yield
        finally:
            self._workers, self._pending = None, None  # the run has ended: why, is known by now
            ended.set()
            watch.join()

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Work that must not be torn: from an optimizer step to its line in the step record and its checkpoint."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False
        self._stop_if_asked()

    @contextmanager
    def allowed(self) -> Iterator[None]:
        """The part of deferred work that leaves no trace when it is dropped: sampling, grading, gradients."""
        before, self._deferred = self._deferred, False
        try:
            self._stop_if_asked()
            yield
        finally:
            self._deferred = before

    @contextmanager
    def ignored(self) -> Iterator[None]:
        """The last work of a run that is ending anyway: an impatient second signal must not cost its checkpoint."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred, self._pending = False, None

    @contextmanager
    def local(self) -> Iterator[None]:
        """Work in which this worker needs no other: a signal ends it at once, here alone, where it is not deferred."""
        self._local = True
        try:
            if self._ends_local_work:
                self._raise_pending(keep=True)
            yield
        finally:
            self._local = False

    def poll(self, workers: Workers) -> None:
        """Between micro-batches: with several workers all stop together, or their exchanges would wait for ever."""
        if workers.size > 1 and workers.any(self._pending is not None):
            self._pending = self._pending or signal.SIGTERM
            self._raise_pending()

    def alarm(self, cause: BaseException) -> None:
        """Interrupt the other workers' local work: what failed here ends the run."""
        if self._board is None:
            return
        if isinstance(cause, HicraError):
            self._board.alarm()
        else:
            # A bug is told first of all here: another worker that repeats its words would pass for its origin.
            self._board.fail(cause)

    def handle(self, number: int, frame: FrameType | None) -> None:
        """The signal handler."""
        self._pending = number
        if self._workers is None and not self._deferred:
            self._raise_pending()
        if self._local and self._ends_local_work:
            self._raise_pending(keep=True)

    @property
    def _ends_local_work(self) -> bool:
        """An alarm ends also what a signal would wait for: the run cannot go on."""
        return self._alarmed or not self._deferred

    def _stop_if_asked(self) -> None:
        if self._workers is None:
            self._raise_pending()
        else:
            self.poll(self._workers)

    def _raise_pending(self, *, keep: bool = False) -> None:
        number = self._pending
        self._pending = number if keep else None
        if number is not None:
            raise Interrupted(
                f"training was interrupted by {signal.Signals(number).name}; what was done is kept",
                fix="Go on with `hicra train --resume` and the same options",
            )

    def _watch(self, board: Board, ended: threading.Event) -> None:
        """In a thread: turn the alarm into a signal to the main thread, which also wakes it from waiting."""
        while not ended.wait(ALARM_EVERY_S):
            if board.is_alarmed():
                if not ended.is_set():
                    self._alarmed = True
                    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
                return


@contextmanager
def stop_signal() -> Iterator[StopSignal]:
    """Install the handler for the time of a run (main thread only; elsewhere signals are left alone)."""
    stop = StopSignal()
    try:
        before = {number: signal.signal(number, stop.handle) for number in SIGNALS}
    except ValueError:  # not the main thread: whoever started it owns the signals
        yield stop
        return
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
