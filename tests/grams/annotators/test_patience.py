"""Waiting: hints of a service in all their spellings, backoff, the budget of waiting, and the pace of requests."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from hicra_cli.grams.annotators.client import hint_of
from hicra_cli.grams.annotators.patience import Pace, Patience, seconds_of_hint


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("2", 2.0), ("2.5s", 2.5), (" 3 ", 3.0), ("0", 0.0), ("1e9", 86_400.0)],
)
def test_a_hint_is_a_number_of_seconds(value, seconds):
    assert seconds_of_hint(value) == seconds


@pytest.mark.parametrize("value", [None, "", "soon", "-1", "nan", "2 minutes", "\x00", "s"])
def test_an_unclear_hint_is_none(value):
    assert seconds_of_hint(value) is None


def test_a_hint_may_be_a_date():
    later = datetime.now(UTC) + timedelta(seconds=30)
    found = seconds_of_hint(format_datetime(later, usegmt=True))
    assert found is not None
    assert 20 < found <= 30


def test_the_longest_of_several_hints_counts():
    headers = {"retry-after": "1", "retry-after-ms": "1500"}
    assert hint_of(headers, None) == 1.5
    assert hint_of(headers, [{"retryDelay": "4s"}, "nonsense", {"retryDelay": 7}]) == 4.0
    assert hint_of(None, {"retryDelay": "4s"}) is None


def test_backoff_doubles_up_to_a_minute_and_never_undercuts_the_hint():
    # jitter adds at most a quarter: attempt k waits between 2^(k-1) and 1.25 * 2^(k-1) seconds
    patience = Patience(budget_s=1e9, first_backoff_s=1.0, seed=0)
    for attempt, low in [(1, 1.0), (2, 2.0), (3, 4.0), (6, 32.0), (7, 60.0), (20, 60.0)]:
        assert low <= patience.delay_s(attempt, hint_s=None, request="r") <= 1.25 * low
    assert patience.delay_s(1, hint_s=10.0, request="r") >= 10.0
    assert patience.delay_s(3, hint_s=None, request="r") == patience.delay_s(3, hint_s=None, request="r")


def test_waits_beyond_the_budget_are_refused_and_overlapping_ones_count_once():
    patience = Patience(budget_s=10.0, first_backoff_s=1.0, seed=0)
    assert patience.allows(8.0)
    assert patience.allows(8.0)
    assert patience.waited_s < 9.0
    assert not patience.allows(30.0)


def test_turns_come_no_closer_than_the_rate_whoever_asks():
    # 1200 a minute: one each 0.05 s; the first goes at once, so the tenth not before 0.45 s
    async def ten_turns() -> None:
        pace = Pace(1200)
        await asyncio.gather(*(pace.turn() for _ in range(10)))

    started = time.monotonic()
    asyncio.run(ten_turns())
    assert time.monotonic() - started >= 0.45


def test_without_a_rate_nobody_waits():
    async def many_turns() -> int:
        pace = Pace(None)
        for _ in range(1000):
            await pace.turn()
        return 1000

    assert asyncio.run(many_turns()) == 1000
