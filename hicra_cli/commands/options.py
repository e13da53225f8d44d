"""Options of commands. A `Knob` sets one configuration field and takes its help, type and default from it."""

import inspect
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from pydantic.fields import FieldInfo

from hicra_cli.config.fields import field_at, item_of, members, section_of

EXIT_CODES = (
    "Exit codes: 0 done, 1 failed while running, 2 wrong usage or configuration, 3 missing or damaged artifact, "
    "4 an external service failed for good, 130 interrupted (what was done is kept)."
)

DryRun = Annotated[bool, typer.Option("--dry-run", help="Show inputs, settings and what is cached; write nothing.")]
Force = Annotated[bool, typer.Option("--force", help="Run even where an equal run has been published.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with an unfinished run of the same settings.")]

_COMMON: dict[str, tuple[Any, Any]] = {
    "config": (
        Annotated[
            list[str],
            typer.Option("--config", "-c", metavar="NAME|FILE", help="Preset or YAML file; repeatable, later wins."),
        ],
        [],
    ),
    "set": (
        Annotated[
            list[str],
            typer.Option("--set", metavar="KEY=VALUE", help="Set a field, e.g. train.lr=3e-4; repeatable."),
        ],
        [],
    ),
    "json": (Annotated[bool, typer.Option("--json", help="stdout is exactly one JSON document.")], False),
    "quiet": (Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no notes on stderr.")], False),
    "verbose": (Annotated[bool, typer.Option("--verbose", "-v", help="More detail on stderr.")], False),
    "debug": (Annotated[bool, typer.Option("--debug", help="Show the traceback of a failure.")], False),
}
COMMON_NAMES = tuple(_COMMON)


@dataclass(frozen=True, slots=True)
class Knob:
    """`--flag` for the field at `path`. A list field is repeatable, a section (`--field`) takes KEY=VALUE items.

    entry, about: of a field that is a dict, the one entry that the flag switches on or off, and its help.
    """

    flag: str
    path: str
    entry: str = ""
    about: str = ""

    @property
    def name(self) -> str:
        """The parameter's name inside Python; cannot clash with a command's own parameters."""
        return "knob_" + self.flag.strip("-").replace("-", "_")

    def parameter(self) -> inspect.Parameter:
        """The typer parameter of this knob; not given means: whatever the configuration says."""
        found = field_at(self.path)
        if found is None:
            raise LookupError(f"{self.flag} sets {self.path}, which is no field")
        annotation = found.annotation
        if self.entry:
            about = f"{self.about} [{self.path}.{self.entry}]"
            switch = typer.Option(f"{self.flag}/--no-{self.flag[2:]}", help=about, show_default=False)
            return _parameter(self.name, Annotated[bool | None, switch], None)
        help_text = f"{found.description} [{self.path}{_default(found)}]"
        if annotation is bool:
            option = typer.Option(f"{self.flag}/--no-{self.flag[2:]}", help=help_text, show_default=False)
            return _parameter(self.name, Annotated[bool | None, option], None)
        if section_of(annotation):
            option = typer.Option(self.flag, help=help_text, metavar="FIELD=NAME", show_default=False)
            return _parameter(self.name, Annotated[list[str], option], [])
        option = typer.Option(self.flag, help=help_text, metavar=_metavar(annotation), show_default=False)
        if item_of(annotation) is not None:
            return _parameter(self.name, Annotated[list[str], option], [])
        return _parameter(self.name, Annotated[str | None, option], None)

    def settings(self, typed: Any) -> list[tuple[str, Any, str]]:
        """What was typed as (path, value, flag) of the configuration's top layer; nothing where it was not given."""
        found = field_at(self.path)
        if typed is None or typed == []:
            return []
        if self.entry:
            return [(f"{self.path}.{self.entry}", typed, self.flag if typed else f"--no-{self.flag[2:]}")]
        if found is not None and section_of(found.annotation):
            pairs = [each.partition("=") for each in typed]
            return [(f"{self.path}.{field}", value, f"{self.flag} {field}={value}") for field, _, value in pairs]
        return [(self.path, typed, self.flag)]


ROOT_KNOBS = (Knob("--home", "home"), Knob("--seed", "seed"))
COMPUTE_KNOBS = (Knob("--device", "device"), Knob("--threads", "threads"), Knob("--engine", "engine.name"))


def common_parameters() -> list[inspect.Parameter]:
    """The options every command has."""
    return [_parameter(name, annotation, default) for name, (annotation, default) in _COMMON.items()]


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)


def _default(found: FieldInfo) -> str:
    """The default as help shows it; nothing where it is empty or a whole section."""
    value = found.get_default(call_default_factory=True)
    if value is None or value == [] or section_of(found.annotation):
        return ""
    words = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    words = words.lower() if isinstance(value, bool) else words
    return f", default {words}"


def _metavar(annotation: Any) -> str:
    """The type of a field as help shows it."""
    kinds = members(item_of(annotation) or annotation)
    names = {"str": "TEXT", "int": "INTEGER", "float": "NUMBER", "Path": "PATH"}
    choices = [str(choice) for kind in kinds if get_origin(kind) is Literal for choice in get_args(kind)]
    return "|".join(choices) or names.get(getattr(kinds[0], "__name__", ""), "VALUE")
