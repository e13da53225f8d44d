"""What a diagnosis is: plain records that hold every number of the report, written as `diagnosis.json`.

The page, the tables and the figures are functions of these records alone. nan becomes null in the JSON.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Literal

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Rarefaction:
    """Sample sizes that make windows comparable: occurrences of grams, and outcomes after them; 0 is none."""

    floor: int
    occurrences: int
    pairs: int


@dataclass(frozen=True, slots=True)
class GramSetFacts:
    """The gram-set that was counted: its reference and digest, how many grams, by move, in how many clusters."""

    ref: str
    digest: str
    num_grams: int
    num_clusters: int
    moves: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class GramUse:
    """How often a gram was used at the run's two ends: its share of all occurrences in the first and last steps."""

    gram: str
    move: str
    occurrences: int
    first_share: float
    last_share: float


@dataclass(frozen=True, slots=True)
class Mark:
    """An occurrence in a sample's text: characters [start, end), the gram and its move."""

    start: int
    end: int
    gram: str
    move: str


@dataclass(frozen=True, slots=True)
class Sample:
    """A rollout shown in the report."""

    step: int
    prompt_id: str
    sample: int
    prompt: str
    text: str
    outcome: str
    num_tokens: int
    planning_fraction: float
    marks: tuple[Mark, ...]


@dataclass(frozen=True, slots=True)
class Check:
    """A recorded number against the recomputed one: the largest difference over `steps` steps, and where it is."""

    name: str
    steps: int
    largest: float
    at_step: int
    tolerance: float

    @property
    def passed(self) -> bool:
        return self.largest <= self.tolerance


@dataclass(frozen=True, slots=True)
class Run:
    """One training run: what it was, its curves, its validation, examples, and whether its record holds.

    series: name -> one value per entry of `steps`. validation: rows of (step, accuracy, low, high) measured while
    the run went on. edge: number of steps that "first" and "last" average over.
    """

    ref: str
    label: str
    digest: str
    facts: Mapping[str, str]
    settings: Mapping[str, str]
    steps: tuple[int, ...]
    edge: int
    series: Mapping[str, list[float]]
    validation: tuple[tuple[int, float, float, float], ...]
    grams: tuple[GramUse, ...]
    samples: tuple[Sample, ...]
    checks: tuple[Check, ...]


@dataclass(frozen=True, slots=True)
class EvaluationRow:
    """A policy on one benchmark. Shares in [0, 1]; low and high are the 95 % interval; nan is unknown.

    run: label of the run that made the policy, empty for others. difference: to the first evaluation of the same
    benchmark, with its interval over the same questions.
    """

    bench: str
    ref: str
    policy: str
    run: str
    questions: int
    samples: int
    average: float
    low: float
    high: float
    pass_at_k: Mapping[str, float]
    truncated_fraction: float
    mean_tokens: float
    difference: float = math.nan
    difference_low: float = math.nan
    difference_high: float = math.nan


@dataclass(frozen=True, slots=True)
class LineageLine:
    """One line of the tree above a run: how deep, the role it played, its reference and digest."""

    depth: int
    role: str
    ref: str
    digest: str


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Everything a report says."""

    title: str
    unit: Literal["nats", "bits"]
    window: int
    following_words: int
    gram_set: GramSetFacts | None
    rarefaction: Rarefaction
    runs: tuple[Run, ...]
    evaluations: tuple[EvaluationRow, ...]
    lineage: tuple[LineageLine, ...]
    notes: tuple[str, ...]
    hicra_version: str
    schema: int = field(default=SCHEMA)


def to_json(diagnosis: Diagnosis) -> str:
    """The diagnosis as JSON: ASCII only, keys sorted, nan and infinities as null, one final line break."""
    return json.dumps(_plain(diagnosis), sort_keys=True, indent=1, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
