"""Real golds: each equals itself in every spelling, and none of its near misses. Needs --data-dir."""

import json
from functools import cache
from pathlib import Path

import pytest

from hicra_cli.core.records import Outcome
from hicra_cli.grading import GradingPool
from tests.grading.corpus.near_misses import near_misses
from tests.grading.corpus.spellings import spellings

BENCHMARKS = ("aime24", "aime25", "amc23", "amc22_23", "gsm8k", "math500", "minerva", "olympiad", "hmmt_24_25")
MIN_SPELLINGS = 10


@pytest.fixture(scope="module")
def pool():
    with GradingPool(workers=1) as pool:
        yield pool


@pytest.mark.parametrize("bench", BENCHMARKS)
def test_every_gold_equals_itself(data_dir, pool, bench):
    assert rejected(pool, [("itself", gold, gold) for gold in golds_of(data_dir, bench)]) == []


@pytest.mark.parametrize("bench", BENCHMARKS)
def test_every_gold_equals_its_spellings(data_dir, pool, bench):
    named = {gold: spellings(gold) for gold in golds_of(data_dir, bench)}
    assert [gold for gold, texts in named.items() if len(texts) < MIN_SPELLINGS] == []
    assert rejected(pool, [(name, text, gold) for gold in named for name, text in named[gold].items()]) == []


@pytest.mark.parametrize("bench", BENCHMARKS)
def test_no_gold_equals_a_near_miss(data_dir, pool, bench):
    misses = [(name, text, gold) for gold in golds_of(data_dir, bench) for name, text in near_misses(gold).items()]
    assert accepted(pool, misses) == []


@pytest.mark.parametrize("bench", BENCHMARKS)
def test_what_the_set_states_as_equal_is_equal(data_dir, pool, bench):
    stated = [("alternative", text, row["answer"]) for row in rows_of(data_dir, bench) for text in alternatives(row)]
    assert rejected(pool, stated) == []


def rejected(pool, named):
    return [each for each, outcome in zip(named, outcomes(pool, named), strict=True) if outcome is not Outcome.CORRECT]


def accepted(pool, named):
    return [each for each, outcome in zip(named, outcomes(pool, named), strict=True) if outcome is Outcome.CORRECT]


def outcomes(pool, named):
    verdicts = pool.grade_many([(f"so \\boxed{{{text}}}", gold, False) for _, text, gold in named])
    return [verdict.outcome for verdict in verdicts]


def golds_of(data_dir, bench):
    """The golds of a benchmark without repetitions, in their order."""
    return list(dict.fromkeys(row["answer"] for row in rows_of(data_dir, bench)))


def alternatives(row):
    """Equal forms that the set lists, and its gold in the spelling of upstream (dollars, full stops, leading zeros)."""
    raw = row.get("answer_raw")
    usable = [raw] if raw is not None and not set(row.get("flags", ())) & {"gold_repaired", "gold_prose"} else []
    return [*row.get("alternatives", ()), *usable]


@cache
def rows_of(data_dir: Path, bench: str):
    with (data_dir / "bench" / f"{bench}.jsonl").open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]
