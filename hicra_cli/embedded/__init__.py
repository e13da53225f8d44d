"""The built-in model `nano`, its traces and the strategic grams that ship with the countdown task.

Light to import: `policy_path` is asked by every command that takes a policy.
"""

from pathlib import Path

NANO_PATH = Path(__file__).resolve().parent / "nano"


def policy_path(name: str) -> Path | None:
    """The folder of the built-in policy `name`, or None where there is no such policy."""
    return NANO_PATH if name == "nano" else None


def grams_path() -> Path:
    """The hand-reviewed gram-set file of the countdown task, used where the registry has no gram-set."""
    return NANO_PATH.parent / "grams.jsonl"
