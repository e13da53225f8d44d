"""Axes and numbers of figures: ranges, round ticks, labels, smoothing, thinning. Plain arithmetic, no drawing."""

import math
from collections.abc import Iterable, Sequence


def value_range(values: Iterable[float], *, zero: bool = False) -> tuple[float, float]:
    """Range of the finite values with a little air; `zero` starts at 0. Nothing finite gives (0, 1)."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return (0.0, 1.0)
    low, high = min(finite), max(finite)
    if zero:
        low = min(0.0, low)
    if high == low:
        air = abs(high) * 0.1 or 0.5
        return (low, high + air) if zero and low == 0.0 else (low - air, high + air)
    air = (high - low) * 0.06
    return (low, high + air) if zero and low == 0.0 else (low - air, high + air)


def ticks(low: float, high: float, *, target: int) -> list[float]:
    """Round numbers inside [low, high], about `target` of them: multiples of 1, 2, 2.5 or 5 times a power of ten."""
    if not (math.isfinite(low) and math.isfinite(high)) or high <= low:
        return [low]
    step = _round_step((high - low) / max(1, target))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def integer_ticks(low: float, high: float, *, target: int) -> list[float]:
    """As `ticks`, whole numbers only: steps of a run."""
    step = max(1.0, _round_step((high - low) / max(1, target))) if high > low else 1.0
    step = math.ceil(step)
    return [float(index * step) for index in range(math.ceil(low / step), math.floor(high / step) + 1)]


def tick_labels(values: Sequence[float]) -> list[str]:
    """All ticks of an axis with the same number of decimals: as few as tell them apart."""
    for decimals in range(7):
        labels = [f"{value:,.{decimals}f}" for value in values]
        if all(
            math.isclose(float(text.replace(",", "")), value, rel_tol=1e-9, abs_tol=1e-12)
            for text, value in zip(labels, values, strict=True)
        ):
            return [text.replace("-", "−") for text in labels]  # a real minus sign
    return [f"{value:.2e}" for value in values]


def number(value: float | None, *, digits: int = 3) -> str:
    """A number for people: `digits` significant digits, thousands apart, an en dash where nothing was measured."""
    if value is None or not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{min(decimals, 6)}f}".replace("-", "−")


def smoothing_window(num_points: int) -> int:
    """Odd width of the running mean: 1 (none) below 12 points, then about a tenth of the run, at most 25."""
    if num_points < 12:
        return 1
    return min(25, 2 * round(num_points / 20) + 1)


def running_mean(values: Sequence[float], *, window: int) -> list[float]:
    """Centred mean over `window` points, over what there is at the ends; nan stays nan and enters no mean."""
    half = window // 2
    smooth = []
    for index, value in enumerate(values):
        near = [each for each in values[max(0, index - half) : index + half + 1] if math.isfinite(each)]
        smooth.append(math.fsum(near) / len(near) if math.isfinite(value) else math.nan)
    return smooth


def thin(xs: Sequence[float], ys: Sequence[float], *, limit: int) -> list[tuple[float, float]]:
    """At most about `limit` points of a curve: per bucket its lowest and its highest, so that no peak is lost."""
    points = list(zip(xs, ys, strict=True))
    if len(points) <= limit:
        return points
    size = math.ceil(len(points) / max(1, limit // 2))
    kept: list[tuple[float, float]] = []
    for start in range(0, len(points), size):
        bucket = points[start : start + size]
        finite = [point for point in bucket if math.isfinite(point[1])]
        if not finite:
            kept.append(bucket[0])
            continue
        lowest, highest = min(finite, key=lambda p: p[1]), max(finite, key=lambda p: p[1])
        kept.extend(sorted({lowest, highest}))
    return kept


def _round_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1.0, 2.0, 2.5, 5.0, 10.0) if factor * power >= rough * (1 - 1e-9))
