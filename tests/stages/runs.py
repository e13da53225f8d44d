"""What tests of the train stage share: a small configuration, and a run's bytes without its timings."""

import hashlib
import json
from pathlib import Path
from typing import Any

from hicra_cli.config.root import HicraConfig


def small_config(home: Path, **train) -> HicraConfig:
    """A few steps of GRPO on the embedded model that a test can afford."""
    settings = {
        "algo": "hicra",
        "steps": 4,
        "num_prompts": 4,
        "group_size": 4,
        "save_every": 2,
        "lr": 3e-4,
        "warmup_steps": 2,
        "sampling": {"max_new_tokens": 48},
        "coverage": {"high": 1.0},
    }
    return HicraConfig.model_validate(
        {"home": home, "seed": 3, "device": "cpu", "threads": 1, "train": settings | train}
    )


def comparable_steps(folder: Path) -> list[dict[str, Any]]:
    """steps.jsonl without what a clock or the machine decides."""
    lines = (folder / "steps.jsonl").read_text().splitlines()
    return [
        {key: value for key, value in json.loads(line).items() if not key.startswith(("time/", "memory/"))}
        for line in lines
    ]


def digests(folder: Path, pattern: str) -> dict[str, str]:
    """sha256 of the files of a folder that match."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.glob(pattern))
    }
