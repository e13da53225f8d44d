"""Resumable training states on disk: weights, optimizer moments and a small JSON, atomic and checksummed.

A checkpoint is a folder `step-NNNNNN` with `model.safetensors`, `optimizer.safetensors` and, written last,
`state.json`, which holds the sha256 of the other two. A folder without a matching `state.json` does not count. No
pickle anywhere.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from hicra_cli.core.filesystem import sync_file, sync_folder

STATE = "state.json"


def save_checkpoint(
    folder: Path, step: int, model: nn.Module, optimizer: torch.optim.Optimizer, state: Mapping[str, Any]
) -> Path:
    """Write the state before optimizer step `step` (so `step` updates are in it) and return its folder.

    state: JSON values that the loop needs back. A crash leaves either no checkpoint or a whole one.
    """
    target = folder / f"step-{step:06d}"
    scratch = folder / f".{target.name}.tmp"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    save_file(model_tensors(model), scratch / "model.safetensors", metadata={"format": "pt"})
    save_file(optimizer_tensors(model, optimizer), scratch / "optimizer.safetensors")
    files = sorted(scratch.iterdir())
    for path in files:
        sync_file(path)
    finish_checkpoint(
        scratch, target, {"step": step, "sha256": {path.name: sha256_of(path) for path in files}, **state}
    )
    return target


def finish_checkpoint(scratch: Path, target: Path, state: Mapping[str, Any]) -> None:
    """Write `state.json` beside durable tensor files and give the folder its name: from then on it counts."""
    text = json.dumps(state, sort_keys=True, allow_nan=False)
    (scratch / STATE).write_text(text + "\n")
    sync_file(scratch / STATE)
    sync_folder(scratch)
    shutil.rmtree(target, ignore_errors=True)
    scratch.rename(target)
    sync_folder(target.parent)


def latest_checkpoint(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """The newest intact checkpoint with its state, or None; torn or damaged ones are passed over."""
    for path in sorted(folder.glob("step-*"), reverse=True):
        if damage(path) is None:
            return path, json.loads((path / STATE).read_text())
    return None


def damage(path: Path) -> str | None:
    """What is wrong with a checkpoint's files, in a few words; None where it is intact."""
    try:
        digests = json.loads((path / STATE).read_text())["sha256"]
    except OSError:
        return f"{STATE} is missing"
    except (ValueError, KeyError, TypeError):
        return f"{STATE} cannot be read"
    if not isinstance(digests, dict):
        return f"{STATE} cannot be read"
    faults = []
    for name, digest in digests.items():
        try:
            if sha256_of(path / name) != digest:
                faults.append(f"{name} has other bytes than were written")
        except OSError:
            faults.append(f"{name} is missing")
    return ", ".join(faults) or None


def is_whole(path: Path) -> bool:
    """Whether a checkpoint holds whole tensors, and not the shards of several workers (`rl/sharded_checkpoint.py`)."""
    return (path / "model.safetensors").is_file()


def load_checkpoint(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Put a checkpoint's weights and moments into model and optimizer, in place."""
    saved = load_file(path / "model.safetensors")
    with torch.no_grad():
        for name, tensor in model_tensors(model).items():
            tensor.copy_(saved[name])
    moments = load_file(path / "optimizer.safetensors")
    parameters = dict(model.named_parameters())
    for place, tensor in moments.items():
        name, key = place.rsplit("/", 1)
        optimizer.state[parameters[name]][key] = tensor.to("cpu" if key == "step" else parameters[name].device)


def prune_checkpoints(folder: Path, *, keep: int) -> None:
    """Delete all but the newest `keep` checkpoints and any scratch folder of a crash."""
    for path in [*sorted(folder.glob("step-*"))[:-keep], *folder.glob(".step-*.tmp")]:
        shutil.rmtree(path, ignore_errors=True)


def model_tensors(model: nn.Module) -> dict[str, Tensor]:
    """The parameters that are trained, by name; tied ones once. With adapters the frozen base is not among them."""
    return {name: parameter.detach() for name, parameter in model.named_parameters() if parameter.requires_grad}


def optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's moments by `parameter name/moment`."""
    return {
        f"{name}/{key}": tensor.contiguous()
        for name, parameter in model.named_parameters()
        if parameter in optimizer.state
        for key, tensor in optimizer.state[parameter].items()
    }


def sha256_of(path: Path) -> str:
    """Checksum of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
