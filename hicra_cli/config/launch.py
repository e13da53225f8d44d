"""What a launcher (torchrun, accelerate launch, a SLURM script) tells each process that it starts, by environment."""

import os
from dataclasses import dataclass
from typing import Literal

from hicra_cli.config.deepspeed import Zero, read_zero
from hicra_cli.core.errors import ConfigError

Parallel = Literal["ddp", "zero2", "fsdp"]
"""Weights in each process: a copy; a shard that is made whole between forward and backward; a shard."""

_BY_STAGE: tuple[Parallel, ...] = ("ddp", "zero2", "zero2", "fsdp")  # stage 1 is served by what stage 2 does
_FSDP1_STRATEGIES: dict[str, Parallel] = {
    "SHARD_GRAD_OP": "zero2", "2": "zero2", "NO_SHARD": "ddp", "3": "ddp", "HYBRID_SHARD_ZERO2": "zero2", "5": "zero2",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Launch:
    """One of `size` processes of a run: `rank` 0 … size - 1, and the same two counted on this machine alone.

    parallel: what accelerate's configuration asks for, where it does. zero: where it asks for it in DeepSpeed's words.
    """

    rank: int
    size: int
    local_rank: int
    local_size: int
    parallel: Parallel | None = None
    zero: Zero | None = None

    @property
    def is_leader(self) -> bool:
        """The process that owns registry, results and talk."""
        return self.rank == 0


def read_launch() -> Launch | None:
    """The launch this process belongs to; None for a process of its own, also when a launcher started just one.

    Raises ConfigError for numbers that make no sense, for a configuration of accelerate that cannot be honoured, and
    where `accelerate launch --cpu` was asked for several processes: it starts one, and says nothing.
    """
    rank = os.environ.get("RANK")
    if rank is None or "WORLD_SIZE" not in os.environ:
        _refuse_lone_process()
        return None
    zero = read_zero()
    parallel = _fsdp() if zero is None else _BY_STAGE[zero.stage]
    size = _number("WORLD_SIZE")
    # DeepSpeed's own launcher, which accelerate takes for several machines, says LOCAL_SIZE.
    local_size = "LOCAL_WORLD_SIZE" if "LOCAL_WORLD_SIZE" in os.environ else "LOCAL_SIZE"
    launch = Launch(_number("RANK"), size, _number("LOCAL_RANK", 0), _number(local_size, 1), parallel, zero)
    if not (0 <= launch.rank < size and 0 <= launch.local_rank < launch.local_size <= size):
        raise ConfigError(
            f"process {launch.rank} of {size}, {launch.local_rank} of {launch.local_size} on this machine, cannot be",
            where="RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE",
            fix="Start the run with torchrun or accelerate launch, or unset these variables",
        )
    if size == 1:
        return None
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        if os.environ.get(name, "") in ("", "0"):  # torchrun with --master-port 0 really says 0
            raise ConfigError(
                f"{name} is not set, so {size} processes cannot find each other",
                fix="Start the run with torchrun --standalone on one machine, or name --master-addr and --master-port",
            )
    return launch


def _fsdp() -> Parallel | None:
    """What a configuration for FSDP (1 or 2) asks for; None where there is none."""
    if os.environ.get("ACCELERATE_USE_FSDP", "").lower() != "true":
        return None
    if os.environ.get("FSDP_OFFLOAD_PARAMS", "").lower() == "true":
        raise ConfigError(
            "fsdp_offload_params cannot be honoured: weights stay on the device that computes with them",
            where="FSDP_OFFLOAD_PARAMS, from the configuration of accelerate",
            fix="Set it to false; with less memory a run gets by with more processes, train.lora.rank or "
            "train.precision bfloat16-kahan",
        )
    if os.environ.get("FSDP_VERSION") == "1":
        return _FSDP1_STRATEGIES.get(os.environ.get("FSDP_SHARDING_STRATEGY", "").upper(), "fsdp")
    return "zero2" if os.environ.get("FSDP_RESHARD_AFTER_FORWARD", "").lower() in ("false", "no", "0") else "fsdp"


def _refuse_lone_process() -> None:
    # accelerate sets MASTER_ADDR where several processes were asked for; on CPU it then starts one without a rank.
    asked_for_several = os.environ.get("ACCELERATE_MIXED_PRECISION") is not None and "MASTER_ADDR" in os.environ
    if asked_for_several:
        raise ConfigError(
            "accelerate launch was asked for several processes and has started this one alone, as it does on CPU",
            fix="Use torchrun --nproc-per-node N -m hicra_cli train …, or accelerate launch --num_processes 1",
        )


def _number(name: str, default: int | None = None) -> int:
    text = os.environ.get(name)
    if text is None and default is not None:
        return default
    try:
        return int(text or "")
    except ValueError:
        raise ConfigError(f"{name}={text!r} is no whole number", fix="Start the run with torchrun") from None
