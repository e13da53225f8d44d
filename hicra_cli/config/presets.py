"""The presets and pipelines that ship with hicra, read from the package `hicra_cli.configs`."""

from importlib import resources
from pathlib import Path

_PIPELINE = ".pipeline.yaml"


def preset_names() -> list[str]:
    """Names for `--config NAME`."""
    return sorted(path.stem for path in _folder().glob("*.yaml") if not path.name.endswith(_PIPELINE))


def pipeline_names() -> list[str]:
    """Names for `hicra run NAME`."""
    return sorted(path.name.removesuffix(_PIPELINE) for path in _folder().glob(f"*{_PIPELINE}"))


def preset_path(name: str) -> Path | None:
    """The file of a shipped preset."""
    return _folder() / f"{name}.yaml" if name in preset_names() else None


def pipeline_path(name: str) -> Path | None:
    """The file of a shipped pipeline."""
    return _folder() / f"{name}{_PIPELINE}" if name in pipeline_names() else None


def _folder() -> Path:
    return Path(str(resources.files("hicra_cli.configs")))
