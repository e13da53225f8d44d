"""Which workers a run has: one process, or several of a launch with the weights copied or sharded."""

import os
from pathlib import Path

import torch

from hicra_cli.config.launch import Launch
from hicra_cli.config.root import HicraConfig
from hicra_cli.core.errors import ConfigError
from hicra_cli.core.progress import Progress
from hicra_cli.rl.exchange import Board, Exchange
from hicra_cli.rl.parallel import OneWorker, Workers
from hicra_cli.rl.replicated import Replicated

from .parallel import choose_parallel, describe_parallel, describe_zero
from .plan import count_parameters
from .precision import compute_dtype


def build_workers(
    config: HicraConfig, device: torch.device, policy: Path, board: Board | None, progress: Progress
) -> Workers:
    """The workers of a run, joined: every process of the launch calls this. board: of the launch, None when alone.

    Raises ConfigError for a layout that cannot be had.
    """
    if board is None:
        return OneWorker(device)
    if config.engine.name == "vllm" and config.engine.tensor_parallel > 1:
        raise ConfigError(
            f"{board.size} processes with engine.tensor_parallel {config.engine.tensor_parallel}: each process has an "
            "engine of its own, on its own device",
            where="engine.tensor_parallel",
            fix="Set it to 1; the processes share the prompts of a step",
        )
    # accelerate's configuration for FSDP makes transformers load weights in the first process only, and hand out empty
    # ones elsewhere for accelerate to fill.
    os.environ["FSDP_CPU_RAM_EFFICIENT_LOADING"] = "false"
    device = _own_device(device, board.launch)
    exchange = Exchange(board, device, timeout_s=config.train.worker_timeout_s)
    on_cpu = device.type == "cpu"
    device_bytes = torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else None
    parallel = choose_parallel(
        config.train, board.launch, parameters=count_parameters(policy), device_bytes=device_bytes
    )
    progress.note(describe_parallel(board.launch, parallel))
    if deepspeed := describe_zero(board.launch, parallel):
        progress.note(deepspeed)
    if parallel != "ddp":
        from hicra_cli.rl.sharded import Sharded  # takes a second to import

        compute = compute_dtype(config.train, on_cpu=on_cpu)
        return Sharded(exchange, compute_dtype=compute, keeps_whole=parallel == "zero2")
    return Replicated(exchange)


def _own_device(device: torch.device, launch: Launch) -> torch.device:
    """The GPU of this process among those of its machine."""
    if device.type != "cuda":
        return device
    if launch.local_size > torch.cuda.device_count():
        raise ConfigError(
            f"{launch.local_size} processes on this machine, and {torch.cuda.device_count()} GPUs",
            fix="Start as many processes per node as there are GPUs",
        )
    own = torch.device("cuda", launch.local_rank)
    torch.cuda.set_device(own)
    return own
