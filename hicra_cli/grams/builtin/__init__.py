"""Gram-sets that ship with hicra, by name: `default-en`, English grams for mathematical reasoning.

A folder here holds one `grams.jsonl`. The grams of the embedded countdown task belong to `hicra_cli.embedded`.
"""

from pathlib import Path

DEFAULT = "default-en"

_HERE = Path(__file__).resolve().parent


def builtin_names() -> list[str]:
    """The names of the gram-sets that ship with hicra, sorted."""
    return sorted(path.parent.name for path in _HERE.glob("*/grams.jsonl"))


def builtin_path(name: str) -> Path | None:
    """The file of a shipped gram-set; None where none has this name. A path is no name: `./default-en` is a folder."""
    return _HERE / name / "grams.jsonl" if name in builtin_names() else None
