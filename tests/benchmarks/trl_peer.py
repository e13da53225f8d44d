"""TRL's GRPOTrainer under measurement: its own `train()`, stopped between steps by a callback."""

import statistics
from collections.abc import Callable, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PrinterCallback, TrainerCallback

from hicra_cli.core.records import Prompt
from hicra_cli.engine.policy import LoadedPolicy
from tests.benchmarks.hicra_side import score
from tests.benchmarks.measure import Cost, PeakMemory, Stopwatch
from tests.rl.trl_peer import PeerBatch, peer_micro_batches, trl_trainer

WARM_UP, MEMORY = 0, 1  # the first steps: one that allocates Adam's moments and compares, one whose memory is measured


class Steps(TrainerCallback):  # type: ignore[misc]
    """Costs of TRL's steps after the first two, and the peak memory of the second.

    between: called after each step, with its number. logged: a step ends when its figures are logged, not before.
    """

    def __init__(self, device: torch.device, between: Callable[[int], None], *, logged: bool) -> None:
        self.costs: list[Cost] = []
        self.peak_bytes = 0
        self.gradient: dict[str, Tensor] = {}
        self._device, self._between, self._logged = device, between, logged
        self._watch: Stopwatch | None = None
        self._memory: PeakMemory | None = None
        self._number = 0
        self._lengths: list[float] = []

    @property
    def mean_length(self) -> float:
        """Tokens of the answers that TRL sampled in the rounds that count."""
        return statistics.mean(self._lengths[MEMORY + 1 :])

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._memory = PeakMemory(self._device) if self._number == MEMORY else None
        self._watch = Stopwatch(self._device)

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, *, model: Any, **_: Any) -> None:
        if self._number == WARM_UP:
            self.gradient = {name: each.grad.clone() for name, each in model.named_parameters()}

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if not self._logged:
            self._end()

    def on_log(self, args: Any, state: Any, control: Any, *, logs: dict[str, Any], **_: Any) -> None:
        if self._logged and self._watch is not None:
            self._lengths.append(float(logs["completions/mean_length"]))
            self._end()

    def _end(self) -> None:
        assert self._watch is not None
        cost = self._watch.read()
        if self._memory is not None:
            self.peak_bytes = self._memory.read()
        if self._number > MEMORY:
            self.costs.append(cost)
        self._watch = None
        self._between(self._number)
        self._number += 1


def replay(
    policy: LoadedPolicy, batch: PeerBatch, folder: Path, device: torch.device, *,
    repeats: int, between: Callable[[int], None], **settings: Any,
) -> Steps:  # fmt: skip
    """TRL learns from the same batch in every step; where it would sample it is handed the batch."""
    rows = settings.setdefault("per_device_train_batch_size", 8)
    trainer = trl_trainer(
        policy.model, policy.tokenizer, folder, max_steps=repeats + 2, max_grad_norm=1.0, learning_rate=1e-6,
        adam_beta2=0.95, use_cpu=device.type == "cpu", gradient_accumulation_steps=len(batch.rollouts) // rows,
        **settings,
    )  # fmt: skip
    micro_batches = [
        {name: each.to(device) for name, each in inputs.items()} for inputs in peer_micro_batches(trainer, batch)
    ]
    handed = cycle(micro_batches)
    trainer.remove_callback(PrinterCallback)  # it would print after the last step
    trainer._prepare_inputs = lambda _: next(handed)
    steps = Steps(device, between, logged=False)
    trainer.add_callback(steps)
    trainer.train()
    return steps


def whole_steps(
    policy: LoadedPolicy, prompts: Sequence[Prompt], folder: Path, device: torch.device, *,
    repeats: int, between: Callable[[int], None], **settings: Any,
) -> Steps:  # fmt: skip
    """TRL samples, rewards and learns by itself and logs every step."""
    trainer = trl_trainer(
        policy.model, policy.tokenizer, folder, max_steps=repeats + 2, max_grad_norm=1.0, learning_rate=1e-6,
        adam_beta2=0.95, use_cpu=device.type == "cpu", logging_strategy="steps", logging_steps=1, prompts=prompts,
        reward=_scores, **settings,
    )  # fmt: skip
    steps = Steps(device, between, logged=True)
    trainer.add_callback(steps)
    trainer.train()
    return steps


def _scores(prompts: list[str], completions: list[str], answer: list[str], **_: Any) -> list[float]:
    return [score(*each, {}, False) for each in zip(prompts, completions, answer, strict=True)]
