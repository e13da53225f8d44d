"""SIGINT and SIGTERM during training: stop at once where nothing is lost, wait where an update is half done."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from hicra_cli.core.errors import Interrupted
from hicra_cli.rl.parallel import Workers

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopSignal:
    """Raises `Interrupted` when a signal arrives; inside `deferred()` only at its end, unless inside `allowed()`."""

    def __init__(self) -> None:
        self._deferred = False
        self._pending: int | None = None

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Work that must not be torn: from an optimizer step to its line in the step record and its checkpoint."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False
        self._raise_pending()

    @contextmanager
    def allowed(self) -> Iterator[None]:
        """The part of deferred work that leaves no trace when it is dropped: sampling, grading, gradients."""
        before, self._deferred = self._deferred, False
        self._raise_pending()
        try:
            yield
        finally:
            self._deferred = before

    def poll(self, workers: Workers) -> None:
        """Between micro-batches: with several workers all stop together, or their exchanges would wait for ever."""
        if workers.size > 1 and workers.any(self._pending is not None):
            self._pending = self._pending or signal.SIGTERM
            self._raise_pending()

    def handle(self, number: int, frame: FrameType | None) -> None:
        """The signal handler."""
        self._pending = number
        if not self._deferred:
            self._raise_pending()

    def _raise_pending(self) -> None:
        number, self._pending = self._pending, None
        if number is not None:
            raise Interrupted(
                f"training was interrupted by {signal.Signals(number).name}; what was done is kept",
                fix="Go on with `hicra train --resume` and the same options",
            )


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
