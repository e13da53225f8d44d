"""What the registry's tests share."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hicra_cli.core.registry import Artifact, Registry

PROJECT = Path(__file__).resolve().parents[2]


def make(
    registry: Registry, reference: str, files: Mapping[str, str | bytes] | None = None, **publication: Any
) -> Artifact:
    """Publishes `kind:name` with the given files (one small file if none are given)."""
    kind, _, name = reference.partition(":")
    draft = registry.begin(kind, name)
    fill(draft.path, files or {"data.txt": "content"})
    return draft.publish(**publication)


def fill(folder: Path, files: Mapping[str, str | bytes]) -> None:
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content.encode() if isinstance(content, str) else content)


def worker(home: Path, *arguments: str, before: tuple[str, ...] = ()) -> "subprocess.Popen[str]":
    """Starts tests/core/registry_worker.py; `before` is a command that runs it (a tracer)."""
    command = [*before, sys.executable, "-m", "tests.core.registry_worker", str(home), *arguments]
    return subprocess.Popen(command, cwd=PROJECT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def finished(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    """(exit code, stdout, stderr) of a worker."""
    out, err = process.communicate(timeout=240)
    return process.returncode, out, err


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its content."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
