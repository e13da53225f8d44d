"""The worker that compares by algebra: {"answer", "gold"} in, {"equal": true | false | null} or {"error": text} out."""

from typing import Any

from hicra_cli.grading.serving import Handler, serve

MEMORY_ABOVE_START_BYTES = 1 << 30


def main(options: dict[str, Any]) -> None:
    """Serve until stdin closes. options: `memory_bytes` that comparing may take above the libraries."""
    serve(_prepare, memory_bytes=options.get("memory_bytes", MEMORY_ABOVE_START_BYTES))


def _prepare() -> tuple[Handler, dict[str, Any]]:
    from hicra_cli.grading.symbolic import equal_by_algebra  # heavy: here, before the clock and the limit

    equal_by_algebra("x+1", "1+x")  # the first comparison loads parser tables
    return _compare, {}


def _compare(request: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """The reply, and whether this process can be trusted with another pair."""
    from hicra_cli.grading.equivalence import equal
    from hicra_cli.grading.symbolic import equal_by_algebra

    try:
        return {"equal": equal(request["answer"], request["gold"], algebra=equal_by_algebra)}, True
    except MemoryError:
        return {"error": "needs more memory than a grading worker may have"}, False
    except RecursionError:
        return {"error": "is nested too deeply to compare"}, True
    except Exception as error:  # noqa: BLE001 - sympy raises anything; it becomes an `error` verdict with its text
        return {"error": f"{type(error).__name__}: {str(error)[:200]}"}, True
