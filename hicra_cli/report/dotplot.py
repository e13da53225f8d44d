"""Dot plots of measured shares with their 95 % intervals: one line per row, one common axis in percent."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from hicra_cli.report.scale import tick_labels, ticks, value_range
from hicra_cli.report.svg import Frame, coordinate, element, svg_document

WIDTH = 440
ROW = 24
MAX_LABEL = 24


@dataclass(frozen=True, slots=True)
class Interval:
    """A share in [0, 1] with its interval; rows of one `group` stand under one heading, in the order given."""

    group: str
    label: str
    value: float
    low: float
    high: float
    colour: str


def interval_figure(rows: Sequence[Interval], *, name: str, title: str) -> str:
    """The rows as a dot plot. nan bounds (too few questions for an interval) are drawn as a bare dot."""
    groups = [(group, list(each)) for group, each in itertools.groupby(rows, key=lambda row: row.group)]
    height = 16 + ROW * (len(rows) + len(groups)) + 26
    low, high = value_range([value for row in rows for value in (row.value, row.low, row.high)])
    left = 26 + 6.1 * max((min(len(row.label), MAX_LABEL) for row in rows), default=0)
    frame = Frame(left, 8, WIDTH - 138, height - 26, x_range=(max(0.0, low), min(1.0, high)), y_range=(0.0, 1.0))
    body, y = _axis(frame), 8.0
    for group, members in groups:
        y += ROW
        body.append(element("text", escape(group), css="title", x=2, y=y - 6))
        for row in members:
            y += ROW
            body += _row(row, y - 10, frame)
    words = "; ".join(f"{r.group}, {r.label}: {_percent(r.value)}, {_bounds(r)}" for r in rows)
    return svg_document(body, name=name, width=WIDTH, height=height, title=title, description=words)


def _axis(frame: Frame) -> list[str]:
    values = ticks(100 * frame.x_range[0], 100 * frame.x_range[1], target=4)
    body = []
    for value, label in zip(values, tick_labels(values), strict=True):
        x = frame.x(value / 100)
        body.append(
            element("path", css="grid", d=f"M{coordinate(x)} {coordinate(frame.top)}V{coordinate(frame.bottom)}")
        )
        body.append(element("text", f"{label} %", css="tick", x=x, y=frame.bottom + 17, text_anchor="middle"))
    return body


def _row(row: Interval, y: float, frame: Frame) -> list[str]:
    shown = row.label if len(row.label) <= MAX_LABEL else row.label[: MAX_LABEL - 1] + "…"
    body = [element("text", escape(shown), css="label ink", x=frame.left - 14, y=y, dy=".32em", text_anchor="end")]
    if math.isfinite(row.low) and math.isfinite(row.high):
        left, right = (frame.x(min(max(bound, frame.x_range[0]), frame.x_range[1])) for bound in (row.low, row.high))
        stroke = f"M{coordinate(left)} {coordinate(y)}H{coordinate(right)}"
        body.append(element("path", css="whisker wide", colour=row.colour, d=stroke))
    body.append(element("circle", css="ring", colour=row.colour, cx=frame.x(row.value), cy=y, r=4.5))
    words = f"{_percent(row.value)} " + element("tspan", _bounds(row), css="unit")
    body.append(element("text", words, css="label", colour=row.colour, x=frame.right + 16, y=y, dy=".32em"))
    return body


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %" if math.isfinite(value) else "–"


def _bounds(row: Interval) -> str:
    if not (math.isfinite(row.low) and math.isfinite(row.high)):
        return "no interval"
    return f"[{100 * row.low:.1f}, {100 * row.high:.1f}]"
