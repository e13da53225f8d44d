"""Room on the disk for what a run writes: asked for before a file is begun, named where it runs out on the way."""

import errno
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError
from torch import Tensor

from hicra_cli.core.filesystem import disk_full, free_bytes, storage_failure

from .state import TrainState

_OS_ERROR = re.compile(r"\(os error (\d+)\)")


def checkpoint_bytes(state: TrainState) -> int:
    """What the next checkpoint takes: trained weights, and moments of the optimizer (two per weight before step 1)."""
    weights = _bytes(each for each in state.model.parameters() if each.requires_grad)
    moments = _bytes(tensor for each in state.optimizer.state.values() for tensor in each.values())
    return weights + (moments or 2 * weights)


def policy_bytes(state: TrainState) -> int:
    """What a published policy takes at most: all weights, in the precision they have here."""
    return _bytes(state.model.parameters())


def require_room(doing: str, folder: Path, *, needed_bytes: int) -> None:
    """RunError that names both figures where `needed_bytes` would not fit; nothing has been written then."""
    if free_bytes(folder) < needed_bytes:
        raise disk_full(doing, folder, needed_bytes=needed_bytes)


@contextmanager
def writing(doing: str, folder: Path) -> Iterator[None]:
    """RunError for what the file system refuses inside the block; safetensors says it in words of its own."""
    try:
        yield
    except OSError as error:
        raise storage_failure(error, doing, folder) from error
    except SafetensorError as error:
        found = _OS_ERROR.search(str(error))
        number = int(found[1]) if found else errno.EIO
        raise storage_failure(OSError(number, str(error)), doing, folder) from error


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(each.numel() * each.element_size() for each in tensors)
