"""Work that each worker does on its own before all go on: the results are exchanged, or all fail with one reason."""

from collections.abc import Callable
from typing import TypeVar

from hicra_cli.core.errors import HicraError, Interrupted
from hicra_cli.rl.exchange import as_failure
from hicra_cli.rl.parallel import Workers

from .stop import StopSignal

Result = TypeVar("Result")


def together(workers: Workers, stop: StopSignal, work: Callable[[], Result]) -> list[Result]:
    """What `work()` returned on each worker, in the order of rank.

    Where it fails on one, the others are interrupted in theirs, and all raise that failure. A signal ends it at once.
    """
    if workers.size == 1:
        return [work()]
    results: list[Result] = []
    cause: BaseException | None = None
    try:
        with stop.local():
            results.append(work())
    except BaseException as error:  # noqa: BLE001 (whatever it is, the others wait to hear of it; it is raised below)
        cause = error
        stop.alarm(error)
    said = workers.gather((results, None if cause is None else as_failure(cause)))
    failures = {rank: failure for rank, (_, failure) in enumerate(said) if failure is not None}
    if failures:
        raise _chosen(failures, mine=workers.rank, cause=cause) from cause
    return [result for parts, _ in said for result in parts]


def _chosen(failures: dict[int, HicraError], *, mine: int, cause: BaseException | None) -> BaseException:
    """The failure that all raise: the first by rank that is no interruption, for those are often its consequence."""
    rank = min(failures, key=lambda each: (isinstance(failures[each], Interrupted), each))
    failure = failures[rank]
    if isinstance(failure, Interrupted):
        return failure
    if rank == mine and cause is not None:
        return cause
    where = f"worker {rank}" + (f": {failure.where}" if failure.where else "")
    return type(failure)(failure.what, where=where, fix=failure.fix)
