"""The grading process: reads one pair a line, answers one verdict a line, and dies of its own clock if it must.

Protocol, JSON lines: {"answer", "gold", "seconds"} in, {"equal": true | false | null} or {"error": text} out; first of
all {"ready": true}. The limit is CPU time of this process, armed per pair as a profiling timer whose default action
ends the process: it works inside C code too, and waiting for a core costs an answer nothing. Memory is bounded by
RLIMIT_AS. Output of libraries goes to stderr.
"""

import json
import os
import resource
import signal
import sys
from typing import TextIO

MEMORY_ABOVE_START_BYTES = 1 << 30


def main() -> None:
    """Serve until stdin closes."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    from hicra_cli.grading.symbolic import equal_by_algebra  # heavy: here, before the clock and the limit

    equal_by_algebra("x+1", "1+x")  # the first comparison loads parser tables
    _limit_memory()
    _send(replies, {"ready": True})
    for line in sys.stdin:
        request = json.loads(line)
        signal.setitimer(signal.ITIMER_PROF, request["seconds"])
        reply, usable = _compare(request["answer"], request["gold"])
        signal.setitimer(signal.ITIMER_PROF, 0)
        _send(replies, reply)
        if not usable:
            return


def _compare(answer: str, gold: str) -> tuple[dict[str, object], bool]:
    """The reply, and whether this process can be trusted with another pair."""
    from hicra_cli.grading.equivalence import equal
    from hicra_cli.grading.symbolic import equal_by_algebra

    try:
        return {"equal": equal(answer, gold, algebra=equal_by_algebra)}, True
    except MemoryError:
        return {"error": "needs more memory than a grading worker may have"}, False
    except RecursionError:
        return {"error": "is nested too deeply to compare"}, True
    except Exception as error:  # noqa: BLE001 - sympy raises anything; it becomes an `error` verdict with its text
        return {"error": f"{type(error).__name__}: {str(error)[:200]}"}, True


def _limit_memory() -> None:
    """Allow 1 GiB above what the libraries took at start (their threads reserve more on machines with many cores)."""
    try:
        with open("/proc/self/statm", encoding="ascii") as statm:
            used = int(statm.read().split()[0]) * resource.getpagesize()
    except OSError:  # no /proc: the clock alone has to do
        return
    limit = used + MEMORY_ABOVE_START_BYTES
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


def _send(replies: TextIO, reply: dict[str, object]) -> None:
    replies.write(json.dumps(reply) + "\n")
    replies.flush()
