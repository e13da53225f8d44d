"""Ranks of one launch as forks of a process that has imported everything once: for helper programs of tests.

Fork before torch has computed anything: its threads do not survive.
"""

import os
import socket
import sys
import traceback


def launch(size, work, *, pids=None):
    """Run `work()` as ranks 0 … size - 1, with a launcher's environment; returns the exit codes by rank.

    pids: a list that gets the processes' ids while they run.
    """
    port = free_port()
    pids = [] if pids is None else pids
    pids.extend(_fork(rank, size, port, work) for rank in range(size))
    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]


def free_port():
    """A port of this machine that nobody has at the moment."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _fork(rank, size, port, work):
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        if size > 1:
            numbers = {"RANK": rank, "WORLD_SIZE": size, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": size}
            address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
            os.environ.update({name: str(value) for name, value in (numbers | address).items()})
        code = work() or 0
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:  # noqa: BLE001 (a fork must never return into its parent)
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
