"""hicra config show | schema | presets"""

from typing import Annotated, Any

import typer

from hicra_cli.commands.session import Report, Session
from hicra_cli.commands.stage import group_app
from hicra_cli.core.output import Table

Origin = Annotated[bool, typer.Option("--origin", help="Show where each value comes from.")]
Part = Annotated[str, typer.Argument(metavar="[SECTION]", help="Only this section or field, e.g. train.sampling.")]
PresetName = Annotated[str, typer.Argument(metavar="[NAME]", help="Print this preset's file.")]


def show(session: Session, section: Part = "", origin: Origin = False) -> Report:
    """The resolved configuration: what would run.

    It shows what these presets, variables and options come to. Without --origin it is YAML that `--config` reads.

    \b
    Examples:
      hicra config show -c qwen3-4b-base
      hicra config show train --set train.lr=3e-6 --origin
    """
    from hicra_cli.config.fields import nearest_path
    from hicra_cli.config.load import flat
    from hicra_cli.core.errors import UsageError

    values = {
        path: value
        for path, value in flat(session.config).items()
        if not section or path == section or path.startswith(f"{section}.")
    }
    if not values:
        nearest = nearest_path(section)
        raise UsageError(
            f"there is no section or field {section}",
            fix=f"Did you mean {nearest}?" if nearest else "`hicra config show` lists all",
        )
    origins = {path: session.resolved.origin(path) for path in values}
    if origin:
        table = Table(
            ("field", "value", "from"), [(path, word(value), origins[path]) for path, value in values.items()]
        )
        return Report([table], data={"config": values, "origins": origins})
    return Report([yaml_text(values)], data={"config": values, "origins": origins})


def schema(session: Session) -> Report:
    """The JSON schema of configuration files.

    \b
    Example:
      hicra config schema > hicra.schema.json
    """
    import json

    from hicra_cli.config.root import HicraConfig

    document = HicraConfig.model_json_schema()
    return Report([json.dumps(document, indent=2)], data={"schema": document})


def presets(session: Session, name: PresetName = "") -> Report:
    """The presets for `--config NAME`; with a name, its file.

    \b
    Examples:
      hicra config presets
      hicra config presets qwen3-4b-base > mine.yaml
    """
    from hicra_cli.config.presets import preset_names, preset_path
    from hicra_cli.core.errors import UsageError

    if name:
        path = preset_path(name)
        if path is None:
            raise UsageError(f"there is no preset {name!r}", fix=f"Presets: {', '.join(preset_names())}")
        text = path.read_text(encoding="utf-8")
        return Report([text.rstrip("\n")], data={"name": name, "path": str(path), "text": text})
    found = [(each, _summary(each)) for each in preset_names()]
    return Report([Table(("preset", ""), found)], data={"presets": dict(found)})


def word(value: Any) -> str:
    """A value as YAML flow text, which for our plain values is JSON but for simple words."""
    import json

    if isinstance(value, str) and value and value.replace("-", "").replace("_", "").replace("/", "").isalpha():
        from hicra_cli.config.yaml_file import parse_value

        return value if parse_value(value, source="") == value else json.dumps(value)
    return json.dumps(value, ensure_ascii=False)


def yaml_text(values: dict[str, Any]) -> str:
    """Nested YAML of dotted paths that come in the order of their sections."""
    lines: list[str] = []
    open_sections: list[str] = []
    for path, value in values.items():
        *sections, name = path.split(".")
        shared = 0
        while shared < min(len(sections), len(open_sections)) and sections[shared] == open_sections[shared]:
            shared += 1
        lines += [f"{'  ' * depth}{sections[depth]}:" for depth in range(shared, len(sections))]
        open_sections = sections
        lines.append(f"{'  ' * len(sections)}{name}: {word(value)}")
    return "\n".join(lines)


def _summary(name: str) -> str:
    """A preset's first comment line."""
    from hicra_cli.config.presets import preset_path

    path = preset_path(name)
    first = path.read_text(encoding="utf-8").partition("\n")[0] if path is not None else ""
    return first.lstrip("# ") if first.startswith("#") else ""


app = group_app("config", "Show the resolved configuration, its JSON schema, the presets.", show, schema, presets)
