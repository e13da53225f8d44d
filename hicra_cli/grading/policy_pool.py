"""Other graders' verdicts (see `policies.py`) on many responses: in worker processes, because they may hang."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from hicra_cli.core.errors import RunError, UsageError
from hicra_cli.grading.policies import POLICIES
from hicra_cli.grading.pool import MEMORY_MIB, WALL_FACTOR
from hicra_cli.grading.workers import Answer, Lost, Program, WorkerPool, WorkersDoNotStart, minimal_environment


@dataclass(frozen=True, slots=True)
class PolicyJudgement:
    """correct: None where the policy gave no verdict, with the reason in `detail`."""

    correct: bool | None
    detail: str = ""


class PolicyPool:
    """Judges by one policy. A context manager: it may hold `workers` processes. Not for several threads at once.

    Raises UsageError for an unknown policy.
    """

    def __init__(self, policy: str, *, workers: int = 1, timeout_s: float = 5.0, memory_mib: int = MEMORY_MIB) -> None:
        if policy not in POLICIES:
            raise UsageError(f"there is no policy {policy!r}", fix=f"Known: {', '.join(POLICIES)}")
        self.policy = policy
        self._timeout_s = timeout_s
        options = {"policy": policy, "memory_bytes": memory_mib << 20}
        program = Program("hicra_cli.grading.policy_worker", options, environment=minimal_environment())
        self._crew = WorkerPool(program, workers=workers, cpu_s=timeout_s, wall_s=WALL_FACTOR * timeout_s)

    def judge(self, items: Sequence[tuple[str, Sequence[str], bool]]) -> list[PolicyJudgement]:
        """One judgement per (text, golds, is it a bare answer), in order. Raises RunError where no worker starts."""
        requests = [{"response": _boxed(text) if bare else text, "golds": list(golds)} for text, golds, bare in items]
        if not requests:
            return []
        try:
            return [self._judgement(answer) for answer in self._crew.answers(requests)]
        except WorkersDoNotStart as failure:
            raise RunError(
                f"the workers of the policy {self.policy} do not start (status {failure.status})",
                fix=f"{sys.executable} -c 'import math_verify' shows why",
            ) from failure

    def close(self) -> None:
        """End the workers; harmless when repeated."""
        self._crew.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _judgement(self, answer: Answer) -> PolicyJudgement:
        if isinstance(answer, Lost):
            if answer.why == "death":
                return PolicyJudgement(None, f"ended its process (status {answer.status})")
            return PolicyJudgement(None, f"took longer than {self._timeout_s:g} s")
        if "error" in answer:
            return PolicyJudgement(None, answer["error"])
        return PolicyJudgement(answer["correct"])


def _boxed(answer: str) -> str:
    return f"\\boxed{{{answer}}}"
