"""What a run may cost, and what it has cost.

Before a request is sent its worst case is reserved: every byte of the prompt a token, the longest answer allowed. When
the answer is there, what it really cost takes that place. A request whose answer was lost on the way may have been
billed, so its worst case stays charged: the ceiling holds whatever the service did.
"""

import threading
from dataclasses import dataclass

from hicra_cli.core.errors import ServiceError


@dataclass(frozen=True, slots=True)
class Spent:
    """What answers have cost so far, earlier attempts of the same run included.

    requests: sent, whatever became of them. input_tokens, output_tokens: billed, by the service's own count. cost: US
    dollars, None where the price is unknown. lost_cost: at most this much more, for requests whose answer was lost.
    """

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = None
    lost_cost: float = 0.0


class Budget:
    """Shared by all annotators of a run. `max_cost`: US dollars, None for no ceiling."""

    def __init__(self, max_cost: float | None) -> None:
        self.max_cost = max_cost
        self._charged = 0.0
        self._reserved: list[float] = []
        self._accounts: set[str] = set()
        self._lock = threading.Lock()

    @property
    def charged(self) -> float:
        """US dollars that are gone for good, lost requests at their worst case."""
        return self._charged

    def recall(self, account: str, cost: float) -> None:
        """Charge what an earlier attempt has cost by its ledger; each account counts once."""
        with self._lock:
            if account not in self._accounts:
                self._accounts.add(account)
                self._charged += cost

    def reserve(self, worst_case: float) -> bool:
        """Set the worst case of a request aside; False while requests in flight may still give some of theirs back.

        Raises ServiceError where it cannot fit however they end.
        """
        with self._lock:
            if self.max_cost is not None and self._charged + sum(self._reserved) + worst_case > self.max_cost:
                if self._reserved:
                    return False
                raise self._exceeded(worst_case)
            self._reserved.append(worst_case)
            return True

    def settle(self, worst_case: float, cost: float) -> None:
        """Replace a reservation by what the request has really cost."""
        with self._lock:
            self._reserved.remove(worst_case)
            self._charged += cost

    def exchange(self, charged: float, cost: float) -> None:
        """Put what a request has really cost in the place of what was charged for it in advance."""
        with self._lock:
            self._charged += cost - charged

    def _exceeded(self, worst_case: float) -> ServiceError:
        return ServiceError(
            f"the next request may cost up to ${worst_case:.4f}, which with ${self._charged:.4f} spent would exceed "
            f"the ceiling of ${self.max_cost:g}",
            fix="Raise --max-cost, or lower annotate.service.batch_size or max_output_tokens, then repeat with "
            "--resume: answers so far are kept and not paid again",
        )
