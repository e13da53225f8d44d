"""Axes, numbers and smoothing of figures."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hicra_cli.report.scale import (
    integer_ticks,
    number,
    running_mean,
    smoothing_window,
    thin,
    tick_labels,
    ticks,
    value_range,
)

FINITE = st.floats(-1e6, 1e6)


def test_ticks_are_round():
    assert ticks(0.0, 1.0, target=4) == pytest.approx([0.0, 0.25, 0.5, 0.75, 1.0])
    assert ticks(2.03, 2.91, target=3) == pytest.approx([2.5])
    assert ticks(41.0, 83.0, target=4) == pytest.approx([60.0, 80.0])
    assert integer_ticks(1, 40, target=4) == [10.0, 20.0, 30.0, 40.0]
    assert integer_ticks(1, 3, target=4) == [1.0, 2.0, 3.0]


@given(FINITE, st.floats(1e-6, 1e6), st.integers(2, 8))
def test_ticks_lie_inside_and_are_few(low, width, target):
    found = ticks(low, low + width, target=target)
    assert all(low - 1e-6 * width <= tick <= low + width * (1 + 1e-6) for tick in found)
    assert len(found) <= target + 1


def test_tick_labels_share_their_decimals():
    assert tick_labels([0.0, 0.25, 0.5]) == ["0.00", "0.25", "0.50"]
    assert tick_labels([-1.0, 1000.0]) == ["−1", "1,000"]


def test_numbers_have_three_digits_and_a_dash_for_nothing():
    assert [number(each) for each in (0.12345, 12345.6, -1.5, 0.0, math.nan, None)] == [
        "0.123", "12,346", "−1.50", "0", "–", "–",
    ]  # fmt: skip


@given(st.lists(st.floats(allow_nan=True, allow_infinity=False, width=32), max_size=20))
def test_a_range_holds_every_value_and_has_a_width(values):
    low, high = value_range(values)
    assert low < high
    assert all(low <= value <= high for value in values if math.isfinite(value))


def test_the_running_mean_leaves_gaps_and_short_runs_alone():
    # window 3: (1+2)/2, (1+2+6)/3, (2+6)/2 with the gap left out, gap, 4
    assert running_mean([1, 2, 6, math.nan, 4], window=3)[:3] == [1.5, 3.0, 4.0]
    assert math.isnan(running_mean([1, 2, 6, math.nan, 4], window=3)[3])
    assert [smoothing_window(n) for n in (1, 11, 12, 40, 400)] == [1, 1, 3, 5, 25]


@given(st.lists(FINITE, min_size=1, max_size=300), st.integers(4, 50))
def test_thinning_keeps_the_peaks(values, limit):
    kept = thin(range(len(values)), values, limit=limit)
    assert len(kept) <= max(limit + 2, 4)
    assert {min(values), max(values)} <= {y for _, y in kept}
