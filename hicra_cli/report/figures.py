"""Curves over the steps of a run, as SVG without script.

Each figure has a description for screen readers, and invisible bands whose `<title>` shows a step's exact values
under the pointer. Everything drawn is a function of the arguments alone.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

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
from hicra_cli.report.svg import Frame, coordinate, element, svg_document

WIDTH = 288
LEFT = 40
HEADING = 38
STEP_AXIS = 24
MAX_LABEL = 16
MAX_POINTS = 500
MAX_BANDS = 60


@dataclass(frozen=True, slots=True)
class Line:
    """A curve: `colour` names a CSS variable (planning, execution, run-0 …), nan in `ys` is a gap.

    With `low` and `high` it is drawn as points with whiskers, else as each step (thin) and a running mean (strong).
    """

    label: str
    colour: str
    xs: tuple[float, ...]
    ys: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()

    @property
    def shown(self) -> tuple[float, ...]:
        """The values of the strong stroke."""
        window = 1 if self.low else smoothing_window(len(self.xs))
        return tuple(running_mean(self.ys, window=window))


@dataclass(frozen=True, slots=True)
class Panel:
    """One pair of axes. `y_range` is given where panels shall be comparable, else taken from the lines."""

    title: str
    unit: str
    lines: tuple[Line, ...]
    y_range: tuple[float, float] | None = None

    @property
    def values(self) -> list[float]:
        """All that must fit on the value axis."""
        return [value for line in self.lines for value in (*line.ys, *line.low, *line.high)]


def figure(panels: Sequence[Panel], *, name: str, height: int, width: int = WIDTH) -> str:
    """Panels below each other in one SVG over a common step axis. `name` must be unique in its page."""
    labels = [line.label for panel in panels for line in panel.lines]
    right = width - max([20.0, *(12 + 6.1 * min(len(label), MAX_LABEL) for label in labels)])
    share = (height - STEP_AXIS) / len(panels)
    body: list[str] = []
    for index, panel in enumerate(panels):
        top, bottom = index * share + HEADING, (index + 1) * share
        y_range = panel.y_range or value_range(panel.values)
        frame = Frame(LEFT, top, right, bottom, x_range=_step_range(panels), y_range=y_range)
        body += _panel(panel, frame)
        if index == len(panels) - 1:
            body += _step_axis(frame)
    title = "; ".join(f"{panel.title} ({panel.unit})" if panel.unit else panel.title for panel in panels)
    return svg_document(body, name=name, width=width, height=height, title=title, description=_describe(panels))


def _step_range(panels: Sequence[Panel]) -> tuple[float, float]:
    steps = [x for panel in panels for line in panel.lines for x in line.xs] or [0.0]
    low, high = min(steps), max(steps)
    return (low, high) if high > low else (low - 1, low + 1)


def _panel(panel: Panel, frame: Frame) -> list[str]:
    heading = element("tspan", escape(panel.title), css="title")
    if panel.unit:
        heading += element("tspan", escape(panel.unit), css="unit", dx=6)
    body = [element("text", heading, x=2, y=frame.top - 17), *_value_axis(frame)]
    for line in panel.lines:
        body += _whiskers(line, frame) if line.low else _curve(line, frame)
    return [*body, *_labels(panel, frame), *_bands(panel, frame)]


def _value_axis(frame: Frame) -> list[str]:
    values = ticks(*frame.y_range, target=6 if frame.bottom - frame.top > 150 else 4)
    body = []
    for value, label in zip(values, tick_labels(values), strict=True):
        y = frame.y(value)
        body.append(
            element("path", css="grid", d=f"M{coordinate(frame.left)} {coordinate(y)}H{coordinate(frame.right)}")
        )
        body.append(element("text", label, css="tick", x=frame.left - 7, y=y, dy=".32em", text_anchor="end"))
    edge = f"M{coordinate(frame.left)} {coordinate(frame.bottom)}H{coordinate(frame.right)}"
    return [*body, element("path", css="axis", d=edge)]


def _step_axis(frame: Frame) -> list[str]:
    values = integer_ticks(*frame.x_range, target=4)
    body = []
    for value, label in zip(values, tick_labels(values), strict=True):
        x = frame.x(value)
        body.append(element("path", css="axis", d=f"M{coordinate(x)} {coordinate(frame.bottom)}v4"))
        body.append(element("text", label, css="tick", x=x, y=frame.bottom + 17, text_anchor="middle"))
    return [*body, element("text", "step", css="tick", x=frame.right + 14, y=frame.bottom + 17)]


def _curve(line: Line, frame: Frame) -> list[str]:
    strong = element("path", css="curve", colour=line.colour, d=_path(line.xs, line.shown, frame))
    if smoothing_window(len(line.xs)) > 1:
        return [element("path", css="each", colour=line.colour, d=_path(line.xs, line.ys, frame)), strong]
    # dots, so that a run of one step, or a value between two gaps, is still seen
    dots = [
        element("circle", css="dot", colour=line.colour, cx=frame.x(x), cy=frame.y(y), r=2.2)
        for x, y in _measured(line)
    ]
    return [strong, *dots]


def _whiskers(line: Line, frame: Frame) -> list[str]:
    body = []
    for x, low, high in zip(line.xs, line.low, line.high, strict=True):
        if math.isfinite(low) and math.isfinite(high):
            stroke = f"M{coordinate(frame.x(x))} {coordinate(frame.y(low))}V{coordinate(frame.y(high))}"
            body.append(element("path", css="whisker", colour=line.colour, d=stroke))
    for x, y in _measured(line):
        body.append(element("circle", css="ring", colour=line.colour, cx=frame.x(x), cy=frame.y(y), r=3.2))
    return body


def _labels(panel: Panel, frame: Frame) -> list[str]:
    """Each line's name at its right end, pushed apart where ends lie close."""
    ends = []
    for line in panel.lines:
        finite = [y for y in line.shown if math.isfinite(y)]
        if finite and line.label:
            ends.append((frame.y(finite[-1]), line))
    ends.sort(key=lambda end: end[0])
    places = spread([y for y, _ in ends], gap=13, low=frame.top, high=frame.bottom - 5)
    return [
        element("text", escape(_short(line.label)), css="label", colour=line.colour, x=frame.right + 8, y=y, dy=".32em")
        for y, (_, line) in zip(places, ends, strict=True)
    ]


def spread(heights: Sequence[float], *, gap: float, low: float, high: float) -> list[float]:
    """Ascending heights, moved as little as a sweep down and one up need to stand `gap` apart within [low, high].

    Where they do not all fit, they start at `low` and go on below `high`.
    """
    placed = list(heights)
    for index in range(1, len(placed)):
        placed[index] = max(placed[index], placed[index - 1] + gap)
    limit = high
    for index in reversed(range(len(placed))):
        placed[index] = min(placed[index], limit)
        limit = placed[index] - gap
    if placed and placed[0] < low:
        placed = [max(height, low + index * gap) for index, height in enumerate(placed)]
    return placed


def _bands(panel: Panel, frame: Frame) -> list[str]:
    """Invisible columns that show a step's exact values under the pointer; at most MAX_BANDS of them."""
    steps = sorted({x for line in panel.lines for x in line.xs})
    chosen = steps[:: max(1, math.ceil(len(steps) / MAX_BANDS))]
    borders = [(frame.x(a) + frame.x(b)) / 2 for a, b in itertools.pairwise(chosen)]
    edges = itertools.pairwise([frame.left, *borders, frame.right])
    values = [(line.label or panel.title, dict(zip(line.xs, line.ys, strict=True))) for line in panel.lines]
    body = []
    for step, (left, right) in zip(chosen, edges, strict=False):
        lines = [f"{label}: {number(by_step[step], digits=4)}" for label, by_step in values if step in by_step]
        tip = element("title", escape("\n".join([f"step {step:g}", *lines])))
        height = frame.bottom - frame.top
        body.append(element("rect", tip, css="band", x=left, y=frame.top, width=right - left, height=height))
    return body


def _path(xs: Sequence[float], ys: Sequence[float], frame: Frame) -> str:
    pieces, pen_down = [], False
    for x, y in thin(xs, ys, limit=MAX_POINTS):
        if math.isfinite(y):
            pieces.append(f"{'L' if pen_down else 'M'}{coordinate(frame.x(x))} {coordinate(frame.y(y))}")
        pen_down = math.isfinite(y)
    return "".join(pieces)


def _describe(panels: Sequence[Panel]) -> str:
    parts = []
    for panel in panels:
        for line in panel.lines:
            if seen := _measured(line):
                (x0, y0), (x1, y1) = seen[0], seen[-1]
                name = f"{panel.title}, {line.label}" if line.label else panel.title
                parts.append(f"{name}: {number(y0)} at step {x0:g}, {number(y1)} at step {x1:g}")
    return "; ".join(parts) or "nothing was measured"


def _measured(line: Line) -> list[tuple[float, float]]:
    return [(x, y) for x, y in zip(line.xs, line.ys, strict=True) if math.isfinite(y)]


def _short(label: str) -> str:
    return label if len(label) <= MAX_LABEL else label[: MAX_LABEL - 1] + "…"
