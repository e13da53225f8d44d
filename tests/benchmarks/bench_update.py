"""The update of a step (forward, backward, clipping, Adam) against TRL 1.16's, on one batch of rollouts.

    python -m tests.benchmarks.bench_update                         # nano and 40m, 8 prompts x 8, answers up to 128
    python -m tests.benchmarks.bench_update --malloc tuned          # both with an allocator that keeps its pages
    python -m tests.benchmarks.bench_update --device cuda --dtype bfloat16

hicra is `stages.train.update.learn` with what `build_run` makes of the default configuration: log-probs, entropies,
checks and figures included. TRL is its own `train()`, which is handed the batch where it would sample; once with its
default gradient checkpointing and once without. Both have the same weights, tokens, HICRA advantages (B, T), threads
and precision (bfloat16: autocast over float32 weights), and the loss of `dapo`. Answers are 20 to 100 % of the limit,
evenly spread. With `--dead` groups without signal TRL computes them all the same, so its time is that of every variant;
hicra leaves them out. The sides take turns; the first two rounds do not count: one warms up and compares the
gradients, in the other peak memory above the resting process (weights and Adam's moments) is measured.
"""

import argparse
import copy
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor

from hicra_cli.config.root import HicraConfig
from hicra_cli.core.records import FinishReason, Rollout
from hicra_cli.engine.base import Request
from hicra_cli.engine.policy import LoadedPolicy, load_policy
from hicra_cli.rl.advantages import hicra_advantages
from hicra_cli.rl.packing import pack
from hicra_cli.stages.train.state import TrainState
from hicra_cli.stages.train.stop import StopSignal
from hicra_cli.stages.train.tools import StepTools
from hicra_cli.stages.train.update import Batch, learn, policy_figures
from tests.benchmarks import hicra_side, trl_peer
from tests.benchmarks.measure import Cost, PeakMemory, costs, ratios, timed, with_tuned_malloc
from tests.benchmarks.random_models import LIMIT, SHAPES, random_policy, random_requests, save_policy
from tests.rl.trl_peer import PeerBatch
from tests.rl.updates import relative_difference

GROUP = 8


@dataclass(slots=True)
class Variant:
    """hicra's side with `dead` groups without signal. costs: of the rounds that count."""

    dead: int
    batch: Batch
    costs: list[Cost] = field(default_factory=list)
    peak_bytes: int = 0
    gradient: dict[str, Tensor] = field(default_factory=dict)


def main() -> None:
    options = parse_options()
    if options.malloc == "tuned":
        with_tuned_malloc("tests.benchmarks.bench_update")
    for name in options.policy:
        with TemporaryDirectory() as folder, ExitStack() as stack:
            compare(name, Path(folder), options, stack)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policy", nargs="+", default=list(SHAPES), choices=list(SHAPES))
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--dead", type=int, nargs="+", default=[3, 2, 0], help="groups without signal, one per variant")
    parser.add_argument("--peers", nargs="+", default=["checkpointing", "plain"], choices=["checkpointing", "plain"])
    parser.add_argument("--peer-rows", type=int, default=8, help="rows of TRL's micro-batch; 8 is its default")
    parser.add_argument("--set", nargs="*", default=[], help="settings of hicra's train section, KEY=VALUE")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--malloc", choices=("default", "tuned"), default="default")
    return parser.parse_args()


def compare(name: str, folder: Path, options: argparse.Namespace, stack: ExitStack) -> None:
    """Both sides on one model, TRL once per way of treating activations."""
    drawn = random_policy(name)
    path = save_policy(drawn, folder / "policy")
    requests = random_requests(drawn, count=options.prompts, samples=GROUP)
    extra = dict(each.split("=", 1) for each in options.set)
    config = hicra_side.configuration(
        folder, [each.prompt for each in requests], device=options.device, threads=options.threads,
        num_prompts=options.prompts, group_size=GROUP, precision=options.dtype, sampling={"max_new_tokens": LIMIT},
        **extra,
    )  # fmt: skip
    state, tools, _ = hicra_side.build(config, path, stack)
    rollouts = spread_rollouts(drawn, requests, state, tools, config)
    variants = [Variant(dead, learning_batch(rollouts, dead, tools)) for dead in options.dead]
    describe(name, rollouts, tools, options)
    for peer in options.peers:
        before = copy.deepcopy(state.model.state_dict())
        steps = trl_peer.replay(
            load_policy(path, dtype=torch.float32, device=options.device),
            PeerBatch(rollouts, variants[0].batch.token_advantages),
            folder / peer, tools.device, repeats=options.repeats,
            between=lambda number: take_turns(number, variants, state, tools, config),
            gradient_checkpointing=peer == "checkpointing", per_device_train_batch_size=options.peer_rows,
            num_generations=GROUP, max_completion_length=LIMIT, loss_type="dapo", epsilon=0.2, epsilon_high=0.28,
            bf16=options.dtype == "bfloat16",
        )  # fmt: skip
        report(peer, steps, variants)
        state.model.load_state_dict(before)
        for variant in variants:
            variant.costs.clear()


def spread_rollouts(
    policy: LoadedPolicy, requests: Sequence[Request], state: TrainState, tools: StepTools, config: HicraConfig
) -> list[Rollout]:
    """Random answers whose lengths are dealt evenly from 20 to 100 % of the limit, with the policy's own log-probs."""
    generator = np.random.default_rng(0)
    lengths = generator.permutation(np.linspace(0.2 * LIMIT, LIMIT, len(requests) * GROUP).round().astype(int))
    vocabulary = policy.model.config.vocab_size
    bare = [
        Rollout(
            prompt=request.prompt,
            sample=sample,
            prompt_token_ids=request.token_ids,
            token_ids=generator.integers(2, vocabulary, size=lengths[place * GROUP + sample]).astype(np.int32),
            text="",
            finish_reason=FinishReason.STOP,
            sampler_logprobs=np.zeros(lengths[place * GROUP + sample], dtype=np.float32),
        )
        for place, request in enumerate(requests)
        for sample in range(GROUP)
    ]
    packed = pack(bare, tools.layout)
    figures = policy_figures(state.policy, packed, range(len(bare)), tools, config.train, StopSignal())
    known = np.split(figures.logprobs.cpu().numpy(), packed.starts[1:])
    return [replace(rollout, sampler_logprobs=logprobs) for rollout, logprobs in zip(bare, known, strict=True)]


def learning_batch(rollouts: list[Rollout], dead: int, tools: StepTools) -> Batch:
    """Advantages of either sign for each answer, amplified at some tokens; the first `dead` groups have none."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.tensor([len(each.token_ids) for each in rollouts])
    advantages = torch.randn(len(rollouts), generator=generator)
    advantages[: dead * GROUP] = 0.0
    spread = torch.repeat_interleave(advantages, lengths)
    planning_mask = torch.rand(len(spread), generator=generator) < 0.03
    return Batch(
        pack(rollouts, tools.layout),
        useful=range(dead * GROUP, len(rollouts)),
        lengths=lengths,
        counted=torch.ones(len(rollouts), dtype=torch.bool),
        token_advantages=hicra_advantages(spread, planning_mask, alpha=0.2),
        response_limit=LIMIT,
    )


def take_turns(
    number: int, variants: Sequence[Variant], state: TrainState, tools: StepTools, config: HicraConfig
) -> None:
    """hicra's round after each of TRL's."""
    for place, variant in enumerate(variants):

        def work(variant: Variant = variant) -> object:
            return learn(variant.batch, state, tools, config.train, StopSignal(), lr=1e-6)

        if number == trl_peer.WARM_UP:
            before = copy.deepcopy(state.model.state_dict())
            hook = state.optimizer.register_step_pre_hook(lambda *_, v=variant: v.gradient.update(gradients(state)))
            work()
            hook.remove()
            state.model.load_state_dict(before)
            if place:
                variant.gradient.clear()  # only the first variant's advantages were handed to TRL too
        elif number == trl_peer.MEMORY:
            memory = PeakMemory(tools.device)
            work()
            variant.peak_bytes = memory.read()
        else:
            variant.costs.append(timed(work, tools.device))


def gradients(state: TrainState) -> dict[str, Tensor]:
    return {name: each.grad.clone() for name, each in state.model.named_parameters()}


def describe(name: str, rollouts: list[Rollout], tools: StepTools, options: argparse.Namespace) -> None:
    lengths = np.array([len(each.token_ids) for each in rollouts])
    print(
        f"{name}: {options.prompts} prompts x {GROUP}, answers of {lengths.min()} to {lengths.max()} tokens (mean "
        f"{lengths.mean():.0f}), {options.device} {options.dtype}, {options.threads} thread(s), malloc "
        f"{options.malloc}, {options.repeats} rounds: median (least to most)",
        flush=True,
    )


def report(peer: str, steps: trl_peer.Steps, variants: Sequence[Variant]) -> None:
    kind = "as is (gradient checkpointing)" if peer == "checkpointing" else "without gradient checkpointing"
    print(f"  TRL {kind}: {costs(steps.costs)}; {steps.peak_bytes / 2**20:.0f} MiB")
    for variant in variants:
        agreement = ""
        if variant.gradient:
            agreement = f"; gradients agree to {relative_difference(variant.gradient, steps.gradient):.1e}"
        share = variant.peak_bytes / steps.peak_bytes
        print(
            f"    hicra, {variant.dead} groups without signal: {costs(variant.costs)}; "
            f"{variant.peak_bytes / 2**20:.0f} MiB ({share:.2f} of TRL's)\n"
            f"      TRL takes {ratios(steps.costs, variant.costs)} times as long{agreement}",
            flush=True,
        )


if __name__ == "__main__":
    main()
