"""How long to wait before asking a service again: its own hint, else exponential backoff, within a total budget."""

import asyncio
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from hicra_cli.core.seeds import uniforms_for

LONGEST_BACKOFF_S = 60.0


class Patience:
    """Shared by all requests of a run. A rate limit told to one request holds all of them back."""

    def __init__(self, *, budget_s: float, first_backoff_s: float, seed: int) -> None:
        self._budget_s = budget_s
        self._first_backoff_s = first_backoff_s
        self._seed = seed
        self._not_before = 0.0
        self._covered_until = 0.0
        self.waited_s = 0.0

    def delay_s(self, attempt: int, *, hint_s: float | None, request: str) -> float:
        """Seconds before attempt + 1: never less than the hint; the backoff is jittered by up to a quarter."""
        backoff = min(self._first_backoff_s * 2.0 ** (attempt - 1), LONGEST_BACKOFF_S)
        jitter = float(uniforms_for(1, self._seed, "retry", prompt=request, sample=attempt)[0])
        return max(backoff, hint_s or 0.0) * (1 + 0.25 * jitter)

    def allows(self, delay_s: float) -> bool:
        """Take the wait out of the budget, or say that it does not fit. Waits that overlap are counted once."""
        now = time.monotonic()
        new_s = max(0.0, now + delay_s - max(now, self._covered_until))
        if self.waited_s + new_s > self._budget_s:
            return False
        self.waited_s += new_s
        self._covered_until = max(self._covered_until, now + delay_s)
        return True

    def hold_all(self, delay_s: float) -> None:
        """No request is sent before this many seconds have passed."""
        self._not_before = max(self._not_before, time.monotonic() + delay_s)

    async def ready(self) -> None:
        """Returns when requests may be sent."""
        while (left_s := self._not_before - time.monotonic()) > 0:
            await asyncio.sleep(left_s)


class Pace:
    """A token bucket that holds one token: requests leave evenly, at most so many in any minute."""

    def __init__(self, requests_per_minute: int | None) -> None:
        self._interval_s = 60.0 / requests_per_minute if requests_per_minute else 0.0
        self._next = 0.0

    async def turn(self) -> None:
        """Returns when it is this request's turn; turns are given in the order of asking."""
        if not self._interval_s:
            return
        mine = max(self._next, time.monotonic())
        self._next = mine + self._interval_s
        while (left_s := mine - time.monotonic()) > 0:
            await asyncio.sleep(left_s)


def seconds_of_hint(value: str | None) -> float | None:
    """Seconds of a Retry-After header (a number or an HTTP date) or of a retryDelay such as `2.5s`; None if unclear."""
    if not value:
        return None
    try:
        seconds = float(value.strip().removesuffix("s"))
    except ValueError:
        try:
            when = parsedate_to_datetime(value)
        except ValueError:
            return None
        seconds = (when.replace(tzinfo=when.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    # not (>= 0) also refuses a NaN
    return min(seconds, 86_400.0) if seconds >= 0 else None
