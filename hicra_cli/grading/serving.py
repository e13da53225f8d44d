"""The inside of a worker process: reads one request a line, answers one line, and dies of its own clock if it must.

Protocol, JSON lines: first the worker's own word, {"ready": true} or {"fault": ...}; then for each request, which
carries its "seconds", one reply. The limit is CPU time of this process, armed per request as a profiling timer whose
default action ends the process: it works inside C code too, and waiting for a core costs nothing. Memory is bounded by
RLIMIT_AS. The channel is private: what the work reads from stdin is empty, what it prints goes to stderr.
"""

import json
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, TextIO

Handler = Callable[[dict[str, Any]], tuple[dict[str, Any], bool]]
"""A request's reply, and whether this process can be trusted with another request."""


class Fault(Exception):
    """Why this worker can never work; its text and place reach the parent instead of `ready`."""

    def __init__(self, what: str, where: str | None = None) -> None:
        super().__init__(what)
        self.message = {"fault": what, "where": where}


def serve(prepare: Callable[[], tuple[Handler, dict[str, Any]]], *, memory_bytes: int | None) -> None:
    """Serve until the requests end. prepare: does the slow and the uncertain part before the clock and the limit run;
    gives the handler and what to say besides `ready`. memory_bytes: allowed above what is taken then.
    """
    requests, replies = _private_channel()
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    try:
        handle, greeting = prepare()
    except Fault as fault:
        _send(replies, fault.message)
        return
    if memory_bytes is not None:
        limit_memory(memory_bytes)
    _send(replies, {"ready": True, **greeting})
    for line in requests:
        request = json.loads(line)
        signal.setitimer(signal.ITIMER_PROF, request["seconds"])
        reply, usable = handle(request)
        signal.setitimer(signal.ITIMER_PROF, 0)
        _send(replies, reply)
        if not usable:
            return


def limit_memory(above_bytes: int) -> None:
    """Allow so much above what the libraries took at start (their threads reserve more on machines of many cores)."""
    try:
        with open("/proc/self/statm", encoding="ascii") as statm:
            used = int(statm.read().split()[0]) * resource.getpagesize()
    except OSError:  # no /proc: the clock alone has to do
        return
    limit = used + above_bytes
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


def _private_channel() -> tuple[TextIO, TextIO]:
    """Requests and replies on descriptors that the work does not know; its own stdin is empty, stdout is stderr."""
    requests, replies = os.fdopen(os.dup(0), encoding="utf-8"), os.fdopen(os.dup(1), "w", encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    return requests, replies


def _end_with_parent(parent: int) -> None:
    """A sleeping worker does not notice that nobody waits for it any more."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os.killpg(0, signal.SIGKILL)


def _send(replies: TextIO, message: dict[str, Any]) -> None:
    replies.write(json.dumps(message) + "\n")
    replies.flush()
