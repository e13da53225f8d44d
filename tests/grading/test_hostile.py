"""Hostile answers: each gets a verdict and none is taken for the gold; nothing runs, grows or stops the rest."""

import os
import resource
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hicra_cli.core.records import Outcome
from hicra_cli.grading import GradingPool
from hicra_cli.grading.equivalence import equal, over_limit
from tests.grading.corpus import hostile

TIMEOUT_S = 0.5
MEMORY_MIB = 64
START_MIB = 150  # what sympy and math-verify take before any work; 77 measured
UNDECIDED = r"\int_0^1 q(x)\,dx+1"  # a gold that exact forms leave to algebra
GOLDS = ("42", "x+42", r"1\pm\sqrt{2}", r"\{1,2\}", "0.42", r"\text{no solution}", "(0,42]")
REFUSALS = set(Outcome) - {Outcome.CORRECT}


@pytest.fixture(scope="module")
def pool():
    with GradingPool(workers=1, timeout_s=TIMEOUT_S, memory_mib=MEMORY_MIB) as pool:
        yield pool


@pytest.mark.parametrize("texts", [hostile.giants, hostile.formulas, hostile.characters])
def test_each_hostile_answer_gets_a_verdict_that_is_not_correct(pool, texts):
    named = texts()
    verdicts = pool.grade_many([(boxed(text), "42", False) for text in named.values()])
    assert len(verdicts) == len(named)
    accepted = [name for name, verdict in zip(named, verdicts, strict=True) if verdict.outcome not in REFUSALS]
    assert accepted == []


@pytest.mark.parametrize("gold", GOLDS)
def test_exact_forms_neither_raise_nor_accept(gold):
    texts = hostile.giants() | hostile.formulas() | hostile.endless() | hostile.characters()
    assert [name for name, text in texts.items() if over_limit(text) is None and equal(text, gold) is True] == []
    assert [name for name, text in texts.items() if over_limit(text) is None and equal(gold, text) is True] == []


def test_a_hostile_gold_is_no_crash_either(pool):
    golds = [*hostile.giants().values(), *hostile.formulas().values(), *hostile.characters().values()]
    verdicts = pool.grade_many([(boxed("42"), gold, False) for gold in golds])
    assert [each.outcome for each in verdicts if each.outcome not in REFUSALS] == []


def test_nothing_in_an_answer_is_run(pool, tmp_path):
    marker = tmp_path / "marker"
    texts = hostile.code(str(marker))
    # against a number, and against a formula so that the algebra of the workers sees them, too
    for gold in ("42", "x+y", "x"):
        verdicts = pool.grade_many([(boxed(text), gold, False) for text in texts.values()])
        accepted = [name for name, verdict in zip(texts, verdicts, strict=True) if verdict.outcome not in REFUSALS]
        assert accepted == []
    assert list(tmp_path.iterdir()) == []


def test_digits_of_other_scripts_get_some_verdict(pool):
    texts = hostile.digits_of_other_scripts()
    verdicts = pool.grade_many([(boxed(text), "42", False) for text in texts.values()])
    assert {each.outcome for each in verdicts} <= {Outcome.CORRECT, Outcome.WRONG, Outcome.UNPARSABLE}


def test_ordinary_answers_between_hostile_ones_are_graded_as_ever(pool):
    # 300 ordinary answers, every third is wrong; two of the hostile ones cost their whole time, and a worker each
    texts = [*hostile.formulas().values(), *hostile.code("/nonexistent/marker").values(), *hostile.giants().values()]
    hostiles = [(boxed(text), "42", False) for text in [*texts, *list(hostile.endless().values())[:2]]]
    ordinary = [(boxed(f"{number}+y^2"), f"y^2+{number if number % 3 else number + 1}", False) for number in range(300)]
    mixed = ordinary[:150] + hostiles + ordinary[150:]
    verdicts = pool.grade_many(mixed)
    graded = verdicts[:150] + verdicts[-150:]
    assert [verdict.outcome is Outcome.CORRECT for verdict in graded] == [number % 3 != 0 for number in range(300)]


def test_an_answer_that_needs_too_much_memory_is_refused_and_the_next_is_graded(pool):
    with Watch(pool) as watch:
        verdicts = pool.grade_many([(boxed("(x+y+z+w)^{500}"), UNDECIDED, False), (boxed("x+1"), "1+x", False)])
    assert [verdict.outcome for verdict in verdicts] in (
        [Outcome.ERROR, Outcome.CORRECT],  # memory first
        [Outcome.TIMEOUT, Outcome.CORRECT],  # time first, on a slow machine
    )
    assert 0 < watch.peak_mib < START_MIB + MEMORY_MIB


@pytest.mark.slow
def test_memory_stays_bounded_whatever_is_answered(pool):
    bombs = [*hostile.formulas().values(), *hostile.endless().values(), *hostile.giants().values()]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with Watch(pool) as watch:
        for gold in (UNDECIDED, "42"):
            assert {
                each.outcome for each in pool.grade_many([(boxed(text), gold, False) for text in bombs])
            } <= REFUSALS
    assert 0 < watch.peak_mib < START_MIB + MEMORY_MIB
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < 4 * MEMORY_MIB


@pytest.mark.parametrize(
    ("response", "outcome"),
    [
        (r"\boxed{41}" * 50_000 + r"\boxed{42}", Outcome.CORRECT),
        (r"\boxed{42}" * 50_000 + r"\boxed{41}", Outcome.WRONG),
        (r"\boxed{42}" + "word " * 400_000, Outcome.CORRECT),
        ("word " * 400_000 + r"\boxed{42}", Outcome.CORRECT),
        (r"\boxed{" * 100_000, Outcome.UNCLOSED),
        (r"\boxed{" * 100_000 + "42" + "}" * 100_000, Outcome.CORRECT),
        (r"\boxed{\boxed{42}}", Outcome.CORRECT),
        (r"\boxed{\text{so } \boxed{42}}", Outcome.CORRECT),
        (r"\boxed{41} \boxed{42}", Outcome.CORRECT),
        (r"\boxed{42} \boxed{4", Outcome.CORRECT),
        (r"\boxed{42}}}}}", Outcome.CORRECT),
        ("}}}}" + r"\boxed{42}", Outcome.CORRECT),
        (r"\boxed{4{2}", Outcome.UNCLOSED),
        (r"\boxed{42", Outcome.UNCLOSED),
        (r"\boxed", Outcome.NO_ANSWER),
        (r"\boxed{}", Outcome.NO_ANSWER),
        (r"\boxed{ }", Outcome.NO_ANSWER),
        (r"\boxed {42}", Outcome.CORRECT),
        (r"\fbox{42}", Outcome.CORRECT),
        (r"\\boxed{42}", Outcome.CORRECT),
        ("\\boxed\n{42}", Outcome.CORRECT),
        (r"\boxed{42}<think>\boxed{41}", Outcome.WRONG),
        (r"<think>\boxed{42}</think> no box", Outcome.NO_ANSWER),
        (r"<think>\boxed{41}</think>\boxed{42}", Outcome.CORRECT),
        ("\x00" * 100_000 + r"\boxed{42}", Outcome.CORRECT),
        ("\ud800" + r"\boxed{42}", Outcome.CORRECT),
        (r"42 \boxedd{42} \box{42} boxed{42}", Outcome.NO_ANSWER),
        ("", Outcome.NO_ANSWER),
    ],
)
def test_boxes_are_found_in_any_text(pool, response, outcome):
    assert pool.grade_many([(response, "42", False)])[0].outcome is outcome


@settings(deadline=None)
@given(st.text(max_size=400), st.sampled_from(GOLDS))
def test_no_text_is_a_crash(text, gold):
    assert equal(text, gold) in (True, False, None)
    assert equal(gold, text) in (True, False, None)


LATEX = st.sampled_from(
    [
        *"0123456789xyinek+-*/^_{}()[]|!,;:.=<>%$&'~ ", "e^{", "½", "²",
        r"\frac", r"\sqrt", r"\pm", r"\pi", r"\infty", r"\cup", r"\le", r"\ne", r"\{", r"\}", r"\left", r"\right",
        r"\text{", r"\binom", r"\log", r"\sin", r"\in", r"\circ", r"\%", r"\$", r"\\", r"\cdot", r"\begin{pmatrix}",
        r"\end{pmatrix}", r"\lfloor", r"\rfloor", r"\sum", r"\int", r"\mathbb{R}", r"\emptyset",
    ]
)  # fmt: skip


@settings(deadline=None)
@given(st.lists(LATEX, max_size=40).map("".join), st.lists(LATEX, max_size=40).map("".join))
def test_no_formula_is_a_crash(answer, gold):
    assert equal(answer, gold) in (True, False, None)


class Watch:
    """Samples the resident memory of a pool's workers while it works."""

    def __init__(self, pool):
        self.peak_mib = 0.0
        self._pool = pool
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._done.set()
        self._thread.join()

    def _sample(self):
        while not self._done.is_set():
            for worker in list(self._pool._crew.workers):
                self.peak_mib = max(self.peak_mib, resident_mib(worker.process.pid))
            time.sleep(0.02)


def resident_mib(process: int) -> float:
    """Zero for a process that has just ended."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def boxed(answer: str) -> str:
    return f"so \\boxed{{{answer}}}"
