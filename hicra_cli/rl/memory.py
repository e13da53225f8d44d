"""What a training run needs of a device's memory, part by part, before it starts.

Weights, gradients, optimizer state, the engine and its keys and values are counted; the backbone's activations are
traced (`activations.py`); the head's share follows from its chunk of logits. Bytes throughout, per device. Not
covered: the CUDA context, allocator fragmentation, workspace of kernels.
"""

from dataclasses import dataclass

import torch

from hicra_cli.rl.activations import ModelMemory
from hicra_cli.rl.vocabulary import chunk_rows

FITS_BELOW = 0.8  # of a device's memory: the rest is for fragmentation and what is not counted
# A CPU's memory is measured as the process's resident set, and the C library's heap keeps holes between tensors of less
# than 32 MB: measured 1.0 to 1.6 times what is alive. Without holes (MALLOC_MMAP_THRESHOLD_) the two agree.
_HEAP_ON_CPU = 1.3
_HEAP_OF_SHARDS_ON_CPU = 2.0  # measured 1.5 to 2.0: the whole model is loaded before it is cut
# A decoding cache of up to this size is kept through the update (`engine.transformers_engine`).
_KEPT_CACHE = 1 << 30
# Weights that a sharded model gathers at once: the layer at work and the next.
_GATHERED_LAYERS = 2


@dataclass(frozen=True, slots=True)
class Sizes:
    """Numbers of a model and a step that memory depends on.

    layers, hidden, kv_width (kv heads * head width), vocabulary: of the model. rows, columns: of the decoding cache.
    head_chunk: response tokens whose logits exist at once. shards: processes that the weights are spread over.
    keeps_whole: spread weights are whole from a forward to its backward.
    """

    layers: int
    hidden: int
    kv_width: int
    vocabulary: int
    rows: int
    columns: int
    head_chunk: int
    shards: int = 1
    keeps_whole: bool = False


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Bytes on one device. Gradients exist during the update only, keys and values (beyond a small cache) only while
    sampling, so the peak is the larger of the two phases. heap: factor for what the allocator wastes.
    """

    weights: int
    gradients: int
    optimizer: int
    engine: int
    reference: int
    cache: int
    activations: int
    head: int
    kept_activations: int
    heap: float = 1.0

    @property
    def update(self) -> int:
        """Alive at once in the update: in the backbone, or in the head while the backbone's activations wait."""
        work = max(self.activations, self.kept_activations + self.head)
        work += self.cache if self.cache <= _KEPT_CACHE else 0
        return self.weights + self.gradients + self.optimizer + self.engine + self.reference + work

    @property
    def sampling(self) -> int:
        """Alive at once while sampling, from the second step on, when the optimizer has its state."""
        return self.weights + self.optimizer + self.engine + self.reference + self.cache

    @property
    def peak(self) -> int:
        """What the device must have: the larger phase, with the holes of the heap."""
        return int(self.heap * max(self.update, self.sampling))

    def lines(self) -> dict[str, str]:
        """The parts, for people."""
        parts = {
            "weights": self.weights,
            "gradients": self.gradients,
            "optimizer": self.optimizer,
            "engine": self.engine,
            "reference": self.reference,
            "keys and values (sampling)": self.cache,
            "activations of a micro-batch": self.activations,
            "head, a chunk of logits": self.head,
            "peak": self.peak,
        }
        return {f"memory, {name}": gib(size) for name, size in parts.items() if size}


def plan_memory(
    model: ModelMemory,
    sizes: Sizes,
    *,
    stored: torch.dtype,
    compute: torch.dtype,
    on_cpu: bool,
    engine: int = 0,
    reference: bool = False,
    copies_for_engine: bool = False,
) -> MemoryPlan:
    """The plan of a run whose backbone was traced as `model`.

    engine: bytes that another engine sets aside. copies_for_engine: the transformers engine decodes with a whole copy
    of its own (sharded weights), in the compute precision. reference: a second, frozen model.
    """
    weights = model.trained_bytes + model.frozen_bytes
    # Compensated bfloat16: two moments and a remainder of 2 bytes; else two float32 moments beside float32 weights.
    optimizer = (
        3 * model.trained_bytes if stored is torch.bfloat16 and not model.frozen_bytes else 2 * model.trained_bytes
    )
    whole = model.parameters * compute.itemsize
    heap = _HEAP_OF_SHARDS_ON_CPU if sizes.shards > 1 else _HEAP_ON_CPU
    gathered = _kept(whole, sizes, compute) if sizes.keeps_whole else _gathered(weights, sizes, stored)
    return MemoryPlan(
        weights=weights // sizes.shards + (gathered if sizes.shards > 1 else 0),
        gradients=model.trained_bytes // sizes.shards,
        optimizer=optimizer // sizes.shards,
        engine=engine + (whole if copies_for_engine else 0),
        reference=weights if reference else 0,
        cache=cache_bytes(sizes, itemsize=compute.itemsize),
        activations=model.peak_bytes,
        head=head_bytes(sizes, stored=stored, compute=compute, trained=not model.frozen_bytes, on_cpu=on_cpu),
        kept_activations=model.kept_bytes,
        heap=heap if on_cpu else 1.0,
    )


def cache_bytes(sizes: Sizes, *, itemsize: int) -> int:
    """Keys and values of the decoding cache: every row has all columns."""
    return 2 * sizes.layers * sizes.rows * sizes.columns * sizes.kv_width * itemsize


def head_bytes(sizes: Sizes, *, stored: torch.dtype, compute: torch.dtype, trained: bool, on_cpu: bool) -> int:
    """The fused head at work: exponentials of a chunk, on a GPU its logits beside them, and where the head is trained
    the sum of its weight's gradient and what the chunk adds to it.
    """
    matrix = sizes.vocabulary * sizes.hidden
    rows = chunk_rows(sizes.head_chunk, sizes.vocabulary) if on_cpu else sizes.head_chunk
    copies = 4 if on_cpu else 4 + 4 + (compute.itemsize if compute is not torch.float32 else 0)
    weight = matrix * compute.itemsize if compute is not stored else 0
    return rows * sizes.vocabulary * copies + weight + (2 * 4 * matrix if trained else 0)


def gib(size: float) -> str:
    """1610612736 → "1.50 GiB"; small sizes in MiB."""
    return f"{size / 2**30:.2f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"


def _gathered(weights: int, sizes: Sizes, stored: torch.dtype) -> int:
    """Whole weights of the layers at work and of embedding and head, which are gathered around everything."""
    ends = 2 * sizes.vocabulary * sizes.hidden * stored.itemsize
    return ends + _GATHERED_LAYERS * max(weights - ends, 0) // sizes.layers


def _kept(whole: int, sizes: Sizes, compute: torch.dtype) -> int:
    """Whole weights, and the buffer in which the last layer arrived, which goes when the forward ends."""
    ends = 2 * sizes.vocabulary * sizes.hidden * compute.itemsize
    return whole + max(whole - ends, 0) // sizes.layers
