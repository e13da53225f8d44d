"""How the update's time per token and memory grow: sequences per micro-batch, groups of a step, response length.

    python -m tests.benchmarks.bench_growth                        # nano and 40m on one core
    python -m tests.benchmarks.bench_growth --policy nano --layout packed
    python -m tests.benchmarks.bench_growth --device cuda --dtype bfloat16

Three tables, each relative to its first line. Time per token: 64 rollouts in micro-batches of 1, 4, 16 and 64 (the work
is the same, only the cut differs). Peak memory over the number of groups, at one token budget. Peak memory over the
response length, at one number of response tokens: what the vocabulary needs must not follow the length. Every
measurement is forward and backward of all rollouts, in turn, with a first round that does not count; times are CPU
seconds (on a GPU wall seconds), medians with least and most. Memory on CPU is what the allocator was asked for at its
highest, by torch's profiler, without the gradients; on a GPU torch.cuda.max_memory_allocated.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from hicra_cli.core.records import FinishReason, Prompt, Rollout
from hicra_cli.rl.layout import Layout, choose_layout
from hicra_cli.rl.model import policy_statistics
from hicra_cli.rl.packing import PackedRollouts, pack
from tests.benchmarks.random_models import SHAPES, random_policy

_PROMPT = 26
_LIMIT = 128


def main() -> None:
    options = parse_options()
    torch.set_num_threads(options.threads)
    for name in options.policy:
        model = random_policy(name, dtype=torch.float32).model.to(options.device)
        for layout in options.layout:
            chosen = choose_layout(
                model,
                layout=layout,
                share_prompts=options.share_prompts,
                dtype=getattr(torch, options.dtype),
                device=torch.device(options.device),
            )
            kind = "packed" if chosen.packed else "padded"
            print(f"{name}, layout {layout} ({kind}), {options.device} {options.dtype}, {options.threads} thread(s)")
            by_sequences(model, chosen, options)
            by_groups(model, chosen, options)
            by_length(model, chosen, options)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policy", nargs="+", default=list(SHAPES), choices=list(SHAPES))
    parser.add_argument("--layout", nargs="+", default=["padded", "packed"], choices=("auto", "padded", "packed"))
    parser.add_argument("--share-prompts", default="never", choices=("auto", "always", "never"))
    parser.add_argument("--length", type=int, default=64, help="response tokens in the table of sequences")
    parser.add_argument("--token-budget", type=int, default=2048)
    parser.add_argument("--head-chunk", type=int, default=512)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    return parser.parse_args()


def by_sequences(model: Any, layout: Layout, options: argparse.Namespace) -> None:
    """64 equally long rollouts, cut into micro-batches of 1 to 64: the same tokens and no padding in every cut."""
    rollouts = random_rollouts(model, groups=8, samples=8, lengths=[options.length])
    packed = pack(rollouts, layout)
    cuts = {size: [list(range(at, at + size)) for at in range(0, 64, size)] for size in (1, 4, 16, 64)}
    times: dict[int, list[float]] = {size: [] for size in cuts}
    for repeat in range(options.repeats + 1):
        for size, cut in cuts.items():
            seconds = timed(partial(learn, model, packed, cut, options), options)
            if repeat:
                times[size].append(seconds / packed.num_tokens * 1e6)
    first = statistics.median(times[4])
    for size, values in times.items():
        ratio = statistics.median(values) / first
        print(f"  {size:4d} sequences a micro-batch: {spread(values)} us/token, {ratio:.2f} of that at 4")


def by_groups(model: Any, layout: Layout, options: argparse.Namespace) -> None:
    """Responses from 20 to 100 % of the limit."""
    lengths = np.linspace(_LIMIT // 5, _LIMIT, 8).astype(int).tolist()
    peaks = {}
    for groups in (4, 16, 32):
        packed = pack(random_rollouts(model, groups=groups, samples=8, lengths=lengths), layout)
        cut = packed.plan(range(len(packed.rollouts)), token_budget=options.token_budget // 4)[0]
        peaks[groups] = peak_bytes(partial(learn, model, packed, cut, options), options)
    report_peaks("groups of 8", peaks)


def by_length(model: Any, layout: Layout, options: argparse.Namespace) -> None:
    """The same 2048 response tokens in responses of 64 to 1024."""
    peaks = {}
    for length in (64, 256, 1024):
        packed = pack(random_rollouts(model, groups=2048 // length, samples=1, lengths=[length]), layout)
        cut = packed.plan(range(len(packed.rollouts)), token_budget=4 * options.token_budget)[0]
        peaks[length] = peak_bytes(partial(learn, model, packed, cut, options), options)
    report_peaks("tokens a response", peaks)


def learn(model: Any, packed: PackedRollouts, cut: Sequence[Sequence[int]], options: argparse.Namespace) -> None:
    """Forward and backward of every micro-batch; gradients add up."""
    for members in cut:
        micro = packed.micro_batch(members, options.device)
        with torch.autocast(options.device, dtype=torch.bfloat16, enabled=options.dtype == "bfloat16"):
            logprobs, _ = policy_statistics(model, micro, temperature=1.0, head_chunk=options.head_chunk)
        logprobs.sum().backward()


def timed(work: Callable[[], None], options: argparse.Namespace) -> float:
    """CPU seconds of all threads; on a GPU seconds until it is idle."""
    if options.device == "cpu":
        started = time.process_time()
        work()
        return time.process_time() - started
    torch.cuda.synchronize()
    started = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - started


def peak_bytes(work: Callable[[], None], options: argparse.Namespace) -> int:
    """The most memory `work` holds at once beyond what was held before; gradients exist before."""
    work()
    if options.device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        return torch.cuda.max_memory_allocated() - before
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        work()
    held = most = 0
    for event in sorted(memory_events(profile), key=lambda event: event.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most


def memory_events(profile: Any) -> list[Any]:
    return [each for each in profile.profiler.kineto_results.events() if each.name() == "[memory]"]


def random_rollouts(model: Any, *, groups: int, samples: int, lengths: Sequence[int]) -> list[Rollout]:
    """Rollouts of random tokens; the response lengths of a group go round `lengths`."""
    generator = np.random.default_rng(0)
    vocabulary = model.config.vocab_size
    rollouts = []
    for group in range(groups):
        prompt = generator.integers(vocabulary, size=_PROMPT).astype(np.int32)
        for sample in range(samples):
            length = lengths[sample % len(lengths)]
            rollouts.append(
                Rollout(
                    prompt=Prompt(f"random-{group}", "", ""),
                    sample=sample,
                    prompt_token_ids=prompt,
                    token_ids=generator.integers(vocabulary, size=length).astype(np.int32),
                    text="",
                    finish_reason=FinishReason.STOP,
                    sampler_logprobs=np.zeros(length, dtype=np.float32),
                )
            )
    return rollouts


def report_peaks(what: str, peaks: dict[int, int]) -> None:
    first = next(iter(peaks.values()))
    for size, peak in peaks.items():
        print(f"  {size:4d} {what}: {peak / 2**20:.1f} MiB, {peak / first:.2f} of the first", flush=True)


def spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.0f} ({min(values):.0f} to {max(values):.0f})"


if __name__ == "__main__":
    main()
