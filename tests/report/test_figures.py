"""Figures are well-formed, complete and tell in words what they show."""

import itertools
import math
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from hicra_cli.report.dotplot import Interval, interval_figure
from hicra_cli.report.figures import Line, Panel, figure, spread
from hicra_cli.report.svg import standalone

SVG = "{http://www.w3.org/2000/svg}"


def drawn(*lines: Line) -> ElementTree.Element:
    return ElementTree.fromstring(figure([Panel("Accuracy", "%", lines)], name="a", height=200))


def test_a_curve_is_drawn_and_described():
    root = drawn(Line("hicra", "run-0", (1.0, 2.0), (30.0, 65.0)))
    assert root.findtext(f"{SVG}title") == "Accuracy (%)"
    assert root.findtext(f"{SVG}desc") == "Accuracy, hicra: 30.0 at step 1, 65.0 at step 2"
    curve = next(each for each in root.iter(f"{SVG}path") if each.get("class") == "curve")
    assert curve.get("d", "").count("L") == 1
    assert "--c:var(--run-0)" in curve.get("style", "")


def test_a_gap_lifts_the_pen():
    root = drawn(Line("", "run-0", (1.0, 2.0, 3.0, 4.0), (1.0, math.nan, 2.0, 3.0)))
    curve = next(each for each in root.iter(f"{SVG}path") if each.get("class") == "curve")
    assert (curve.get("d", "").count("M"), curve.get("d", "").count("L")) == (2, 1)


def test_every_step_shows_its_exact_values_under_the_pointer():
    root = drawn(Line("a", "run-0", (1.0, 2.0), (0.123456, 2.0)), Line("b", "run-1", (2.0,), (3.0,)))
    tips = [each.findtext(f"{SVG}title") for each in root.iter(f"{SVG}rect")]
    assert tips == ["step 1\na: 0.1235", "step 2\na: 2.000\nb: 3.000"]


def test_nothing_measured_is_still_a_figure():
    root = drawn(Line("a", "run-0", (), ()), Line("b", "run-1", (1.0,), (math.nan,)))
    assert root.findtext(f"{SVG}desc") == "nothing was measured"


def test_whiskers_reach_from_low_to_high_and_may_be_unknown():
    root = drawn(Line("held-out", "held-out", (1.0, 2.0), (3.0, 4.0), (2.0, math.nan), (4.0, math.nan)))
    assert len([each for each in root.iter(f"{SVG}path") if each.get("class") == "whisker"]) == 1
    assert len([each for each in root.iter(f"{SVG}circle") if each.get("class") == "ring"]) == 2


@given(st.text(max_size=40).filter(lambda text: text.isprintable()))
def test_names_cannot_break_the_drawing(name):
    root = drawn(Line(name, "run-0", (1.0, 2.0), (1.0, 2.0)))
    assert not list(root.iter(f"{SVG}script"))
    ElementTree.fromstring(
        interval_figure([Interval(name, name, 0.5, 0.4, 0.6, "muted")], name="b", title="evaluation")
    )


@given(st.lists(st.floats(0, 100), max_size=6))
def test_labels_stand_apart_in_order(heights):
    placed = spread(sorted(heights), gap=10, low=0, high=100)
    assert all(b - a >= 10 - 1e-9 for a, b in itertools.pairwise(placed))
    assert all(-1e-9 <= each <= 100 + 1e-9 for each in placed)


def test_a_file_of_its_own_carries_its_style():
    text = standalone(figure([Panel("Accuracy", "%", ())], name="a", height=200))
    root = ElementTree.fromstring(text.encode())
    assert "--planning" in root.findtext(f"{SVG}style", "")


def test_an_interval_figure_names_values_and_bounds():
    rows = [
        Interval("countdown", "nano", 0.31, 0.28, 0.34, "muted"),
        Interval("countdown", "few", 1.0, math.nan, math.nan, "run-0"),
    ]
    root = ElementTree.fromstring(interval_figure(rows, name="e", title="t"))
    assert root.findtext(f"{SVG}desc") == "countdown, nano: 31.0 %, [28.0, 34.0]; countdown, few: 100.0 %, no interval"
