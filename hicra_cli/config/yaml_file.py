"""Reading YAML 1.2 that a user wrote: plain values, the line of every key, and refusals that name a line.

Duplicate keys, tabs, custom tags, dates, deep nesting and alias bombs are refused. `1e-6` is a number, `no` a word.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from hicra_cli.core.errors import ConfigError

SIZE_LIMIT_BYTES = 1 << 20
DEPTH_LIMIT = 32
NODE_LIMIT = 50_000  # aliases count as often as they are used

Key = tuple[str | int, ...]

_PLAIN = {f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "map", "seq")}
_DATE = "tag:yaml.org,2002:timestamp"


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed file: `value` in plain Python, `lines` from the path of a key or item to its line (from 1)."""

    source: str
    value: Any
    lines: Mapping[Key, int] = field(default_factory=dict)

    def where(self, *key: str | int) -> str:
        """`file:line` of a key; of its nearest known ancestor where the key itself is not in the file."""
        for length in range(len(key), -1, -1):
            if key[:length] in self.lines:
                return f"{self.source}:{self.lines[key[:length]]}"
        return self.source


def read_yaml(path: Path) -> Document:
    """Parse a file. Raises ConfigError with `file:line` for anything that is not plain YAML 1.2."""
    try:
        with path.open("rb") as stream:
            raw = stream.read(SIZE_LIMIT_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"cannot read this file: {error.strerror or error}", where=str(path)) from error
    if len(raw) > SIZE_LIMIT_BYTES:
        raise ConfigError(f"the file is larger than {SIZE_LIMIT_BYTES} bytes: not a configuration", where=str(path))
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"byte {error.start} is not UTF-8", where=f"{path}:{line}") from error
    return parse_yaml(text, source=str(path))


def parse_yaml(text: str, *, source: str) -> Document:
    """Parse text; `source` names it in messages. An empty document has the value None."""
    try:
        _check_events(text, source)
        loader = YAML(typ="safe", pure=True)
        root = loader.compose(text)
        if root is None:
            return Document(source, None, {(): 1})
        lines: dict[Key, int] = {}
        return Document(source, _Walk(source, lines, loader).value(root, ()), lines)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = " ".join(part for part in (error.problem, error.context) if part) or "malformed YAML"
        hint = "Indent with blanks, not with tabs" if "\\t" in what else None
        raise ConfigError(what, where=source if mark is None else f"{source}:{mark.line + 1}", fix=hint) from error
    except (YAMLError, RecursionError, ValueError) as error:
        raise ConfigError(f"malformed YAML: {str(error).splitlines()[0][:200]}", where=source) from error


def parse_value(text: str, *, source: str) -> Any:
    """A scalar or flow value as it would stand after `key:` in a file; used for `--set` and the environment."""
    return parse_yaml(text, source=source).value


def _check_events(text: str, source: str) -> None:
    """Stop at the first sign of a bomb, before anything recursive sees the text."""
    depth = aliases = 0
    for event in YAML(typ="safe", pure=True).parse(text):
        if isinstance(event, CollectionStartEvent):
            depth += 1
        elif isinstance(event, CollectionEndEvent):
            depth -= 1
        elif isinstance(event, AliasEvent):
            aliases += 1
        if depth > DEPTH_LIMIT or aliases > 1000:
            what = f"nested deeper than {DEPTH_LIMIT} levels" if depth > DEPTH_LIMIT else "more than 1000 aliases"
            raise ConfigError(what, where=f"{source}:{event.start_mark.line + 1}")


class _Walk:
    """One pass over the node tree; counts what it visits, so that aliases cannot multiply without end."""

    def __init__(self, source: str, lines: dict[Key, int], loader: YAML) -> None:
        self._source = source
        self._lines = lines
        self._construct = loader.constructor
        self._visited = 0

    def value(self, node: Node, key: Key) -> Any:
        self._visited += 1
        if self._visited > NODE_LIMIT or len(key) > DEPTH_LIMIT:
            self._refuse(node, f"expands to more than {NODE_LIMIT} values or {DEPTH_LIMIT} levels")
        self._lines.setdefault(key, node.start_mark.line + 1)
        if str(node.tag) == _DATE:
            return str(node.value)  # a date is a word to us
        if str(node.tag) not in _PLAIN:
            self._refuse(node, f"values of type {node.tag} are not allowed here")
        if isinstance(node, MappingNode):
            return dict(self._pairs(node, key))
        if isinstance(node, SequenceNode):
            return [self.value(item, (*key, index)) for index, item in enumerate(node.value)]
        return self._construct.construct_object(node)

    def _pairs(self, node: MappingNode, key: Key) -> Iterator[tuple[str, Any]]:
        seen: set[str] = set()
        for key_node, value_node in node.value:
            if not isinstance(key_node, ScalarNode):
                self._refuse(key_node, "a key must be a word")
            name = str(key_node.value)
            if name in seen:
                self._refuse(key_node, f"key {name!r} occurs twice in one section")
            seen.add(name)
            self._lines[(*key, name)] = key_node.start_mark.line + 1
            yield name, self.value(value_node, (*key, name))

    def _refuse(self, node: Node, what: str) -> NoReturn:
        raise ConfigError(what, where=f"{self._source}:{node.start_mark.line + 1}")
