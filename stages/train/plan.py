"""What a run will need of memory, told before it starts, and whether activations must be recomputed for it to fit."""

import json
import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from hicra_cli.config.launch import read_launch
from hicra_cli.config.root import HicraConfig
from hicra_cli.config.train import TrainConfig
from hicra_cli.rl.activations import ModelMemory, UntraceableError, trace_model
from hicra_cli.rl.balance import head_width
from hicra_cli.rl.layout import PROMPTS_PER_ROW, row_limit
from hicra_cli.rl.memory import FITS_BELOW, MemoryPlan, Sizes, gib, plan_memory

from .parallel import choose_parallel, describe_parallel, describe_zero
from .precision import compute_dtype, stored_dtype
from .sample import longest_sampling

ASSUMED_PROMPT = 512  # tokens of the longest prompt, where nothing was measured or configured yet


@dataclass(frozen=True, slots=True)
class Machine:
    """The device of one process. total: bytes of a GPU, or of main memory that is free; None where unknown."""

    on_cpu: bool
    total: int | None


@dataclass(frozen=True, slots=True)
class Team:
    """size: processes that share a step's rollouts. shards: those that share the weights, 1 where each has them all.

    keeps_whole: shards are made whole from a forward to its backward.
    """

    size: int = 1
    shards: int = 1
    keeps_whole: bool = False


@dataclass(frozen=True, slots=True)
class RunPlan:
    """memory: with checkpointing as decided. reason: of that decision. tokens: of the largest micro-batch."""

    memory: MemoryPlan
    checkpointing: bool
    reason: str
    tokens: int
    machine: Machine

    @property
    def summary(self) -> str:
        """One line, for the run's notes."""
        known = "" if self.machine.total is None else f" of {gib(self.machine.total)}"
        switch = "on" if self.checkpointing else "off"
        return (
            f"memory: {gib(self.memory.peak)}{known} predicted at most, beside what the process holds already; "
            f"gradient checkpointing {switch}: {self.reason}"
        )


class MemoryLines(Mapping[str, str]):
    """Lines for `--dry-run`, from config.json and the weights' headers; no tensor is loaded. Made when they are read:
    other runs need not wait the seconds that tracing takes.
    """

    def __init__(self, policy: Path, config: HicraConfig) -> None:
        self._make = lru_cache(lambda: describe_memory(policy, config))

    def __getitem__(self, name: str) -> str:
        return self._make()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._make())

    def __len__(self) -> int:
        return len(self._make())


def describe_memory(policy: Path, config: HicraConfig) -> dict[str, str]:
    """What `MemoryLines` say."""
    parameters = count_parameters(policy)
    if not parameters:
        return {"memory": "unknown: no safetensors weights found"}
    train = config.train
    lines = {
        "parameters": f"{parameters:,}",
        "rollouts": f"{train.num_prompts} prompts x {train.group_size} = {train.num_prompts * train.group_size} a step",
    }
    launch = read_launch()
    machine = this_machine(config, processes=1 if launch is None else launch.local_size)
    team = Team()
    if launch is not None:
        device_bytes = None if machine.on_cpu else machine.total
        parallel = choose_parallel(train, launch, parameters=parameters, device_bytes=device_bytes)
        lines["processes"] = describe_parallel(launch, parallel)
        if deepspeed := describe_zero(launch, parallel):
            lines["DeepSpeed"] = deepspeed
        team = Team(launch.size, 1 if parallel == "ddp" else launch.size, parallel == "zero2")
    plan = plan_run(policy, config, machine, team=team)
    if isinstance(plan, str):
        return {**lines, "memory": f"unknown: {plan}"}
    known = f" of {gib(plan.machine.total)}" if plan.machine.total is not None else ""
    return {
        **lines,
        "micro-batch": f"{plan.tokens:,} tokens",
        **plan.memory.lines(),
        "memory, peak": f"{gib(plan.memory.peak)}{known}",
        "gradient checkpointing": f"{'on' if plan.checkpointing else 'off'}: {plan.reason}",
    }


def plan_run(
    policy: Path,
    config: HicraConfig,
    machine: Machine,
    *,
    longest_prompt: int | None = None,
    team: Team = Team(),
) -> RunPlan | str:
    """The plan of a run, or why there is none. longest_prompt: tokens, where prompts were measured already.

    `gradient_checkpointing: auto` is on where the plan without it passes 80 % of the device.
    """
    train = config.train
    hf_config = _hf_config(policy)
    if isinstance(hf_config, str):
        return hf_config
    text = hf_config.get_text_config(decoder=True)
    longest = _longest_sequence(config, text, longest_prompt)
    share = -(-train.num_prompts * train.group_size // team.size)
    tokens = min(max(_filled(config, policy, machine, longest_prompt), longest), share * longest)
    sizes = Sizes(
        layers=text.num_hidden_layers,
        hidden=text.hidden_size,
        kv_width=_kv_width(text),
        vocabulary=text.vocab_size,
        rows=min(config.engine.max_rows, share),
        columns=longest,
        head_chunk=min(train.head_chunk, tokens),
        shards=team.shards,
        keeps_whole=team.keeps_whole,
    )
    try:
        if train.gradient_checkpointing != "auto":
            chosen = bool(train.gradient_checkpointing)
            memory = _memory(policy, config, machine, sizes, tokens, checkpointing=chosen)
            return RunPlan(memory, chosen, "as configured", tokens, machine)
        without = _memory(policy, config, machine, sizes, tokens, checkpointing=False)
        room = None if machine.total is None else int(FITS_BELOW * machine.total)
        if room is None:
            return RunPlan(without, False, "the device's memory is not known here", tokens, machine)
        if without.peak <= room:
            return RunPlan(without, False, f"without it the run fits {FITS_BELOW:.0%} of the memory", tokens, machine)
        memory = _memory(policy, config, machine, sizes, tokens, checkpointing=True)
    except UntraceableError as error:
        return str(error)
    reason = f"without it {gib(without.peak)} would be needed, more than {FITS_BELOW:.0%} of the memory"
    return RunPlan(memory, True, reason, tokens, machine)


def _filled(config: HicraConfig, policy: Path, machine: Machine, longest_prompt: int | None) -> int:
    """Tokens to which micro-batches are filled where rollouts are short."""
    train = config.train
    if not machine.on_cpu or train.layout == "padded":
        return train.token_budget
    limit = row_limit(count_parameters(policy), on_cpu=True)
    return min(train.token_budget, max(limit, PROMPTS_PER_ROW * (longest_prompt or 0)))


def wants_checkpointing(plan: RunPlan | str, train: TrainConfig) -> bool:
    """The decision; without a plan `auto` is on, which fits if anything does."""
    return train.gradient_checkpointing is not False if isinstance(plan, str) else plan.checkpointing


def measured_memory(peak: int, predicted: int | None) -> str:
    """After the first step: what it took beside what was predicted, as the process counts both."""
    return f"memory of the whole process: {gib(peak)} measured after a step" + (
        f", {gib(predicted)} predicted" if predicted else ""
    )


def this_machine(config: HicraConfig, *, processes: int = 1) -> Machine:
    """The device the run will use and its memory, main memory shared by the run's `processes` here.

    A GPU that is asked for but not here has no known size.
    """
    if config.device != "cpu" and torch.cuda.is_available():
        return Machine(False, torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory)
    return Machine(False, None) if config.device == "cuda" else Machine(True, available_memory() // processes)


def available_memory() -> int:
    """Bytes of main memory that this process may still take: free memory, less where a container allows less."""
    import psutil  # comes with accelerate

    free = int(psutil.virtual_memory().available)
    limits = [_read_number(Path("/sys/fs/cgroup") / name) for name in ("memory.max", "memory.current")]
    most, used = limits
    return free if most is None or used is None else max(0, min(free, most - used))


def count_parameters(folder: Path) -> int:
    """Parameters in the safetensors files of a model folder; 0 where there are none."""
    return sum(
        math.prod(tensor["shape"])
        for path in sorted(folder.glob("*.safetensors"))
        for name, tensor in _header(path).items()
        if name != "__metadata__"
    )


def _memory(
    policy: Path, config: HicraConfig, machine: Machine, sizes: Sizes, tokens: int, *, checkpointing: bool
) -> MemoryPlan:
    train = config.train
    stored = stored_dtype(train, on_cpu=machine.on_cpu)
    compute = compute_dtype(train, on_cpu=machine.on_cpu)
    targets = tuple(train.lora.targets)
    model = _traced(policy, tokens, stored, compute, checkpointing, train.lora.rank, targets)
    engine = 0
    if config.engine.name == "vllm":
        weights = model.parameters * torch.bfloat16.itemsize
        engine = weights if machine.total is None else int(config.engine.gpu_memory_fraction * machine.total)
        sizes = replace(sizes, rows=0)
    return plan_memory(
        model,
        sizes,
        stored=stored,
        compute=compute,
        on_cpu=machine.on_cpu,
        engine=engine,
        reference=_has_reference(train),
        copies_for_engine=sizes.shards > 1 and config.engine.name == "transformers",
    )


def _has_reference(train: TrainConfig) -> bool:
    return train.kl_beta > 0 and not (train.lora.rank and train.reference is None)


@lru_cache(maxsize=8)
def _traced(
    policy: Path,
    tokens: int,
    stored: torch.dtype,
    compute: torch.dtype,
    checkpointing: bool,
    lora_rank: int,
    lora_targets: tuple[str, ...],
) -> ModelMemory:
    """A dry run asks, then the run itself: once is enough."""
    return trace_model(
        _hf_config(policy),
        tokens=tokens,
        stored=stored,
        compute=compute,
        checkpointing=checkpointing,
        lora_rank=lora_rank,
        lora_targets=lora_targets,
    )


def _hf_config(policy: Path) -> Any:
    """The model's configuration, or a str: why it cannot be read. A policy that is no model is refused elsewhere."""
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(policy, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"config.json cannot be read ({str(error).splitlines()[0]})"


def _longest_sequence(config: HicraConfig, text: Any, longest_prompt: int | None) -> int:
    prompt = longest_prompt or config.task.max_prompt_tokens or ASSUMED_PROMPT
    return min(
        prompt + longest_sampling(config.train).max_new_tokens,
        getattr(text, "max_position_embeddings", None) or 1 << 30,
    )


def _kv_width(text: Any) -> int:
    return int((getattr(text, "num_key_value_heads", None) or text.num_attention_heads) * head_width(text))


def _read_number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # no such file outside a container; "max" where there is no limit
        return None


def _header(path: Path) -> dict[str, dict[str, list[int]]]:
    with path.open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        header: dict[str, dict[str, list[int]]] = json.loads(stream.read(length))
    return header
