"""What the processes of a run exchange over torch.distributed, and what they can say without waiting for each other.

`Exchange` is for calls that all workers make in the same order: each waits for the others, up to a deadline. Where a
worker has died its connections close, and the others get a `TrainingError` instead of waiting.

`Board` is a small table that all can read at any time (torch's TCP store): the work that the first process hands out,
the alarm that ends long local work everywhere, and why the run failed.
"""

import json
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from hicra_cli.config.launch import Launch
from hicra_cli.core.errors import HicraError, Interrupted, RunError, TrainingError

Item = TypeVar("Item")

JOIN_TIMEOUT_S = 600.0
LAST_WORDS_S = 5.0
_LOST = ("connection closed", "connection reset", "broken pipe", "gloo", "nccl", "socket")


class Board:
    """The table of a launch. Its values are JSON or a word; the first value of a key stays."""

    def __init__(self, launch: Launch, *, timeout_s: float = JOIN_TIMEOUT_S) -> None:
        self.launch = launch
        self.rank = launch.rank
        self.size = launch.size
        store, _, _ = next(rendezvous("env://", launch.rank, launch.size, timeout=timedelta(seconds=timeout_s)))
        self.store = PrefixStore("hicra", store)
        self._gone = False

    def assign(self, work: Mapping[str, Any] | None) -> None:
        """Rank 0: say what the others shall do; None lets them go. Only the first call counts."""
        self._put("work", json.dumps(work))

    def assignment(self, *, patience_s: float = 24 * 3600.0) -> dict[str, Any] | None:
        """The other ranks: what rank 0 wants done, None for nothing. Waits: rank 0 may have to fetch a model first."""
        if not self._wait(["work"], patience_s):
            raise TrainingError("the first process of this run gave no work", fix="See what it said")
        work: dict[str, Any] | None = json.loads(self.store.get("work"))
        return work

    def alarm(self) -> None:
        """Ask all workers to end what they do on their own: the run cannot go on."""
        self._put("alarm", "1")

    def is_alarmed(self) -> bool:
        """Whether anybody raised the alarm."""
        return self._has(["alarm"])

    def fail(self, error: BaseException) -> None:
        """Say why this worker ends; the first reason stays."""
        failure = as_failure(error)
        words = {"rank": self.rank, "kind": failure.kind, "what": failure.what, "where": failure.where}
        self._put("failure", json.dumps({**words, "fix": failure.fix}))
        self.alarm()

    def failure(self, *, patience_s: float = 0.0) -> HicraError | None:
        """Why the run failed on another worker, None where none has said so within the time given."""
        if not self._wait(["failure"], patience_s):
            return None
        words = json.loads(self.store.get("failure"))
        if words["rank"] == self.rank:
            return None
        known = {each.kind: each for each in _family(HicraError)}
        place = f"worker {words['rank']}" + (f": {words['where']}" if words["where"] else "")
        return known.get(words["kind"], RunError)(words["what"], where=place, fix=words["fix"])

    def is_told(self, *, patience_s: float) -> bool:
        """Whether rank 0 has told the user why the run failed, within the time given."""
        return self._wait(["told"], patience_s)

    def tell(self) -> None:
        """Rank 0: the reason is known here and goes to the user."""
        self._put("told", "1")

    def all_here(self, place: str, *, patience_s: float) -> bool:
        """Whether all workers have come to `place` (a name of this moment) within the time given. No collective."""
        self._put(f"{place}/{self.rank}", "1")
        names = [f"{place}/{rank}" for rank in range(self.size)]
        return self._wait(names, patience_s)

    def _put(self, key: str, value: str) -> None:
        # An absent key counts as equal to an empty expectation, so this writes once and never overwrites.
        if not self._gone:
            try:
                self.store.compare_set(key, "", value)
            except RuntimeError:
                self._gone = True  # with the process that keeps the board its readers are gone too

    def _has(self, keys: list[str]) -> bool:
        if not self._gone:
            try:
                return self.store.check(keys)
            except RuntimeError:
                self._gone = True
        return False

    def _wait(self, keys: list[str], patience_s: float) -> bool:
        deadline = time.monotonic() + patience_s
        while not (there := self._has(keys)) and not self._gone and time.monotonic() < deadline:
            time.sleep(0.02)
        return there


class Exchange:
    """The workers' exchanges. Small things travel by gloo on the host, tensors by the device's own backend."""

    def __init__(self, board: Board, device: torch.device, *, timeout_s: float) -> None:
        self.rank = board.rank
        self.size = board.size
        self.device = device
        self.board = board
        timeout = timedelta(seconds=timeout_s)
        on_gpu = device.type == "cuda"
        dist.init_process_group(
            "nccl" if on_gpu else "gloo",
            store=PrefixStore("group", board.store),
            rank=board.rank,
            world_size=board.size,
            timeout=timeout,
            device_id=device if on_gpu else None,
        )
        self._host = dist.new_group(backend="gloo", timeout=timeout) if on_gpu else None

    def gather(self, item: Item) -> list[Item]:
        """The items of all workers by rank. They are pickled between processes of one run, never on disk."""
        items: list[Any] = [None] * self.size
        try:
            dist.all_gather_object(items, item, group=self._host)
        except RuntimeError as error:
            raise self.lost(error) from error
        return items

    def sum_in_place(self, tensor: Tensor) -> None:
        """Replace the tensor by its sum over workers: the same bytes on all of them."""
        try:
            dist.all_reduce(tensor, group=self._host if tensor.device.type == "cpu" else None)
        except RuntimeError as error:
            raise self.lost(error) from error

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum of all workers' tensors, in a tensor of its own."""
        total = tensor.detach().clone()
        self.sum_in_place(total)
        return total

    def any(self, flag: bool) -> bool:
        """Whether the flag is set on any worker."""
        count = torch.tensor([int(flag)], dtype=torch.int32)
        self.sum_in_place(count)
        return bool(count.item())

    def lost(self, error: BaseException) -> HicraError:
        """What to raise where an exchange broke: the reason another worker has given, else that it is gone."""
        return self.board.failure(patience_s=LAST_WORDS_S) or lost_worker(error, self.board)


def is_lost(error: BaseException) -> bool:
    """Whether an error that came out of torch means a broken exchange."""
    if isinstance(error, dist.DistError):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error).lower() for word in _LOST)


def lost_worker(error: BaseException, board: Board) -> TrainingError:
    """What to say where an exchange broke and nobody said why."""
    return TrainingError(
        f"lost another worker of this run ({_first_line(error)})",
        where=f"worker {board.rank} of {board.size}",
        fix="See what ended it (out of memory, a killed process, the network), then go on with --resume",
    )


def as_failure(error: BaseException) -> HicraError:
    """An error of any kind in words that can travel to another process."""
    if isinstance(error, HicraError):
        return error
    if isinstance(error, KeyboardInterrupt):
        return Interrupted("interrupted; what was done is kept")
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        fix = "Lower train.token_budget, engine.max_rows or the response limit"
        return RunError(f"out of memory ({_first_line(error)})", fix=fix)
    return RunError(f"{type(error).__name__}: {_first_line(error)}", fix="The log of that process has the traceback")


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _family(kind: type[HicraError]) -> list[type[HicraError]]:
    return [kind, *(each for child in kind.__subclasses__() for each in _family(child))]
