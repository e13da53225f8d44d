"""CPU threads: how many this process may use, and how many of them pay off while decoding.

A decoding step is a chain of small products that every thread must finish before the next begins. Measured on two
cores, 64 rows, 4 layers: two threads bring 0.8 to 1.2 times the speed at 0.8 M weights, 1.2 at 3 M, 1.4 at 13 M, 1.5
at 50 M, while an update gains 1.7 at 0.8 M; and where another process wants the second core, a step of 4 ms takes 30
to 300, because the threads wait for each other by spinning.

The number changes the last bits of products, so by default it is a function of the model's size and of nothing that is
timed. `fastest_threads` measures instead, for who asks for it.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hicra_cli.config.sampling import SamplingConfig
from hicra_cli.core.records import Prompt
from hicra_cli.engine.base import Draws, Engine, Request

# Weights that each token is multiplied with; below, one thread decodes.
_WEIGHTS_WORTH_SHARING = 4_000_000
# What the measurement decodes: rows of one prompt, and tokens of each.
_ROWS, _TOKENS, _REPEATS = 32, 4, 3
# More threads must be faster by this factor, or the smaller number wins.
_WORTH = 1.1
_CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def usable_cores(*, processes: int = 1) -> int:
    """Cores this process may use: its affinity and its container's quota, shared by `processes` of this machine."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, _quota(_CPU_QUOTA) or cores) // processes)


def decoding_threads(model: Any) -> int | None:
    """1 for a model too small to share a step, None (as many as torch has) for others and on a GPU."""
    embedding = model.get_input_embeddings().weight
    tied = getattr(model.get_output_embeddings(), "weight", None) is embedding
    multiplied = sum(parameter.numel() for parameter in model.parameters()) - (0 if tied else embedding.numel())
    return 1 if embedding.device.type == "cpu" and multiplied < _WEIGHTS_WORTH_SHARING else None


def fastest_threads(engine: Engine, *, most: int) -> int:
    """Which of 1, 2, 4 … and `most` threads decodes a few tokens fastest; the smallest within 10 %.

    Sets torch's number of threads while it measures. Timed, so another run may find another number, which gives other
    last bits: record what was found, and give a resumed run the same.
    """
    request = Request(Prompt("threads", "", ""), np.ones(16, dtype=np.int32), tuple(range(_ROWS)))
    sampling = SamplingConfig(max_new_tokens=_TOKENS)
    engine.generate([request], sampling, Draws(0, "threads"))  # Warms up allocator and caches.
    best, best_s = 1, float("inf")
    for threads in _candidates(most):
        with cpu_threads(threads):
            taken_s = min(_seconds(engine, request, sampling) for _ in range(_REPEATS))
        if taken_s * _WORTH < best_s:
            best, best_s = threads, taken_s
    return best


@contextmanager
def cpu_threads(threads: int | None) -> Iterator[None]:
    """Inside, torch computes with that many threads; None leaves them as they are."""
    before = torch.get_num_threads()
    if threads is None or threads == before:
        yield
        return
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _candidates(most: int) -> list[int]:
    return sorted({*(1 << power for power in range(most.bit_length()) if 1 << power <= most), most})


def _seconds(engine: Engine, request: Request, sampling: SamplingConfig) -> float:
    start = time.perf_counter()
    engine.generate([request], sampling, Draws(0, "threads"))
    return time.perf_counter() - start


def _quota(file: Path) -> int | None:
    """Whole cores a cgroup (version 2) grants, or None: `max 100000` grants all, `150000 100000` one and a half."""
    try:
        quota, period = file.read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return None
    return None if quota == "max" else max(1, -(-int(quota) // int(period)))
