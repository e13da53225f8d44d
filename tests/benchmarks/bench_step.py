"""A whole training step against TRL 1.16's: sampling, rewards, credit, update, publishing, figures and their logging.

    python -m tests.benchmarks.bench_step                          # nano and 40m, 8 prompts x 8, answers up to 128
    python -m tests.benchmarks.bench_step --malloc tuned
    python -m tests.benchmarks.bench_step --device cuda --dtype bfloat16
    python -m tests.benchmarks.bench_step --parts                  # hicra alone: what its step spends besides the model

hicra is `train_step` with what `build_run` makes of a configuration, and the line of steps.jsonl; TRL is its own
`train()` with a line of its log per step, and samples with transformers' `generate`. Both start from the same weights
and draw their own answers to the same prompts, of which 5 in 16 have no signal (2 or 3 groups in a step); the reward is
a function of the user's own, which hicra calls in another process and TRL in its own. The sides take turns; the first
two steps do not count.
"""

import argparse
import json
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from hicra_cli.config.root import HicraConfig
from hicra_cli.core.records import Prompt
from hicra_cli.engine.policy import load_policy
from hicra_cli.stages.train.state import TrainState
from hicra_cli.stages.train.step import train_step
from hicra_cli.stages.train.stop import StopSignal
from hicra_cli.stages.train.tools import StepTools
from tests.benchmarks import hicra_side, trl_peer
from tests.benchmarks.hicra_side import DEAD
from tests.benchmarks.measure import Cost, Stopwatch, costs, ratios, with_tuned_malloc
from tests.benchmarks.random_models import LIMIT, SHAPES, random_policy, random_prompts, save_policy

GROUP = 8
PROMPTS = 8  # of a step, from 16


def main() -> None:
    options = parse_options()
    if options.malloc == "tuned":
        with_tuned_malloc("tests.benchmarks.bench_step")
    for name in options.policy:
        with TemporaryDirectory() as folder, ExitStack() as stack:
            (parts if options.parts else compare)(name, Path(folder), options, stack)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policy", nargs="+", default=list(SHAPES), choices=list(SHAPES))
    parser.add_argument("--peer", choices=("checkpointing", "plain"), default="checkpointing")
    parser.add_argument("--parts", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=4)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--malloc", choices=("default", "tuned"), default="default")
    return parser.parse_args()


def compare(name: str, folder: Path, options: argparse.Namespace, stack: ExitStack) -> None:
    path, prompts, config, state, tools = prepare(name, folder, options, stack)
    ours: list[Cost] = []
    records: list[dict[str, Any]] = []

    def between(number: int) -> None:
        watch = Stopwatch(tools.device)
        records.append(one_step(state, tools, config, folder / "steps.jsonl"))
        cost = watch.read()
        if number > trl_peer.MEMORY:
            ours.append(cost)

    steps = trl_peer.whole_steps(
        load_policy(path, dtype=torch.float32, device=options.device), prompts, folder / "trl", tools.device,
        repeats=options.repeats, between=between, gradient_checkpointing=options.peer == "checkpointing",
        num_generations=GROUP, gradient_accumulation_steps=PROMPTS, max_completion_length=LIMIT, loss_type="dapo",
        epsilon=0.2, epsilon_high=0.28, bf16=options.dtype == "bfloat16",
    )  # fmt: skip
    length = statistics.mean(each["response/length_mean_tokens"] for each in records[2:])
    dead = statistics.mean(each["groups/no_signal_fraction"] for each in records[2:])
    print(
        f"{name}: {PROMPTS} prompts x {GROUP}, mean answer {length:.0f} tokens (TRL {steps.mean_length:.0f}), "
        f"{dead:.0%} of groups without signal, {options.device} {options.dtype}, {options.threads} thread(s), malloc "
        f"{options.malloc}, {options.repeats} steps: median (least to most)\n"
        f"  TRL, gradient checkpointing {options.peer == 'checkpointing'}: {costs(steps.costs)}\n"
        f"  hicra: {costs(ours)}\n"
        f"  TRL takes {ratios(steps.costs, ours)} times as long",
        flush=True,
    )


def parts(name: str, folder: Path, options: argparse.Namespace, stack: ExitStack) -> None:
    """Shares of hicra's step: the model's passes and decoding are timed from inside, the rest is its own overhead."""
    _, _, config, state, tools = prepare(name, folder, options, stack)
    seconds: defaultdict[str, float] = defaultdict(float)
    device = tools.device
    state.policy.forward = clocked(state.policy.forward, "forward", seconds, device)
    tools.workers.backward = clocked(tools.workers.backward, "backward", seconds, device)
    tools.engine.generate = clocked(tools.engine.generate, "decoding", seconds, device)
    totals: list[float] = []
    for number in range(options.repeats + 2):
        if number == 2:
            seconds.clear()
        with clock(totals if number >= 2 else [], device):
            record = one_step(state, tools, config, folder / "steps.jsonl")
    total = sum(totals)
    shares = ", ".join(f"{part} {value / total:.1%}" for part, value in seconds.items())
    phases = {key: round(value / record["time/step_s"], 3) for key, value in record.items() if key.startswith("time/")}
    print(f"{name}: {total / len(totals):.3f} s a step: {shares}, all else {1 - sum(seconds.values()) / total:.1%}")
    print(f"  phases of the last step as shares: {phases}", flush=True)


def prepare(
    name: str, folder: Path, options: argparse.Namespace, stack: ExitStack
) -> tuple[Path, list[Prompt], HicraConfig, TrainState, StepTools]:
    """The policy on disk, 16 prompts of which 5 have no signal, and hicra's run."""
    drawn = random_policy(name)
    path = save_policy(drawn, folder / "policy")
    prompts = [
        replace(each, answer=DEAD if place < 5 else "sometimes")
        for place, each in enumerate(random_prompts(drawn.model.config.vocab_size, count=2 * PROMPTS))
    ]
    config = hicra_side.configuration(
        folder, prompts, device=options.device, threads=options.threads, num_prompts=PROMPTS, group_size=GROUP,
        precision=options.dtype, sampling={"max_new_tokens": LIMIT},
    )  # fmt: skip
    state, tools, _ = hicra_side.build(config, path, stack)
    return path, prompts, config, state, tools


def one_step(state: TrainState, tools: StepTools, config: HicraConfig, log: Path) -> dict[str, Any]:
    """A step and its line in the log."""
    record: dict[str, Any] = train_step(state, tools, config.train, StopSignal()).record
    state.torn = False
    with log.open("a") as stream:
        stream.write(json.dumps(record) + "\n")
    return record


def clocked(
    work: Callable[..., Any], part: str, seconds: defaultdict[str, float], device: torch.device
) -> Callable[..., Any]:
    def call(*positional: Any, **named: Any) -> Any:
        spent: list[float] = []
        with clock(spent, device):
            result = work(*positional, **named)
        seconds[part] += spent[0]
        return result

    return call


@contextmanager
def clock(into: list[float], device: torch.device) -> Iterator[None]:
    watch = Stopwatch(device)
    yield
    into.append(watch.read().wall_s)


if __name__ == "__main__":
    main()
