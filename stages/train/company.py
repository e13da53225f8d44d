"""The processes of one run: the first hands out the work, all of them end for one reason."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch.distributed as dist

from hicra_cli.config.root import HicraConfig
from hicra_cli.core.errors import HicraError
from hicra_cli.core.progress import Progress
from hicra_cli.rl.exchange import LAST_WORDS_S, Board, is_lost, lost_worker
from hicra_cli.rl.parallel import Workers

from ..base import External, Plan, Workspace
from ..gram_sets import gram_set_file
from .state import TrainState

MEETING_S = 10.0


@contextmanager
def company(board: Board | None) -> Iterator[None]:
    """Around a worker's part in a run: what ends it is told to the others, and what ended them is raised here."""
    if board is None:
        yield
        return
    try:
        yield
    except Exception as error:
        cause = _cause(error, board)
        board.fail(cause)
        if cause is error:
            raise
        raise cause from error
    except BaseException as error:
        board.fail(error)
        raise
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()  # who still waits for this worker gets an error at once


def assign(workspace: Workspace) -> None:
    """The first process: say what the run is, so that the others can begin."""
    if workspace.board is not None:
        inputs = workspace.plan.inputs
        paths = {role: str(gram_set_file(each) if role == "gram_set" else each.path) for role, each in inputs.items()}
        workspace.board.assign({"name": workspace.plan.name, "folder": str(workspace.folder), "inputs": paths})


def assigned(config: HicraConfig, progress: Progress, board: Board) -> Workspace | None:
    """The other processes: the work that the first one hands out, None where there is none; raises why it failed."""
    work = board.assignment()
    if work is None:
        if (failure := board.failure()) is not None:
            raise failure
        return None
    inputs = {role: External(path, "", Path(path)) for role, path in work["inputs"].items()}
    plan = Plan(work["name"], inputs, {})
    folder = Path(work["folder"])
    return Workspace(config, None, progress, plan, folder, run_id="", key="", resumed=False, board=board)


def save_after_failure(state: TrainState, folder: Path, workers: Workers, board: Board | None, *, keep: int) -> None:
    """Keep the work of a run that ends now, where weights and numbers belong together.

    Shards need all workers: they save only if all come here in time, which they do not where one is dead or its state
    is torn; then the last checkpoint stays the newest.
    """
    if state.torn:
        return
    if workers.lockstep and board is not None and not board.all_here(f"save-{state.step}", patience_s=MEETING_S):
        return
    state.save(folder, workers, keep=keep)


def _cause(error: Exception, board: Board) -> Exception:
    """The error itself, or what ended another worker where the error is only a consequence of it."""
    if isinstance(error, HicraError):
        return error
    is_broken = is_lost(error)
    elsewhere = board.failure(patience_s=LAST_WORDS_S if is_broken else 0.0)
    return elsewhere or (lost_worker(error, board) if is_broken else error)
