"""From layers to one validated configuration that knows where each of its values came from.

Precedence: defaults < presets and files (later wins) < `HICRA_*` variables < `--set` < explicit options. Sections are
merged key by key, lists are replaced. Everything wrong is reported in one ConfigError.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from hicra_cli.config.fields import field_at, leaf_paths
from hicra_cli.config.layers import Fault, Layer, environment_layer, file_layer, options_layer, settings_layer
from hicra_cli.config.root import HicraConfig
from hicra_cli.core.errors import ConfigError

Option = tuple[str, str | bool | Sequence[str], str]


@dataclass(frozen=True, slots=True)
class ResolvedConfig:
    """The configuration that runs, and for each dotted path that is no default the place it came from."""

    config: HicraConfig
    origins: Mapping[str, str]

    def origin(self, path: str) -> str:
        """The place of a value; for a dict field, of its entries."""
        own = self.origins.get(path)
        entries = sorted({where for key, where in self.origins.items() if key.startswith(f"{path}.")})
        return ", ".join([*([own] if own else []), *entries]) or "default"


def load_config(
    files: Sequence[str] = (),
    *,
    settings: Sequence[str] = (),
    options: Iterable[Option] = (),
    environ: Mapping[str, str] | None = None,
) -> ResolvedConfig:
    """Resolve what a command line gives. `environ` is the process's environment unless given (tests, Python API).

    Raises ConfigError (exit 2) with every unknown key and refused value, each with its path and source.
    """
    return resolve([*map(file_layer, files), *override_layers(settings, options=options, environ=environ)])


def override_layers(
    settings: Sequence[str] = (), *, options: Iterable[Option] = (), environ: Mapping[str, str] | None = None
) -> list[Layer]:
    """The layers above all files: environment, `--set`, explicit options."""
    return [
        environment_layer(os.environ if environ is None else environ),
        settings_layer(settings),
        options_layer(options),
    ]


def resolve(layers: Sequence[Layer]) -> ResolvedConfig:
    """Merge layers, lowest first, and validate the result."""
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    faults: list[Fault] = []
    for layer in layers:
        for path, value in layer.values.items():
            for replaced in [each for each in values if each == path or each.startswith(f"{path}.")]:
                del values[replaced], origins[replaced]
            values[path] = value
            origins[path] = layer.origins[path]
        faults.extend(layer.faults)
    try:
        config = HicraConfig.model_validate(_nested(values))
    except ValidationError as error:
        faults.extend(_fault(each, origins) for each in error.errors(include_url=False))
    if faults:
        raise config_error(faults)
    return ResolvedConfig(config, origins)


def flat(config: HicraConfig) -> dict[str, Any]:
    """Every value by dotted path, as plain JSON types."""
    document = config.model_dump(mode="json")
    return {path: _value_at(document, path) for path in leaf_paths()}


def config_error(faults: Sequence[Fault]) -> ConfigError:
    """One error for all faults; a single one keeps its place and remedy as fields."""
    if len(faults) == 1:
        return ConfigError(faults[0].what, where=faults[0].where, fix=faults[0].fix)
    lines = [f"  {each.where}: {each.what}" + (f". {each.fix}" if each.fix else "") for each in faults]
    return ConfigError(f"{len(faults)} problems\n" + "\n".join(lines), where="configuration")


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """{"a.b": 1} to {"a": {"b": 1}}; entries of a dict field that were given later are added to its whole value."""
    tree: dict[str, Any] = {}
    for path, value in values.items():
        *parents, last = path.split(".")
        node = tree
        for part in parents:
            inner = node.get(part)
            node[part] = inner = dict(inner) if isinstance(inner, dict) else {}
            node = inner
        node[last] = value
    return tree


def _fault(error: Any, origins: Mapping[str, str]) -> Fault:
    """A pydantic error in our words: dotted path, value, message, source."""
    location = [str(part) for part in error["loc"]]
    message = str(error["msg"]).removeprefix("Value error, ").replace("Input should be", "must be")
    message = message[:1].lower() + message[1:]
    for length in range(len(location), 0, -1):
        path = ".".join(location[:length])
        if path in origins:
            found = field_at(path)
            fix = f"{path}: {found.description}" if found is not None and found.description else None
            return Fault(origins[path], f"{path} = {error['input']!r:.80}: {message}", fix)
    path = ".".join(location)
    places = sorted({where for key, where in origins.items() if key.startswith(f"{path}.")})
    return Fault(", ".join(places) or path, f"{path}: {message}")


def _value_at(document: Any, path: str) -> Any:
    for part in path.split("."):
        document = document[part]
    return document
