"""Checkpoints that workers with shards write together, and that any number of workers read.

Each worker writes its shards into one safetensors file (torch DCP in its Hugging Face layout: no pickle); the layout of
the shards stands in the files' headers. `state.json` with the checksums is written last, by the first worker. The
reader takes whole or sharded tensors from either kind of checkpoint, so a run may go on with another number of
processes, or with replicated instead of sharded weights.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from hicra_cli.core.errors import RunError
from hicra_cli.core.filesystem import sync_file
from hicra_cli.rl.checkpoint import finish_checkpoint, model_tensors, optimizer_tensors, sha256_of
from hicra_cli.rl.parallel import Workers


def save_sharded(
    folder: Path,
    step: int,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    state: Mapping[str, Any],
    workers: Workers,
) -> Path:
    """Like `save_checkpoint`, by all workers together; the folder must be one file system for all of them."""
    target = folder / f"step-{step:06d}"
    scratch = folder / f".{target.name}.tmp"
    if workers.rank == 0:
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
    workers.gather(None)  # nobody writes before the folder is there and empty
    writer = HuggingFaceStorageWriter(str(scratch), save_distributed=True)
    try:
        save({**model_tensors(model), **optimizer_tensors(model, optimizer)}, storage_writer=writer)
    except CheckpointException as error:  # what failed on any worker, on all of them; no subclass of Exception
        raise _unwritten(error, scratch) from error
    mine = sorted(scratch.glob(f"shard-{workers.rank + 1:05d}-*"))
    for path in mine:
        sync_file(path)
    digests = {name: digest for part in workers.gather({path.name: sha256_of(path) for path in mine}) for name, digest
               in part.items()}  # fmt: skip
    if workers.rank == 0:
        finish_checkpoint(scratch, target, {"step": step, "sha256": digests, **state})
    workers.gather(None)  # the checkpoint is there when any worker goes on
    return target


def load_resharded(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Put a checkpoint's weights and moments into model and optimizer, in place; each process reads what it holds."""
    reader = HuggingFaceStorageReader(str(path))
    wanted: dict[str, Tensor] = model_tensors(model)
    parameters = dict(model.named_parameters())
    for place, stored in reader.read_metadata().state_dict_metadata.items():
        name, _, key = place.rpartition("/")
        if name in parameters:
            moment = _moment_like(parameters[name], stored)
            optimizer.state[parameters[name]][key] = moment
            wanted[place] = moment
    load(dict(wanted), storage_reader=HuggingFaceStorageReader(str(path)), no_dist=True)


def _unwritten(error: CheckpointException, folder: Path) -> RunError:
    rank, (failure, _) = min(error.failures.items(), key=lambda each: each[0])
    return RunError(
        f"worker {rank} could not write its part of a checkpoint: {type(failure).__name__}: {failure}",
        where=str(folder),
        fix="Make space or check the file system, which all workers must share, and go on with --resume",
    )


def _moment_like(parameter: Tensor, stored: Any) -> Tensor:
    """An empty moment: a number on the host (AdamW's step), or a tensor laid out as the parameter."""
    if len(stored.size) == 0:
        return torch.zeros((), dtype=stored.properties.dtype)
    return torch.zeros_like(parameter.detach(), dtype=stored.properties.dtype)
