"""Which figures a diagnosis has: the paper's figure 3 for each run, all runs overlaid, and the evaluations."""

import math
from collections.abc import Sequence

from hicra_cli.report.diagnosis import Diagnosis, Run
from hicra_cli.report.dotplot import Interval, interval_figure
from hicra_cli.report.figures import Line, Panel, figure
from hicra_cli.report.scale import value_range
from hicra_cli.report.visible import visible

TALL = 330
SHORT = 216
NUM_RUN_COLOURS = 6

# The columns of the paper's figure 3: (column, [(title, unit, [(label, colour, series)])]).
Curve = tuple[str, str, str]
Axes = tuple[str, str, tuple[Curve, ...]]
DYNAMICS: tuple[tuple[str, tuple[Axes, ...]], ...] = (
    (
        "perplexity",
        (
            (
                "Relative perplexity",
                "÷ first step",
                (
                    ("planning", "planning", "policy/relative_perplexity_planning"),
                    ("execution", "execution", "policy/relative_perplexity_execution"),
                ),
            ),
        ),
    ),
    (
        "token-entropy",
        (
            (
                "Token entropy",
                "nats",
                (
                    ("planning", "planning", "policy/token_entropy_planning_nats"),
                    ("execution", "execution", "policy/token_entropy_execution_nats"),
                ),
            ),
        ),
    ),
    (
        "semantic-entropy",
        (
            (
                "Semantic entropy",
                "",
                (
                    ("plug-in", "semantic", "hicra/semantic_entropy_nats"),
                    ("rarefied", "muted", "hicra/semantic_entropy_rarefied_nats"),
                ),
            ),
            (
                "Conditional entropy",
                "",
                (
                    ("plug-in", "conditional", "hicra/conditional_entropy_nats"),
                    ("rarefied", "muted", "hicra/conditional_entropy_rarefied_nats"),
                ),
            ),
        ),
    ),
    (
        "accuracy-length",
        (
            ("Accuracy", "%", (("training", "accuracy", "reward/accuracy"),)),
            ("Response length", "tokens", (("training", "accuracy", "response/length_mean_tokens"),)),
        ),
    ),
)

OVERLAID: tuple[tuple[str, str, str, str], ...] = (
    ("accuracy", "Accuracy", "%", "reward/accuracy"),
    ("pass", "Solved by any of the group", "%", "reward/pass_at_group"),
    ("length", "Response length", "tokens", "response/length_mean_tokens"),
    ("planning-share", "Planning tokens", "% of response", "hicra/planning_fraction"),
    ("semantic-rarefied", "Semantic entropy, rarefied", "", "hicra/semantic_entropy_rarefied_nats"),
    ("semantic-normalised", "Semantic entropy, normalised", "", "hicra/semantic_entropy_normalised"),
    ("conditional-rarefied", "Conditional entropy, rarefied", "", "hicra/conditional_entropy_rarefied_nats"),
    ("entropy", "Token entropy, all tokens", "nats", "policy/token_entropy_nats"),
    ("clusters", "Semantic entropy, by cluster", "", "hicra/semantic_entropy_cluster_rarefied_nats"),
)


def plots(diagnosis: Diagnosis) -> dict[str, str]:
    """Name -> SVG: `dynamics-<run>-<column>`, `runs-<quantity>`, `evaluation`. Figures without data are left out."""
    drawn: dict[str, str] = {}
    for index, run in enumerate(diagnosis.runs):
        for column, axes in DYNAMICS:
            panels = [_dynamics_panel(diagnosis, run, one) for one in axes]
            drawn[f"dynamics-{index}-{column}"] = figure(panels, name=f"dynamics-{index}-{column}", height=TALL)
    for name, title, unit, series in OVERLAID:
        lines = _run_lines(diagnosis, series)
        if any(math.isfinite(value) for line in lines for value in line.ys):
            panel = Panel(title, unit or _unit(series, diagnosis), lines)
            drawn[f"runs-{name}"] = figure([panel], name=f"runs-{name}", height=SHORT)
    if diagnosis.evaluations:
        drawn["evaluation"] = interval_figure(
            _intervals(diagnosis), name="evaluation", title="Accuracy by benchmark with 95 % intervals"
        )
    return drawn


def factor(series: str, diagnosis: Diagnosis) -> float:
    """What a series is multiplied by to be shown: shares in percent, semantic and conditional entropy in its unit."""
    if series.endswith("_fraction") or series.startswith("reward/"):
        return 100.0
    if series.startswith("hicra/") and series.endswith("_nats") and diagnosis.unit == "bits":
        return 1 / math.log(2)
    return 1.0


def run_colour(index: int) -> str:
    """The CSS variable of a run's colour, the same in every figure and table."""
    return f"run-{index % NUM_RUN_COLOURS}"


def _dynamics_panel(diagnosis: Diagnosis, run: Run, axes: Axes) -> Panel:
    title, unit, curves = axes
    lines = [_line(diagnosis, run, curve) for curve in curves]
    if title == "Accuracy":
        lines += _validation(run)
    return Panel(title, unit or _unit(curves[0][2], diagnosis), tuple(lines), y_range=_common_range(diagnosis, axes))


def _common_range(diagnosis: Diagnosis, axes: Axes) -> tuple[float, float]:
    """One value axis for all runs, so that rows can be compared by eye."""
    title, _, curves = axes
    values = [value for run in diagnosis.runs for curve in curves for value in _line(diagnosis, run, curve).ys]
    if title == "Accuracy":
        values += [value for run in diagnosis.runs for line in _validation(run) for value in (*line.low, *line.high)]
    return value_range(values)


def _line(diagnosis: Diagnosis, run: Run, curve: Curve) -> Line:
    label, colour, series = curve
    scale = factor(series, diagnosis)
    values = run.series.get(series, [math.nan] * len(run.steps))
    return Line(label, colour, tuple(map(float, run.steps)), tuple(value * scale for value in values))


def _validation(run: Run) -> list[Line]:
    """Accuracy on held-out problems, measured while the run went on, in percent."""
    if not run.validation:
        return []
    steps, values, lows, highs = zip(*run.validation, strict=True)
    percent = [tuple(100 * value for value in column) for column in (values, lows, highs)]
    return [Line("held-out", "held-out", tuple(map(float, steps)), percent[0], low=percent[1], high=percent[2])]


def _run_lines(diagnosis: Diagnosis, series: str) -> tuple[Line, ...]:
    return tuple(
        _line(diagnosis, run, (run.label, run_colour(index), series)) for index, run in enumerate(diagnosis.runs)
    )


def _unit(series: str, diagnosis: Diagnosis) -> str:
    return diagnosis.unit if series.endswith("_nats") else "÷ its maximum"


def _intervals(diagnosis: Diagnosis) -> Sequence[Interval]:
    labels = [run.label for run in diagnosis.runs]
    return [
        Interval(
            visible(row.bench),
            visible(row.policy),
            row.average,
            row.low,
            row.high,
            run_colour(labels.index(row.run)) if row.run in labels else "muted",
        )
        for row in diagnosis.evaluations
    ]
