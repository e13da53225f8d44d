"""The report: one HTML page that needs nothing else, without script. A function of the diagnosis alone.

Jinja2 escapes everything but the drawings of `plots`; a content security policy forbids whatever could be fetched or
run; text of models goes through `visible` besides.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from hicra_cli.report.definitions import definitions
from hicra_cli.report.diagnosis import Diagnosis, GramUse, Run
from hicra_cli.report.pages import page_environment
from hicra_cli.report.plots import DYNAMICS, OVERLAID, factor, run_colour
from hicra_cli.report.scale import number
from hicra_cli.report.svg import figure_css
from hicra_cli.report.visible import pieces, visible

SAMPLE_CHARACTERS = 6000
GRAMS_SHOWN = 16

# Rows of the table "what changed": (name, series, unit of the shown number).
CHANGES = (
    ("Accuracy in training", "reward/accuracy", "%"),
    ("Solved by any of the group", "reward/pass_at_group", "%"),
    ("Response length", "response/length_mean_tokens", "tokens"),
    ("Responses cut off", "response/clipped_fraction", "%"),
    ("Planning tokens", "hicra/planning_fraction", "%"),
    ("Semantic entropy, plug-in", "hicra/semantic_entropy_nats", ""),
    ("Semantic entropy, rarefied", "hicra/semantic_entropy_rarefied_nats", ""),
    ("Conditional entropy, rarefied", "hicra/conditional_entropy_rarefied_nats", ""),
    ("Token entropy, planning", "policy/token_entropy_planning_nats", "nats"),
    ("Token entropy, execution", "policy/token_entropy_execution_nats", "nats"),
    ("Relative perplexity, planning", "policy/relative_perplexity_planning", "ratio"),
    ("Relative perplexity, execution", "policy/relative_perplexity_execution", "ratio"),
)


@dataclass(frozen=True, slots=True)
class Change:
    """A quantity at a run's two ends, in the unit it is shown in; nan where it was not measured."""

    first: float
    last: float

    @property
    def difference(self) -> float:
        return self.last - self.first

    @property
    def shown(self) -> tuple[str, str, str]:
        """First, last and difference with the same number of decimals: three digits of the larger end."""
        ends = [abs(value) for value in (self.first, self.last) if math.isfinite(value) and value]
        decimals = min(6, max(0, 2 - math.floor(math.log10(max(ends))))) if ends else 0
        first, last, difference = (_fixed(value, decimals) for value in (self.first, self.last, self.difference))
        return first, last, f"+{difference}" if self.difference > 0 else difference


def render(diagnosis: Diagnosis, drawings: Mapping[str, str]) -> str:
    """The page. drawings: the figures of `plots(diagnosis)`, by name."""
    environment = page_environment(number=number, percent=_percent, signed=_signed, visible=visible)
    return environment.get_template("report.html.j2").render(
        diagnosis=diagnosis,
        figures={name: Markup(svg) for name, svg in drawings.items()},  # drawn by us, texts escaped
        css=Markup(figure_css() + _page_css(environment)),
        columns=[column for column, _ in DYNAMICS],
        overlaid=[f"runs-{name}" for name, *_ in OVERLAID if f"runs-{name}" in drawings],
        changes=_changes(diagnosis),
        findings=[_finding(diagnosis, run) for run in diagnosis.runs],
        settings=_settings(diagnosis.runs),
        grams=[_gram_rows(run.grams) for run in diagnosis.runs],
        definitions=definitions(diagnosis),
        ks=sorted({k for row in diagnosis.evaluations for k in row.pass_at_k}, key=int),
        run_colour=run_colour,
        pieces=lambda sample: pieces(sample.text, sample.marks, limit=SAMPLE_CHARACTERS),
        sample_characters=SAMPLE_CHARACTERS,
        isfinite=math.isfinite,
    )


def change(run: Run, series: str, *, scale: float = 1.0) -> Change:
    """Means over the first and the last `run.edge` steps that were measured."""
    values = [value * scale for value in run.series.get(series, ()) if math.isfinite(value)]
    if not values:
        return Change(math.nan, math.nan)
    first, last = values[: run.edge], values[-run.edge :]
    return Change(math.fsum(first) / len(first), math.fsum(last) / len(last))


def _changes(diagnosis: Diagnosis) -> list[tuple[str, str, list[Change]]]:
    rows = []
    for name, series, unit in CHANGES:
        cells = [change(run, series, scale=factor(series, diagnosis)) for run in diagnosis.runs]
        if any(math.isfinite(cell.first) for cell in cells):
            rows.append((name, unit or diagnosis.unit, cells))
    return rows


def _finding(diagnosis: Diagnosis, run: Run) -> str:
    """What moved in one run, in a sentence of measured differences: no claim about why."""
    accuracy = change(run, "reward/accuracy", scale=100)
    share = change(run, "hicra/planning_fraction", scale=100)
    name = "hicra/semantic_entropy_rarefied_nats"
    how = "at equal sample size"
    semantic = change(run, name, scale=factor(name, diagnosis))
    if not math.isfinite(semantic.first):
        name, how = "hicra/semantic_entropy_nats", "plug-in, which also grows with the amount of text"
        semantic = change(run, name, scale=factor(name, diagnosis))
    entropy = change(run, "policy/token_entropy_nats")
    parts = [f"accuracy {number(accuracy.first)} % → {number(accuracy.last)} %"]
    if math.isfinite(share.first):
        parts.append(f"planning tokens {number(share.first)} % → {number(share.last)} %")
    if math.isfinite(semantic.first):
        parts.append(f"semantic entropy {_signed(semantic.difference)} {diagnosis.unit} ({how})")
    if math.isfinite(entropy.first):
        parts.append(f"token entropy {_signed(entropy.difference)} nats")
    return "; ".join(parts) + "."


def _settings(runs: Sequence[Run]) -> dict[str, list[tuple[str, list[str]]]]:
    """(setting, value per run) of the settings in which runs differ, and of those they share."""
    names = sorted({name for run in runs for name in run.settings})
    rows = [(name, [run.settings.get(name, "–") for run in runs]) for name in names]
    return {
        "differing": [row for row in rows if len(set(row[1])) > 1],
        "common": [row for row in rows if len(set(row[1])) == 1],
    }


def _gram_rows(grams: Sequence[GramUse]) -> dict[str, Any]:
    """The grams whose share moved most, with the scale of their bars, and how many others there are."""
    ranked = sorted(grams, key=lambda use: (-abs(use.last_share - use.first_share), use.gram))
    shown = sorted(ranked[:GRAMS_SHOWN], key=lambda use: (use.first_share - use.last_share, use.gram))
    largest = max((max(use.first_share, use.last_share) for use in shown), default=0.0)
    return {"shown": shown, "others": len(grams) - len(shown), "largest": largest or 1.0}


def _percent(value: float, digits: int = 1) -> str:
    return f"{100 * value:.{digits}f}".replace("-", "−") if math.isfinite(value) else "–"


def _fixed(value: float, decimals: int) -> str:
    text = f"{value:,.{decimals}f}" if math.isfinite(value) else "–"
    return text.removeprefix("-") if not text.strip("-0.") else text.replace("-", "−")


def _signed(value: float, digits: int = 3) -> str:
    text = number(value, digits=digits)
    return f"+{text}" if math.isfinite(value) and value > 0 else text


def _page_css(environment: Environment) -> str:
    return environment.get_template("report.css").render()
