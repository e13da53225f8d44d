"""Two workers for tests/stages/test_train_together.py: python -m tests.stages.together_process FOLDER"""

import json
import signal
import sys
import time
from pathlib import Path

import torch

from hicra_cli.config.launch import read_launch
from hicra_cli.core.errors import DataError, HicraError
from hicra_cli.rl.exchange import Board, Exchange
from hicra_cli.rl.replicated import Replicated
from hicra_cli.stages.train.company import company
from hicra_cli.stages.train.stop import stop_signal
from hicra_cli.stages.train.together import together
from tests.rl.forks import launch

LONG_S = 60


def both(workers, stop):
    return together(workers, stop, lambda: workers.rank * 10)


def one_fails(workers, stop):
    """The second fails at once while the first has a minute of work before it."""

    def work():
        if workers.rank == 1:
            raise DataError("line 7 is no JSON", where="data.jsonl:7", fix="Mend it")
        time.sleep(LONG_S)

    return together(workers, stop, work)


def one_is_interrupted(workers, stop):
    """A signal reaches only the second."""

    def work():
        if workers.rank == 1:
            signal.raise_signal(signal.SIGTERM)
        time.sleep(LONG_S)

    return together(workers, stop, work)


def one_has_a_bug(workers, stop):
    return together(workers, stop, lambda: 1 // (1 - workers.rank))


def one_fails_alone(workers, stop):
    """The second fails outside of common work, while the first waits for it in an exchange."""
    if workers.rank == 1:
        raise DataError("the disk of worker 1 is full")
    return workers.gather(None)


def one_is_gone(workers, stop):
    if workers.rank == 1:
        signal.raise_signal(signal.SIGKILL)
    return workers.gather(None)


def polled(workers, stop):
    """A signal to one is noted, and ends both where they meet."""
    if workers.rank == 1:
        signal.raise_signal(signal.SIGINT)
    stop.poll(workers)


SCENARIOS = (both, one_fails, one_is_interrupted, one_has_a_bug, one_fails_alone, one_is_gone, polled)


def worker(scenario, folder):
    torch.set_num_threads(1)
    mine = read_launch()
    assert mine is not None
    board = Board(mine)
    started = time.monotonic()
    said = {}
    try:
        with company(board):
            workers = Replicated(Exchange(board, torch.device("cpu"), timeout_s=30))
            with stop_signal() as stop, stop.shared(workers, board):
                said["result"] = scenario(workers, stop)
    except HicraError as error:
        said |= {"kind": error.kind, "what": error.what, "where": error.where}
    except ZeroDivisionError as error:
        said |= {"kind": type(error).__name__, "what": str(error)}
    said["seconds"] = time.monotonic() - started
    (folder / f"{scenario.__name__}.{mine.rank}.json").write_text(json.dumps(said))
    board.all_here("end", patience_s=2)


if __name__ == "__main__":
    for each in SCENARIOS:
        launch(2, lambda each=each: worker(each, Path(sys.argv[1])))
