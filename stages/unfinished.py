"""Unfinished runs of the same name: what they were begun with, and a refusal to resume what is another run."""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hicra_cli.core.artifact import DraftInfo
from hicra_cli.core.diff import diff_configs
from hicra_cli.core.errors import UsageError
from hicra_cli.core.filesystem import storage_errors, write_durably
from hicra_cli.core.registry import Registry

if TYPE_CHECKING:
    from .base import Plan, Stage

PLAN = "plan.json"
SHOWN = 8


def remember_plan(stage: "Stage", plan: "Plan", files: Path) -> None:
    """Note beside a draft's files what it is made with, for a later run that is told to resume."""
    with storage_errors("starting an artifact", files):
        write_durably(files.parent / PLAN, json.dumps(_about(stage, plan), indent=1, default=str).encode())


def require_same_settings(stage: "Stage", plan: "Plan", registry: Registry) -> None:
    """UsageError where the newest unfinished run of this name was begun with other settings or inputs.

    Called where `--resume` found no run with the present ones: starting from the beginning would look like going on.
    """
    drafts = [each for each in registry.unfinished(stage.kind) if each.name == plan.name and each.owner is None]
    known = [(each, before) for each in drafts if (before := _read(each)) is not None]
    if not known:
        return
    draft, before = known[0]
    # Through JSON, so that both sides have its types
    after = json.loads(json.dumps(_about(stage, plan), default=str))
    changes = [f"{each.path}: {_short(each.before)} -> {_short(each.after)}" for each in diff_configs(before, after)]
    more = f" and {len(changes) - SHOWN} more" if len(changes) > SHOWN else ""
    raise UsageError(
        f"the unfinished {stage.name} run of {plan.name} was begun with other settings "
        f"({'; '.join(changes[:SHOWN])}{more})",
        where=str(draft.path.parent),
        fix=f"Go on with it by the command it was begun with (`{_command(draft)}`) and --resume; begin a new run by "
        "leaving out --resume, or with --resume --force",
    )


def _about(stage: "Stage", plan: "Plan") -> dict[str, Any]:
    inputs = {role: f"{each.ref} ({each.digest[:16]})" for role, each in plan.inputs.items()}
    return {"code_version": stage.code_version, "inputs": inputs, **plan.settings}


def _read(draft: DraftInfo) -> Mapping[str, Any] | None:
    try:
        about = json.loads((draft.path.parent / PLAN).read_bytes())
    except (OSError, ValueError):
        return None
    return about if isinstance(about, dict) else None


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _command(draft: DraftInfo) -> str:
    words = shlex.split(draft.command)
    return shlex.join(["hicra", *(each for each in words[1:] if each not in ("--resume", "--force"))])
