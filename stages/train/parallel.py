"""How the processes of a launch share the weights, and how that is told."""

from hicra_cli.config.launch import Launch, Parallel
from hicra_cli.config.train import TrainConfig

BYTES_PER_PARAMETER = 16  # float32 master, float32 gradient, two float32 Adam moments
MODEL_SHARE = 0.5  # of a device's memory for weights, gradients and moments; the rest is for activations and sampling

_WHAT: dict[Parallel, str] = {
    "ddp": "a copy of the weights",
    "zero2": "a shard of the weights, made whole between forward and backward",
    "fsdp": "a shard of the weights",
}


def choose_parallel(train: TrainConfig, launch: Launch, *, parameters: int, device_bytes: int | None) -> Parallel:
    """What is configured, else what the launcher is configured for, else copies where they fit.

    device_bytes: memory of each GPU; None on CPU or where unknown.
    """
    if train.parallel != "auto":
        return train.parallel
    if launch.parallel is not None:
        return launch.parallel
    if device_bytes is None:
        return "ddp"
    return "fsdp" if parameters * BYTES_PER_PARAMETER > MODEL_SHARE * device_bytes else "ddp"


def describe_parallel(launch: Launch, parallel: Parallel) -> str:
    """One line: how many processes, and what each holds."""
    return f"{launch.size} processes, each with {_WHAT[parallel]}"


def describe_zero(launch: Launch, parallel: Parallel) -> str | None:
    """One line: what becomes of a configuration for DeepSpeed; None where the launcher has none."""
    zero = launch.zero
    if zero is None:
        return None
    asked = f"accelerate's configuration asks for DeepSpeed ZeRO stage {zero.stage}"
    if parallel != launch.parallel:
        return f"{asked}; train.parallel {parallel} is set and rules"
    means = "plain copies" if zero.stage == 0 else "torch's fully_shard, not by DeepSpeed"
    more = ", which serves stage 1 by what stage 2 does" if zero.stage == 1 else ""
    rest = f"; hicra's own settings stand for {', '.join(zero.unused)}" if zero.unused else ""
    return f"{asked}: done by {means}{more} (train.parallel {parallel}){rest}"
