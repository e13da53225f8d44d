"""A user's reward function: how it is named, where its source is, what of it belongs to a cache key.

`task.reward` is MODULE:FUNCTION (modules of the current folder come first), FILE.py:FUNCTION, or the name of an entry
point in the group `hicra.rewards`. The function is called once per response with keyword arguments:

    def reward(prompt, response, answer, metadata, truncated): ...

prompt: the question as text. response: what the model wrote. answer: the gold as text. metadata: a dict of the other
fields of the problem's row, {} where there are none. truncated: whether the token limit cut the response off. It
returns a number, or (number, outcome), or a dict {"reward": number, "outcome": ..., "detail": text} of which `reward`
alone is needed. The outcome is one of correct, wrong, no_answer, truncated, timeout, error; where it is left out, a
reward above 0 is `correct`, a reward of 0 for a response that was cut is `truncated`, anything else `wrong`.

It runs in worker processes only (see `function_worker.py`). Nothing here imports or runs it: sources are found by the
import system's finders, so that a training process stays free of a user's code. Calls are spread over processes in no
order: a reward must be a function of its arguments.
"""

import difflib
import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from hicra_cli.config.task import TaskConfig
from hicra_cli.core.errors import ConfigError

ENTRY_POINTS = "hicra.rewards"
_FORMS = "MODULE:FUNCTION, FILE.py:FUNCTION or the name of an entry point in the group hicra.rewards"


@dataclass(frozen=True, slots=True)
class RewardFunction:
    """text: as configured. module: its import name, None for a file. name: the function's. path: its source."""

    text: str
    module: str | None
    name: str
    path: Path

    def digest(self) -> str:
        """sha256 of the source file. What the file imports is not covered."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()


def reward_digest(task: TaskConfig) -> str | None:
    """What names the reward function's source in a cache key; None without a function. Raises ConfigError."""
    return None if task.reward is None else find_function(task.reward).digest()


def find_function(text: str) -> RewardFunction:
    """The source of a configured function. Raises ConfigError where there is none; nothing is imported."""
    target = text if ":" in text else _entry_point(text)
    place, _, name = target.rpartition(":")
    if not place or not all(part.isidentifier() for part in name.split(".")):
        raise _refused(f"{text!r} names no function", f"Write it as {_FORMS}")
    if place.endswith(".py"):
        path = Path(place).expanduser().absolute()
        if not path.is_file():
            raise _refused(f"there is no file {path}", "Check the path; it is relative to the current folder")
        return RewardFunction(text, None, name, path)
    return RewardFunction(text, place, name, _module_source(place))


def _entry_point(name: str) -> str:
    known = metadata.entry_points(group=ENTRY_POINTS)
    values = sorted({each.value.replace(" ", "") for each in known if each.name == name})
    if len(values) == 1:
        return values[0]
    if values:
        raise _refused(f"several packages offer a reward {name!r}: {', '.join(values)}", "Name one as MODULE:FUNCTION")
    names = sorted({each.name for each in known})
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"Did you mean {close[0]}?" if close else f"Known here: {', '.join(names) or 'none'}."
    raise _refused(f"no installed package offers a reward {name!r}", f"{hint} Or write {_FORMS}")


def _module_source(module: str) -> Path:
    """The file of a module, found package by package as an import would, without importing any."""
    search: Sequence[str] | None = [str(Path.cwd()), *sys.path]
    parts = module.split(".")
    for depth in range(1, len(parts) + 1):
        name = ".".join(parts[:depth])
        spec = _spec(name, search)
        if spec is None:
            raise _refused(
                f"there is no module {name!r}"
                if depth == 1
                else f"{'.'.join(parts[: depth - 1])} has no module {name}",
                "Install it, start in the folder that holds it, or write FILE.py:FUNCTION",
            )
        search = spec.submodule_search_locations
    if spec is None or not spec.has_location or spec.origin is None or not spec.origin.endswith(".py"):
        raise _refused(f"the module {module} has no source file", "Write a small Python function around it")
    return Path(spec.origin)


def _spec(name: str, search: Sequence[str] | None) -> ModuleSpec | None:
    if search is None:  # the parent is no package
        return None
    if "." in name:  # by its last part: the full name would ask for the parent, which is not imported
        return PathFinder.find_spec(name.rpartition(".")[2], search)
    found = (finder.find_spec(name, search) for finder in sys.meta_path)
    return next((spec for spec in found if spec is not None), None)


def _refused(what: str, fix: str) -> ConfigError:
    return ConfigError(what, where="task.reward", fix=fix)
