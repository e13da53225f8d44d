"""The figure of a gram-set's coverage: how many rollouts have which share of planning."""

import math
from collections.abc import Sequence
from html import escape

from hicra_cli.report.scale import tick_labels, ticks
from hicra_cli.report.svg import Frame, element, svg_document

NUM_BARS = 24
WIDTH, HEIGHT = 580, 206


def histogram(per_rollout: Sequence[float], *, mean: float, unit: str) -> str:
    """The drawing. per_rollout: (B,) shares in [0, 1]; mean: the share over all rollouts; unit: what was counted.

    The last bar holds all beyond the 99th percentile, so that a single rollout cannot squeeze the rest.
    """
    shares = sorted(per_rollout)
    top = max(shares[min(len(shares) - 1, math.floor(0.99 * len(shares)))], 0.01)
    bars = [0] * NUM_BARS
    for share in shares:
        bars[min(int(share / top * NUM_BARS), NUM_BARS - 1)] += 1
    frame = Frame(44, 34, 566, 176, (0.0, 100 * top), (0.0, max(bars) * 1.06))
    title = f"Rollouts by their share of planning {escape(unit)}"
    drawn = [element("text", title, css="title", x=4.0, y=14.0), *_axes(frame), *_bars(bars, frame)]
    if mean <= top:
        x = frame.x(100 * mean)
        drawn.append(element("path", css="mean", d=f"M{x:.1f} {frame.top}V{frame.bottom}"))
        drawn.append(element("text", "all together", css="tick", x=x, y=frame.top - 4.0, text_anchor="middle"))
    drawn.append(element("path", css="axis", d=f"M{frame.left} {frame.bottom}H{frame.right}"))
    words = f"{len(shares)} rollouts, from {100 * shares[0]:.1f} to {100 * shares[-1]:.1f} per cent"
    return svg_document(drawn, name="coverage", width=WIDTH, height=HEIGHT, title=title, description=words)


def _bars(bars: Sequence[int], frame: Frame) -> list[str]:
    width = (frame.right - frame.left) / len(bars)
    drawn = []
    for at, count in enumerate(bars):
        if count:
            y = min(frame.y(count), frame.bottom - 0.8)
            x, height, title = frame.left + at * width + 0.75, frame.bottom - y, element("title", f"{count} rollouts")
            drawn.append(element("rect", title, css="bin", x=x, y=y, width=width - 1.5, height=height))
    return drawn


def _axes(frame: Frame) -> list[str]:
    across = ticks(*frame.x_range, target=6)
    up = [each for each in ticks(*frame.y_range, target=3) if each % 1 == 0]
    drawn = []
    for value, label in zip(up, tick_labels(up), strict=True):
        y = frame.y(value)
        drawn.append(element("path", css="grid", d=f"M{frame.left} {y:.1f}H{frame.right}"))
        drawn.append(element("text", label, css="tick", x=frame.left - 6, y=y + 3.5, text_anchor="end"))
    for value, label in zip(across, tick_labels(across), strict=True):
        x = frame.x(value)
        drawn.append(element("text", f"{label} %", css="tick", x=x, y=frame.bottom + 15, text_anchor="middle"))
    return drawn
