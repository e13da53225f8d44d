"""What benchmarks of two sides share: time, peak memory, an allocator that keeps its pages, and ratios."""

import ctypes
import gc
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

_TUNED_MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": str(8 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(8 << 30),
    "MALLOC_TOP_PAD_": str(256 << 20),
}
_STATUS, _CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds by the wall clock, and of all threads."""

    wall_s: float
    cpu_s: float


class Stopwatch:
    """Started when made. On a GPU both ends wait for it."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        synchronize(device)
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def read(self) -> Cost:
        synchronize(self._device)
        return Cost(time.perf_counter() - self._wall, time.process_time() - self._cpu)


class PeakMemory:
    """Highest memory above that at the start: of the device on a GPU, else of the process (Linux), in bytes."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        gc.collect()
        synchronize(device)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            self._rest = torch.cuda.memory_allocated(device)
        else:
            ctypes.CDLL(None).malloc_trim(0)  # pages that are free but kept would hide what is taken anew
            _CLEAR_REFS.write_text("5")  # resets VmHWM
            self._rest = _status_bytes("VmRSS")

    def read(self) -> int:
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device) - self._rest
        return _status_bytes("VmHWM") - self._rest


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def timed(work: Callable[[], object], device: torch.device) -> Cost:
    """What `work` costs."""
    watch = Stopwatch(device)
    work()
    return watch.read()


def with_tuned_malloc(module: str) -> None:
    """Start this process again with an allocator that keeps its pages; glibc reads its settings only then."""
    if "MALLOC_TOP_PAD_" not in os.environ:
        os.execve(sys.executable, [sys.executable, "-m", module, *sys.argv[1:]], {**os.environ, **_TUNED_MALLOC})


def spread(values: Sequence[float], digits: int) -> str:
    """median (least to most)"""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def costs(values: Sequence[Cost]) -> str:
    return f"wall {spread([each.wall_s for each in values], 3)} s, CPU {spread([each.cpu_s for each in values], 3)} s"


def ratios(slow: Sequence[Cost], fast: Sequence[Cost]) -> str:
    """How many times the seconds of `fast` each of `slow` took, round by round."""
    wall = [a.wall_s / b.wall_s for a, b in zip(slow, fast, strict=True)]
    cpu = [a.cpu_s / b.cpu_s for a, b in zip(slow, fast, strict=True)]
    return f"wall {spread(wall, 2)}, CPU {spread(cpu, 2)}"


def _status_bytes(name: str) -> int:
    (line,) = (line for line in _STATUS.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024
