"""Where configuration comes from: each source becomes a `Layer` of dotted paths with the place of every value.

A layer's faults (unknown keys, malformed values) are collected, not raised, so that a user sees all of them at once.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hicra_cli.config.fields import (
    field_at,
    is_mapping,
    is_optional,
    is_text,
    item_of,
    members,
    nearest_path,
    section_of,
)
from hicra_cli.config.presets import preset_names, preset_path
from hicra_cli.config.yaml_file import Document, Key, parse_value, read_yaml
from hicra_cli.core.errors import ConfigError

PREFIX = "HICRA_"


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with one value: `where` is a file and line, a variable or an option."""

    where: str
    what: str
    fix: str | None = None


@dataclass(slots=True)
class Layer:
    """Values by dotted path, the place each came from, and what was wrong with the rest."""

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def put(self, path: str, value: Any, origin: str) -> None:
        """Set one value; a later one replaces an earlier one. An unknown path becomes a fault."""
        if fault := _unknown(path, origin):
            self.faults.append(fault)
            return
        self.values[path] = _without_tilde(path, value)
        self.origins[path] = origin

    def put_text(self, path: str, text: str, origin: str) -> None:
        """Set one value given as text (variable, `--set`, option), read the way its field is meant."""
        try:
            self.put(path, read_text(path, text, source=origin), origin)
        except ConfigError as error:
            self.faults.append(Fault(origin, error.what, error.fix))


def file_layer(name: str, *, where: str = "--config") -> Layer:
    """A preset by its name, or a YAML file by its path (.yaml, .yml, or with a folder); `where` asked for it."""
    looks_like_path = name.endswith((".yaml", ".yml")) or "/" in name
    if not looks_like_path and (preset := preset_path(name)) is not None:
        return document_layer(read_yaml(preset))
    path = Path(name)
    if not path.is_file():
        known = ", ".join(preset_names())
        raise ConfigError(f"there is no file and no preset {name!r}", where=where, fix=f"Presets: {known}")
    return document_layer(read_yaml(path))


def document_layer(document: Document, *, at: Key = ()) -> Layer:
    """The mapping at `at` of a document; keys may be nested sections or dotted paths, mixed as one likes."""
    layer = Layer()
    value = document.value
    for part in at:
        value = value[part]
    if value is not None:
        _flatten(layer, document, value, key=at, prefix="")
    return layer


def environment_layer(environ: Mapping[str, str]) -> Layer:
    """`HICRA_TRAIN__ALPHA=0.1` sets train.alpha; a `HICRA_` variable that names no field is a fault, not a silence."""
    layer = Layer()
    for variable in sorted(environ):
        if variable.startswith(PREFIX):
            path = variable.removeprefix(PREFIX).lower().replace("__", ".")
            layer.put_text(path, environ[variable], f"environment variable {variable}")
    return layer


def settings_layer(settings: Sequence[str]) -> Layer:
    """`--set a.b=c`, several."""
    layer = Layer()
    for setting in settings:
        path, equals, text = setting.partition("=")
        if not equals:
            layer.faults.append(Fault(f"--set {setting}", "no `=` in it", "Write it as --set train.alpha=0.1"))
            continue
        layer.put_text(path.strip(), text, f"--set {setting}")
    return layer


def options_layer(options: Iterable[tuple[str, str | bool | Sequence[str], str]]) -> Layer:
    """Explicit options: (path, what was typed, the option's name). A repeated option of a list field adds items."""
    layer = Layer()
    for path, typed, flag in options:
        if isinstance(typed, bool):
            layer.put(path, typed, flag)
        elif isinstance(typed, str):
            layer.put_text(path, typed, flag)
        else:
            items = [read_text(path, each, source=flag) for each in typed]
            layer.put(path, [one for item in items for one in (item if isinstance(item, list) else [item])], flag)
    return layer


def read_text(path: str, text: str, *, source: str) -> Any:
    """Text to a value, by the field's type: words literally, lists comma separated or [flow], the rest as YAML."""
    found = field_at(path)
    if found is None:  # below a dict field, or unknown: YAML decides
        return parse_value(text, source=source)
    annotation = found.annotation
    if is_optional(annotation) and text.strip() in ("", "null", "~"):
        return None
    if is_text(annotation):
        return text
    item = item_of(annotation)
    if item is None or text.lstrip().startswith("["):
        return parse_value(text, source=source)
    words = [word.strip() for word in text.split(",") if word.strip()]
    return words if is_text(item) else [parse_value(word, source=source) for word in words]


def _flatten(layer: Layer, document: Document, value: Any, *, key: Key, prefix: str) -> None:
    """Put the leaves of nested mappings into the layer; a section that holds no mapping is a fault."""
    where = document.where(*key)
    if not isinstance(value, dict):
        name = prefix.rstrip(".") or "a configuration"
        layer.faults.append(Fault(where, f"{name} is a section and holds `key: value` lines, not {value!r:.60}"))
        return
    for name, inner in value.items():
        path, inner_key = prefix + name, (*key, name)
        found = field_at(path)
        if found is not None and section_of(found.annotation):
            if inner is not None:  # an empty section changes nothing
                _flatten(layer, document, inner, key=inner_key, prefix=f"{path}.")
        elif found is not None and is_mapping(found.annotation) and isinstance(inner, dict):
            for entry, entry_value in inner.items():
                layer.put(f"{path}.{entry}", entry_value, document.where(*inner_key, entry))
        else:
            layer.put(path, inner, document.where(*inner_key))


def _without_tilde(path: str, value: Any) -> Any:
    """`~/data` means the user's folder wherever a path is meant, also in a file, where no shell has replaced it."""
    found = field_at(path)
    if found is None or Path not in members(item_of(found.annotation) or found.annotation):
        return value
    if isinstance(value, list):
        return [os.path.expanduser(each) if isinstance(each, str) else each for each in value]
    return os.path.expanduser(value) if isinstance(value, str) else value


def _unknown(path: str, origin: str) -> Fault | None:
    """The fault of a path that is no field: unknown, or a section where a value was given."""
    found = field_at(path)
    if found is not None:
        if section_of(found.annotation):
            return Fault(origin, f"{path} is a section", f"Name a field of it, for example {path}.… = value")
        return None
    parent = field_at(path.rpartition(".")[0])
    if parent is not None and is_mapping(parent.annotation):
        return None
    nearest = nearest_path(path)
    return Fault(origin, f"unknown key {path}", f"Did you mean {nearest}?" if nearest else "See `hicra config show`")
