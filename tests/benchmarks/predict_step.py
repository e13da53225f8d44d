"""What a step of Qwen3-4B should cost on H100s, from FLOPs and bandwidths. A calculation: nothing is measured.

    python -m tests.benchmarks.predict_step

prints the tables of docs/gpu.md. Every time is a range, from the better to the worse of two assumed efficiencies.
Memory comes from the trainer's own plan (`hicra_cli.rl.memory`). The formulas are explained in docs/gpu.md.
"""

from dataclasses import dataclass

import torch

from hicra_cli.rl.activations import ModelMemory, trace_model
from hicra_cli.rl.memory import MemoryPlan, Sizes, plan_memory

GB = 1e9


@dataclass(frozen=True, slots=True)
class Gpu:
    """memory: bytes. flops: dense bfloat16 a second. bandwidth: bytes a second of its memory; link: to the other GPUs,
    in one direction.
    """

    memory: float = 80 * GB
    flops: float = 989e12
    bandwidth: float = 3.35e12
    link: float = 450 * GB


@dataclass(frozen=True, slots=True)
class Model:
    """Sizes of Qwen3-4B; the head is tied to the embedding."""

    layers: int = 36
    hidden: int = 2560
    intermediate: int = 9728
    heads: int = 32
    kv_heads: int = 8
    head_width: int = 128
    vocabulary: int = 151_936

    @property
    def head(self) -> int:
        return self.vocabulary * self.hidden

    @property
    def body(self) -> int:
        """Weights that every token is multiplied with: all but the embedding (norms left out)."""
        attention = 2 * self.hidden * (self.heads + self.kv_heads) * self.head_width
        return self.layers * (attention + 3 * self.hidden * self.intermediate)

    @property
    def weights(self) -> int:
        return self.body + self.head

    @property
    def kv_bytes(self) -> int:
        """Keys and values of one token in bfloat16."""
        return 2 * 2 * self.layers * self.kv_heads * self.head_width


@dataclass(frozen=True, slots=True)
class Batch:
    """A step's rollouts. Response lengths are spread evenly from 0 to twice the mean."""

    responses: int = 32 * 8
    prompt: int = 256
    mean: int = 4096

    @property
    def tokens(self) -> int:
        return self.responses * (self.prompt + self.mean)

    @property
    def longest(self) -> int:
        return self.prompt + 2 * self.mean

    @property
    def squares(self) -> float:
        """Sum over sequences of (prompt + response)^2; a length spread over [0, 2m] has the mean square 4/3 m^2."""
        mean_square = self.prompt**2 + 2 * self.prompt * self.mean + 4 / 3 * self.mean**2
        return self.responses * mean_square

    @property
    def cached(self) -> float:
        """Sum over all decoding steps of the tokens in the cache: per row the integral of prompt + t."""
        return self.responses * (self.prompt * self.mean + 2 / 3 * self.mean**2)


@dataclass(frozen=True, slots=True)
class Range:
    """Seconds, at the better and at the worse efficiency."""

    low: float
    high: float

    def __add__(self, other: "Range") -> "Range":
        return Range(self.low + other.low, self.high + other.high)

    def __str__(self) -> str:
        return f"{_short(self.low)} to {_short(self.high)}"


MODEL, GPU = Model(), Gpu()
MFU = (0.45, 0.30)  # of the update's matrix products; 0.11–0.27 is reported of other trainers' plain set-ups
DECODING = (0.80, 0.50)  # share of the memory bandwidth that decoding reaches
COPYING = (0.80, 0.40)  # of bandwidth and links, for weights and optimizer
LEFT_FREE = 0.10  # of the memory, for context, fragments and workspaces


def update_flops(batch: Batch, *, checkpointing: bool) -> float:
    """6 per weight and token, the head at response positions only; causal attention 2 L^2 W forward and 2.5 times that
    backward (the flash kernel computes scores again); with checkpointing the backbone's forward once more.
    """
    width = MODEL.heads * MODEL.head_width
    backbone_forward = 2 * MODEL.body * batch.tokens + MODEL.layers * 2 * batch.squares * width
    backbone_backward = 4 * MODEL.body * batch.tokens + MODEL.layers * 5 * batch.squares * width
    head = 6 * MODEL.head * batch.responses * batch.mean
    return backbone_forward * (2 if checkpointing else 1) + backbone_backward + head


def update_time(batch: Batch, *, gpus: int, checkpointing: bool) -> Range:
    flops = update_flops(batch, checkpointing=checkpointing)
    return _range(flops / gpus / GPU.flops, MFU)


def sampling_time(batch: Batch, *, gpus: int, cache_tokens: float) -> Range:
    """Decoding reads all weights at each step and all keys and values of the rows in flight; it takes as many steps as
    the longest response has tokens, more where the cache cannot hold all rows at once. Prompts are a forward pass.
    """
    steps = max(2 * batch.mean, batch.cached / gpus / cache_tokens)
    traffic = steps * 2 * MODEL.weights + batch.cached / gpus * MODEL.kv_bytes
    prefill = 2 * MODEL.body * batch.responses / 8 * batch.prompt / gpus / GPU.flops
    return _range(traffic / GPU.bandwidth, DECODING) + _range(prefill, MFU)


def optimizer_time(*, bytes_per_weight: int, gpus: int) -> Range:
    """Reading and writing weight, gradient and state once; not fused kernels pass over them up to ten times."""
    once = MODEL.weights / gpus * 2 * bytes_per_weight / GPU.bandwidth
    return Range(once / COPYING[0], 10 * once / COPYING[1])


def sync_time(*, gpus: int) -> Range:
    """bfloat16 weights into the engine: gathered from the others' shards, then read and written once."""
    gather = 2 * MODEL.weights * (gpus - 1) / gpus / GPU.link
    return _range(gather + 2 * 2 * MODEL.weights / GPU.bandwidth, COPYING)


def memory(batch: Batch, *, gpus: int, checkpointing: bool) -> MemoryPlan:
    """Of one GPU without an engine; micro-batches as long as the longest sequence. One GPU: bfloat16-kahan; several:
    float32 masters and bfloat16 compute, sharded.
    """
    stored = torch.bfloat16 if gpus == 1 else torch.float32
    sizes = Sizes(
        layers=MODEL.layers,
        hidden=MODEL.hidden,
        kv_width=MODEL.kv_heads * MODEL.head_width,
        vocabulary=MODEL.vocabulary,
        rows=0,
        columns=0,
        head_chunk=4096,
        shards=gpus,
    )
    traced = traced_model(stored, tokens=batch.longest, checkpointing=checkpointing)
    return plan_memory(traced, sizes, stored=stored, compute=torch.bfloat16, on_cpu=False)


def traced_model(stored: torch.dtype, *, tokens: int, checkpointing: bool) -> ModelMemory:
    from transformers import AutoConfig

    config = AutoConfig.for_model(
        "qwen3",
        vocab_size=MODEL.vocabulary,
        hidden_size=MODEL.hidden,
        intermediate_size=MODEL.intermediate,
        num_hidden_layers=MODEL.layers,
        num_attention_heads=MODEL.heads,
        num_key_value_heads=MODEL.kv_heads,
        head_dim=MODEL.head_width,
        max_position_embeddings=40_960,
        tie_word_embeddings=True,
    )
    return trace_model(config, tokens=tokens, stored=stored, compute=torch.bfloat16, checkpointing=checkpointing)


def cache_room(plan: MemoryPlan) -> float:
    """Tokens whose keys and values fit beside the update and the engine's own bfloat16 weights."""
    return ((1 - LEFT_FREE) * GPU.memory - plan.update - 2 * MODEL.weights) / MODEL.kv_bytes


def main() -> None:
    cases = [(gpus, Batch(mean=mean)) for gpus in (1, 8) for mean in (4096, 16384)]
    plans = [memory(batch, gpus=gpus, checkpointing=True) for gpus, batch in cases]
    without = [memory(batch, gpus=gpus, checkpointing=False) for gpus, batch in cases]
    print("| GPUs | mean response | sampling | update | optimizer | weights to engine | step |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for (gpus, batch), plan in zip(cases, plans, strict=True):
        phases = [
            sampling_time(batch, gpus=gpus, cache_tokens=cache_room(plan)),
            update_time(batch, gpus=gpus, checkpointing=True),
            optimizer_time(bytes_per_weight=10 if gpus == 1 else 16, gpus=gpus),
            sync_time(gpus=gpus),
        ]
        step = phases[0] + phases[1] + phases[2] + phases[3]
        print(f"| {gpus} | {batch.mean:,} | " + " | ".join(str(each) for each in (*phases, step)) + " |")
    print()
    print("| GPUs | mean response | fixed | activations | head | update | without checkpointing | cache holds |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for (gpus, batch), plan, full in zip(cases, plans, without, strict=True):
        fixed = plan.weights + plan.gradients + plan.optimizer
        sizes = [f"{size / GB:.0f} GB" for size in (fixed, plan.activations, plan.head, plan.update, full.update)]
        print(f"| {gpus} | {batch.mean:,} | " + " | ".join(sizes) + f" | {cache_room(plan) / 1000:,.0f}K tokens |")


def _range(ideal: float, efficiency: tuple[float, float]) -> Range:
    return Range(ideal / efficiency[0], ideal / efficiency[1])


def _short(seconds: float) -> str:
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    return f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} min"


if __name__ == "__main__":
    main()
