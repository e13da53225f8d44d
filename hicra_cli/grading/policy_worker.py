"""The worker that judges by a named policy: {"response", "golds"} in, {"correct": bool} or {"error": text} out."""

from collections.abc import Callable
from typing import Any

from hicra_cli.grading.policies import POLICIES
from hicra_cli.grading.serving import Handler, serve


def main(options: dict[str, Any]) -> None:
    """Serve the policy that `options` names until stdin closes."""
    serve(lambda: _prepare(POLICIES[options["policy"]]), memory_bytes=options["memory_bytes"])


def _prepare(judge: Callable[[str, str], bool]) -> tuple[Handler, dict[str, Any]]:
    judge(r"\boxed{\frac{x}{2}}", r"\frac{1}{2}x")  # imports, and tables of parsers, before the clock and the limit

    def handle(request: dict[str, Any]) -> tuple[dict[str, Any], bool]:
        try:
            return {"correct": any(judge(request["response"], gold) for gold in request["golds"])}, True
        except MemoryError:
            return {"error": "needs more memory than a worker may have"}, False
        except Exception as error:  # noqa: BLE001 - another grader's libraries raise anything; it is told as it is
            return {"error": f"{type(error).__name__}: {str(error)[:200]}"}, True

    return handle, {}
