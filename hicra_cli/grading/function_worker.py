"""The worker of a user's reward function: its arguments in, {"reward", "outcome", "detail"} or {"error": text} out.

The function's module is imported here, with its folder or the current one first on the path, before clock and limit
run. What it prints is dropped. A call that runs out of memory ends the process: what filled it may have been an
earlier call, so the work is tried once more in a fresh one.
"""

import contextlib
import hashlib
import importlib
import importlib.util
import inspect
import math
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hicra_cli.core.records import Outcome
from hicra_cli.grading.serving import Fault, Handler, serve

OUT_OF_MEMORY = 77
LARGEST_REWARD = 3.4028235e38  # of float32, in which advantages are computed
MAX_DETAIL = 300
ARGUMENTS = ("prompt", "response", "answer", "metadata", "truncated")
_FIELDS = frozenset(("reward", "outcome", "detail"))
_BY_NAME = {outcome.value: outcome for outcome in Outcome}


class NoReward(ValueError):
    """What the function returned is no reward; the text says what it was."""


def main(options: dict[str, Any]) -> None:
    """Serve the function that `options` names until the requests end."""
    serve(lambda: _prepare(options["function"]), memory_bytes=options["memory_bytes"])


def read_result(result: object, *, truncated: bool) -> dict[str, Any]:
    """reward (a float that float32 holds), outcome and detail of what a function returned. Raises NoReward."""
    value, name, detail = _parts(result)
    reward = _number(value)
    if name is None:
        outcome = _usual_outcome(reward, truncated=truncated)
    elif isinstance(name, str) and name in _BY_NAME:
        outcome = _BY_NAME[name]
    else:
        raise NoReward(f"returned the outcome {_short(name)}, not one of {', '.join(_BY_NAME)}")
    return {"reward": reward, "outcome": outcome.value, "detail": detail}


def _prepare(where: Mapping[str, Any]) -> tuple[Handler, dict[str, Any]]:
    path = Path(where["path"])
    source = path.read_bytes()
    try:
        module = _import(where["module"], path)
    except Fault:
        raise
    except (Exception, SystemExit) as error:
        raise Fault(f"importing it failed: {_first_line(error)}", _place(error, path)) from error
    function: Any = module
    for part in where["name"].split("."):
        function = getattr(function, part, None)
    if function is None:
        raise Fault(f"{path.name} has no {where['name']}", str(path))
    _check_signature(function, path)
    return _caller(function, path), {"digest": hashlib.sha256(source).hexdigest()}


def _import(name: str | None, path: Path) -> Any:
    if name is not None:
        sys.path.insert(0, os.getcwd())
        module = importlib.import_module(name)
        if module.__file__ is None or not os.path.samefile(module.__file__, path):
            raise Fault(f"the module name {name} is taken by {module.__file__}: write FILE.py:FUNCTION", str(path))
        return module
    sys.path.insert(0, str(path.parent))
    own_name = f"reward_file_{path.stem}"
    spec = importlib.util.spec_from_file_location(own_name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[own_name] = module  # dataclasses and pickle look their module up
    spec.loader.exec_module(module)
    return module


def _check_signature(function: Any, path: Path) -> None:
    if not callable(function):
        raise Fault(f"it is {type(function).__name__}, not a function", str(path))
    if inspect.iscoroutinefunction(function):
        raise Fault("it is an async function", _defined_at(function, path))
    try:
        signature = inspect.signature(function)
    except ValueError:  # written in C: the first call will tell
        return
    try:
        signature.bind(**dict.fromkeys(ARGUMENTS))
    except TypeError as error:
        what = f"it cannot be called with the keywords {', '.join(ARGUMENTS)}: {error}"
        raise Fault(what, _defined_at(function, path)) from error


def _caller(function: Callable[..., object], path: Path) -> Handler:
    def call(request: dict[str, Any]) -> tuple[dict[str, Any], bool]:
        try:
            result = function(**{name: request[name] for name in ARGUMENTS})
            return read_result(result, truncated=request["truncated"]), True
        except MemoryError:
            os._exit(OUT_OF_MEMORY)
        except NoReward as error:
            return {"error": f"{error} ({_defined_at(function, path, short=True)})"}, True
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a user's code raises anything: an `error` verdict
            return {"error": f"{_first_line(error)} ({_place(error, path, short=True)})"}, True

    return call


def _parts(result: object) -> tuple[object, object, str]:
    if isinstance(result, Mapping):
        unknown = sorted(map(str, set(result) - _FIELDS))
        if unknown or "reward" not in result:
            raise NoReward(f"returned a dict with {_short(sorted(map(str, result)))}; known: reward, outcome, detail")
        return result["reward"], result.get("outcome"), str(result.get("detail", ""))[:MAX_DETAIL]
    if isinstance(result, (tuple, list)):
        if len(result) != 2:
            raise NoReward(f"returned {len(result)} values, not (reward, outcome)")
        return result[0], result[1], ""
    return result, None, ""


def _number(value: object) -> float:
    if not hasattr(type(value), "__float__"):
        raise NoReward(f"returned {_short(value)}, no number")
    try:
        number = float(value)  # type: ignore[arg-type]  # numpy and torch scalars are numbers too
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise NoReward(f"returned {_short(value)}, no number") from error
    if math.isnan(number) or abs(number) > LARGEST_REWARD:
        raise NoReward(f"returned {number}")
    return number


def _usual_outcome(reward: float, *, truncated: bool) -> Outcome:
    if reward > 0:
        return Outcome.CORRECT
    return Outcome.TRUNCATED if truncated and reward == 0 else Outcome.WRONG


def _short(value: object) -> str:
    """A value in an error: whatever its own code does, in few characters."""
    with contextlib.suppress(Exception):
        text = repr(value)
        return text if len(text) <= 80 else f"{text[:77]}..."
    return type(value).__name__


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines() if _can_print(error) else []
    return f"{type(error).__name__}: {lines[0][:MAX_DETAIL]}" if lines else type(error).__name__


def _can_print(error: BaseException) -> bool:
    with contextlib.suppress(Exception):
        str(error)
        return True
    return False


def _place(error: BaseException, path: Path, *, short: bool = False) -> str:
    """file:line where it happened: in the function's file where the traceback passes through it, else at its end."""
    if isinstance(error, SyntaxError) and error.filename:
        found, line = Path(error.filename), error.lineno or 0
    else:
        frames = [(Path(each.filename), each.lineno or 0) for each in traceback.extract_tb(error.__traceback__)]
        own = [frame for frame in frames if frame[0] == path]
        found, line = (own or frames)[-1]
    return f"{found.name if short else found}:{line}"


def _defined_at(function: Any, path: Path, *, short: bool = False) -> str:
    code = getattr(inspect.unwrap(function), "__code__", None)
    name = path.name if short else str(path)
    return name if code is None else f"{name}:{code.co_firstlineno}"
