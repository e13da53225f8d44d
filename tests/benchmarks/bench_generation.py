"""Sampling speed of the transformers engine against `generate` as TRL 1.16 calls it, as ratios of tokens per second.

    python -m tests.benchmarks.bench_generation                           # nano and 40m, 8 prompts x 8, limit 128
    python -m tests.benchmarks.bench_generation --malloc tuned            # both with an allocator that keeps pages
    python -m tests.benchmarks.bench_generation --device cuda --dtype bfloat16
    python -m tests.benchmarks.bench_generation --policy DIR --prompts 48 --limit 192    # a real policy, Countdown

Both sides get the same model, prompts, stop ids, temperature 1 and limit, in one process with one number of threads, in
turn; the first round warms up and does not count. A token counts when it belongs to a response (up to and including
its stop token), so what `generate` computes for rows that have ended does not count for it. The two sides draw
different responses of the same distribution, so their lengths differ a little; they are printed. CPU seconds stand
beside wall seconds, because wall time on a shared machine says little.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hicra_cli.config.sampling import SamplingConfig
from hicra_cli.config.task import TaskConfig
from hicra_cli.engine.base import Draws, Request
from hicra_cli.engine.policy import LoadedPolicy, load_policy
from hicra_cli.engine.transformers_engine import TransformersEngine
from hicra_cli.tasks.countdown import CountdownTask
from hicra_cli.tasks.prompts import render
from tests.benchmarks.random_models import SHAPES, random_policy, random_requests

_TUNED_MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": str(8 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(8 << 30),
    "MALLOC_TOP_PAD_": str(256 << 20),
}


@dataclass(frozen=True, slots=True)
class Timing:
    """One run: (rows,) response lengths, wall seconds, and CPU seconds of all threads."""

    lengths: NDArray[np.int64]
    wall_s: float
    cpu_s: float

    @property
    def per_wall_s(self) -> float:
        return float(self.lengths.sum()) / self.wall_s

    @property
    def per_cpu_s(self) -> float:
        return float(self.lengths.sum()) / self.cpu_s


def main() -> None:
    options = parse_options()
    if options.malloc == "tuned" and "MALLOC_TOP_PAD_" not in os.environ:
        # glibc reads these once, when a process starts.
        os.execve(
            sys.executable,
            [sys.executable, "-m", "tests.benchmarks.bench_generation", *sys.argv[1:]],
            {**os.environ, **_TUNED_MALLOC},
        )
    torch.set_num_threads(options.threads)
    for name in options.policy:
        policy, requests = policy_and_requests(name, options)
        report(name, options, requests, *measure(policy, requests, options))


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policy", nargs="+", default=list(SHAPES), help="nano, 40m or directories of policies")
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--limit", type=int, default=128)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--malloc", choices=("default", "tuned"), default="default")
    return parser.parse_args()


def policy_and_requests(name: str, options: argparse.Namespace) -> tuple[LoadedPolicy, list[Request]]:
    dtype = getattr(torch, options.dtype)
    if name in SHAPES:
        policy = random_policy(name, dtype=dtype)
        policy.model.to(options.device)
        return policy, random_requests(policy, count=options.prompts, samples=options.samples)
    policy = load_policy(Path(name), dtype=dtype, device=options.device)
    samples = tuple(range(options.samples))
    prompts = CountdownTask().stream(0, options.prompts, seed=0)
    return policy, [Request(prompt, render(prompt, policy.tokenizer, TaskConfig()), samples) for prompt in prompts]


def measure(
    policy: LoadedPolicy, requests: list[Request], options: argparse.Namespace
) -> tuple[list[Timing], list[Timing]]:
    """Timings of the engine and of `generate`, round by round; the responses of a round are those of its number."""
    rows = sum(len(request.samples) for request in requests)
    engine = TransformersEngine(policy.model, policy.tokenizer, stop_ids=policy.stop_ids, max_rows=rows)
    sampling = SamplingConfig(max_new_tokens=options.limit)
    ours: list[Timing] = []
    theirs: list[Timing] = []
    for step in range(options.repeats + 1):
        one = timed(partial(by_engine, engine, requests, sampling, step=step))
        other = timed(partial(by_generate, policy, requests, limit=options.limit, step=step))
        if step > 0:
            ours.append(one)
            theirs.append(other)
    return ours, theirs


def by_engine(
    engine: TransformersEngine, requests: list[Request], sampling: SamplingConfig, *, step: int
) -> NDArray[np.int64]:
    rollouts = engine.generate(requests, sampling, Draws(0, "bench", step))
    return np.array([len(rollout.token_ids) for rollout in rollouts])


def by_generate(policy: LoadedPolicy, requests: list[Request], *, limit: int, step: int) -> NDArray[np.int64]:
    """TRL's call: each prompt once per sample, padded on the left, until the last row has ended."""
    from transformers import GenerationConfig

    prompts = [request.token_ids for request in requests for _ in request.samples]
    width = max(map(len, prompts))
    input_ids = torch.zeros((len(prompts), width), dtype=torch.int64)
    attention_mask = torch.zeros_like(input_ids)
    for row, prompt in enumerate(prompts):
        input_ids[row, width - len(prompt) :] = torch.from_numpy(prompt.astype(np.int64))
        attention_mask[row, width - len(prompt) :] = 1
    config = GenerationConfig(
        max_new_tokens=limit,
        do_sample=True,
        pad_token_id=policy.tokenizer.pad_token_id or 0,
        bos_token_id=policy.tokenizer.bos_token_id,
        eos_token_id=list(policy.stop_ids),
        temperature=1.0,
        top_p=1.0,
        top_k=0,
        min_p=None,
        repetition_penalty=1.0,
        cache_implementation=None,
        disable_compile=True,
    )
    device = policy.model.device
    torch.manual_seed(step)
    with torch.no_grad():
        rows = policy.model.generate(
            input_ids=input_ids.to(device), attention_mask=attention_mask.to(device), generation_config=config
        )[:, width:].cpu()
    ended = torch.isin(rows, torch.tensor(policy.stop_ids))
    lengths: Any = torch.where(ended.any(dim=1), ended.int().argmax(dim=1) + 1, rows.shape[1])
    return np.asarray(lengths.numpy())


def timed(work: Callable[[], NDArray[np.int64]]) -> Timing:
    wall, cpu = time.perf_counter(), time.process_time()
    lengths = work()
    return Timing(lengths, time.perf_counter() - wall, time.process_time() - cpu)


def report(
    name: str, options: argparse.Namespace, requests: list[Request], ours: list[Timing], theirs: list[Timing]
) -> None:
    rows = sum(len(request.samples) for request in requests)
    print(
        f"{Path(name).name}: {len(requests)} prompts x {options.samples} = {rows} rows, limit {options.limit}, "
        f"{options.device} {options.dtype}, {options.threads} thread(s), malloc {options.malloc}, "
        f"{options.repeats} rounds: median (least to most)"
    )
    for side, timings in (("hicra", ours), ("generate", theirs)):
        lengths = np.concatenate([timing.lengths for timing in timings]) / options.limit
        quartiles = " ".join(f"{share:.0%}" for share in np.quantile(lengths, (0.1, 0.25, 0.5, 0.75)))
        print(
            f"  {side:9s} {spread([t.per_wall_s for t in timings], 0)} tokens/s   "
            f"{spread([t.per_cpu_s for t in timings], 0)} tokens/CPU-s   "
            f"length {lengths.mean():.0%} of the limit in the mean (10, 25, 50, 75 of 100: {quartiles})"
        )
    wall = [a.per_wall_s / b.per_wall_s for a, b in zip(ours, theirs, strict=True)]
    cpu = [a.per_cpu_s / b.per_cpu_s for a, b in zip(ours, theirs, strict=True)]
    print(f"  ratio     wall {spread(wall, 2)}, CPU {spread(cpu, 2)}", flush=True)


def spread(values: list[float], digits: int) -> str:
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


if __name__ == "__main__":
    main()
