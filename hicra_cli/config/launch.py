"""What a launcher (torchrun, accelerate launch, a SLURM script) tells each process that it starts, by environment."""

import os
from dataclasses import dataclass
from typing import Literal

from hicra_cli.core.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Launch:
    """One of `size` processes of a run: `rank` 0 … size - 1, and the same two counted on this machine alone.

    backend: what accelerate's configuration asks for, where it does.
    """

    rank: int
    size: int
    local_rank: int
    local_size: int
    backend: Literal["", "fsdp"] = ""

    @property
    def is_leader(self) -> bool:
        """The process that owns registry, results and talk."""
        return self.rank == 0


def read_launch() -> Launch | None:
    """The launch this process belongs to; None for a process of its own, also when a launcher started just one.

    Raises ConfigError for numbers that make no sense, for DeepSpeed, and where `accelerate launch --cpu` was asked for
    several processes: it starts one, and says nothing.
    """
    rank = os.environ.get("RANK")
    if rank is None or "WORLD_SIZE" not in os.environ:
        _refuse_lone_process()
        return None
    _refuse_deepspeed()
    size = _number("WORLD_SIZE")
    launch = Launch(_number("RANK"), size, _number("LOCAL_RANK", 0), _number("LOCAL_WORLD_SIZE", 1), _backend())
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


def _backend() -> Literal["", "fsdp"]:
    return "fsdp" if _asked_of_accelerate("FSDP") else ""


def _refuse_deepspeed() -> None:
    # Its engine clips and steps in one call and averages over processes; an update here is a sum, looked at before the
    # weights change.
    if _asked_of_accelerate("DEEPSPEED"):
        raise ConfigError(
            "the launcher is configured for DeepSpeed, which hicra does not use: train.parallel fsdp shards weights, "
            "gradients and moments as ZeRO stage 3 does",
            where="ACCELERATE_USE_DEEPSPEED, from the configuration of accelerate",
            fix="Use a configuration with distributed_type: FSDP, such as examples/accelerate_fsdp.yaml, or torchrun",
        )


def _asked_of_accelerate(backend: str) -> bool:
    return os.environ.get(f"ACCELERATE_USE_{backend}", "").lower() == "true"


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
