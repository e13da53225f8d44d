"""What a run will need, told before it starts: parameters and the memory that does not depend on luck."""

import json
import math
import struct
from pathlib import Path

from hicra_cli.config.root import HicraConfig

BYTES_PER_PARAMETER = 16  # float32 master, float32 gradient, two float32 Adam moments


def describe_memory(policy: Path, config: HicraConfig) -> dict[str, str]:
    """Lines for `--dry-run`. Counts are read from the weights' headers; no tensor is loaded."""
    parameters = count_parameters(policy)
    hidden = json.loads((policy / "config.json").read_text()).get("hidden_size") if parameters else None
    if not parameters or not isinstance(hidden, int):
        return {"memory": "unknown: no safetensors weights or no hidden_size found"}
    train = config.train
    fixed = parameters * BYTES_PER_PARAMETER
    return {
        "parameters": f"{parameters:,}",
        "memory, weights + gradients + Adam": f"{fixed / 2**30:.2f} GiB",
        "rollouts": f"{train.num_prompts} prompts x {train.group_size} = {train.num_prompts * train.group_size} a step",
    }


def count_parameters(folder: Path) -> int:
    """Parameters in the safetensors files of a model folder; 0 where there are none."""
    return sum(
        math.prod(tensor["shape"])
        for path in sorted(folder.glob("*.safetensors"))
        for name, tensor in _header(path).items()
        if name != "__metadata__"
    )


def _header(path: Path) -> dict[str, dict[str, list[int]]]:
    with path.open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        header: dict[str, dict[str, list[int]]] = json.loads(stream.read(length))
    return header
