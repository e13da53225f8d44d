"""Sampling speed of the transformers engine against `model.generate`, as a ratio of tokens per second.

    python -m tests.benchmarks.bench_generation                     # the embedded model, 48 prompts x 8 samples
    python -m tests.benchmarks.bench_generation --policy DIR --prompts 8 --limit 256

Both sides get the same model, prompts, number of samples, temperature 1 and response limit, and run in turn, several
times, on the same number of threads. A token counts when it belongs to a response (up to and including its stop
token), so what `generate` computes for rows that have ended does not count for it. CPU seconds are given beside wall
seconds, because wall time on a shared machine says little.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hicra_cli.config.sampling import SamplingConfig
from hicra_cli.config.task import TaskConfig
from hicra_cli.engine.base import Draws, Request
from hicra_cli.engine.policy import LoadedPolicy, load_policy
from hicra_cli.engine.transformers_engine import TransformersEngine
from hicra_cli.tasks.countdown import CountdownTask
from hicra_cli.tasks.prompts import render

NANO = Path(__file__).parents[2] / "hicra_cli" / "embedded" / "nano"


@dataclass(frozen=True, slots=True)
class Timing:
    """One run: response tokens, wall seconds and CPU seconds of all threads."""

    tokens: int
    wall_s: float
    cpu_s: float


def main() -> None:
    options = parse_options()
    torch.set_num_threads(options.threads)
    policy = load_policy(options.policy, dtype=torch.float32)
    requests = countdown_requests(policy, prompts=options.prompts, samples=options.samples)
    engine = TransformersEngine(
        policy.model, policy.tokenizer, stop_ids=policy.stop_ids, max_rows=options.prompts * options.samples
    )
    sampling = SamplingConfig(max_new_tokens=options.limit)
    ours: list[Timing] = []
    theirs: list[Timing] = []
    for repeat in range(options.repeats + 1):
        one = timed(partial(by_engine, engine, requests, sampling, step=repeat))
        other = timed(partial(by_generate, policy, requests, sampling, step=repeat))
        if repeat > 0:  # The first round warms up allocator and caches.
            ours.append(one)
            theirs.append(other)
    report(options, requests, ours, theirs)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policy", type=Path, default=NANO)
    parser.add_argument("--prompts", type=int, default=48)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--limit", type=int, default=192)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    return parser.parse_args()


def countdown_requests(policy: LoadedPolicy, *, prompts: int, samples: int) -> list[Request]:
    stream = CountdownTask().stream(0, prompts, seed=0)
    return [Request(prompt, render(prompt, policy.tokenizer, TaskConfig()), tuple(range(samples))) for prompt in stream]


def by_engine(engine: TransformersEngine, requests: list[Request], sampling: SamplingConfig, *, step: int) -> int:
    rollouts = engine.generate(requests, sampling, Draws(0, "bench", step))
    return sum(len(rollout.token_ids) for rollout in rollouts)


def by_generate(policy: LoadedPolicy, requests: list[Request], sampling: SamplingConfig, *, step: int) -> int:
    """The usual call: prompts padded on the left, one row per sample, until the last row has ended."""
    from transformers import GenerationConfig

    width = max(len(request.token_ids) for request in requests)
    input_ids = torch.zeros((len(requests), width), dtype=torch.int64)
    attention_mask = torch.zeros_like(input_ids)
    for row, request in enumerate(requests):
        input_ids[row, width - len(request.token_ids) :] = torch.from_numpy(request.token_ids.astype(np.int64))
        attention_mask[row, width - len(request.token_ids) :] = 1
    config = GenerationConfig(
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        max_new_tokens=sampling.max_new_tokens,
        num_return_sequences=len(requests[0].samples),
        eos_token_id=list(policy.stop_ids),
        pad_token_id=0,
    )
    torch.manual_seed(step)
    with torch.inference_mode():
        rows = policy.model.generate(input_ids, attention_mask=attention_mask, generation_config=config)[:, width:]
    ended = torch.isin(rows, torch.tensor(policy.stop_ids))
    lengths = torch.where(ended.any(dim=1), ended.int().argmax(dim=1) + 1, rows.shape[1])
    return int(lengths.sum())


def timed(work: Callable[[], int]) -> Timing:
    wall, cpu = time.perf_counter(), time.process_time()
    tokens = work()
    return Timing(tokens, time.perf_counter() - wall, time.process_time() - cpu)


def report(options: Any, requests: list[Request], ours: list[Timing], theirs: list[Timing]) -> None:
    rows = len(requests) * len(requests[0].samples)
    print(
        f"{options.policy.name}: {len(requests)} prompts x {len(requests[0].samples)} = {rows} samples, limit ", end=""
    )
    print(f"{options.limit}, {options.threads} thread(s), median of {options.repeats}")
    for name, timings in (("hicra", ours), ("model.generate", theirs)):
        print(
            f"  {name:15s} {statistics.median(t.tokens / t.wall_s for t in timings):9.0f} tokens/s "
            f"{statistics.median(t.tokens / t.cpu_s for t in timings):9.0f} tokens/CPU-s   "
            f"mean length {statistics.mean(t.tokens for t in timings) / rows:.1f}"
        )
    wall = [(a.tokens / a.wall_s) / (b.tokens / b.wall_s) for a, b in zip(ours, theirs, strict=True)]
    cpu = [(a.tokens / a.cpu_s) / (b.tokens / b.cpu_s) for a, b in zip(ours, theirs, strict=True)]
    print(f"  ratio: wall {statistics.median(wall):.2f} ({min(wall):.2f} to {max(wall):.2f}), ", end="")
    print(f"CPU {statistics.median(cpu):.2f} ({min(cpu):.2f} to {max(cpu):.2f})")


if __name__ == "__main__":
    main()
