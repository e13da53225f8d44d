"""`grade` and `grade_answer` for a response at a time: pools made once per process and ended at its exit.

The one place of the package with state of its own: a function that is called in a loop must not start a process each
time. A forked child starts afresh, because it would read its parent's answers. Several threads may call.
"""

import atexit
import os
import threading

from hicra_cli.core.records import Verdict
from hicra_cli.grading.pool import Gold, GradingPool, Mode

_pools: dict[float, GradingPool] = {}  # one for each deadline that was asked for
_lock = threading.Lock()


def grade(
    response: str, gold: Gold, *, truncated: bool = False, mode: Mode = "strict", timeout_s: float = 5.0
) -> Verdict:
    """The verdict on one response. `gold` may be a list of alternatives: one match suffices.

    truncated: the response hit the token limit; without an answer its outcome is then `truncated`. mode: `lenient`
    also takes answers without a box, and says in the detail where they stood. timeout_s: CPU seconds that comparing may
    cost. Where algebra has to decide, the first call starts a worker process (about a second); later calls use it.
    """
    return _pool(timeout_s).grade_many([(response, gold, truncated)], mode=mode)[0]


def grade_answer(answer: str, gold: Gold, *, timeout_s: float = 5.0) -> Verdict:
    """The verdict on an answer that stands alone."""
    return _pool(timeout_s).grade_answers([(answer, gold)])[0]


def _pool(timeout_s: float) -> GradingPool:
    with _lock:
        if timeout_s not in _pools:
            _pools[timeout_s] = GradingPool(timeout_s=timeout_s)
        return _pools[timeout_s]


def _close() -> None:
    for pool in _pools.values():
        pool.close()
    _pools.clear()


def _forget() -> None:
    """In a forked child: the workers are the parent's."""
    global _lock
    _lock = threading.Lock()
    _pools.clear()


atexit.register(_close)
os.register_at_fork(after_in_child=_forget)
