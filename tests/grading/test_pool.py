"""The pool of killable workers: real processes, hostile answers, deaths."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from hicra_cli.core.errors import RunError
from hicra_cli.core.records import Outcome
from hicra_cli.grading import GradingPool, grade


def boxed(answer):
    return f"so \\boxed{{{answer}}}"


@pytest.fixture(scope="module")
def pool():
    with GradingPool(workers=1, timeout_s=1.0) as pool:
        yield pool


def outcome(pool, answer, gold="42"):
    return pool.grade_many([(boxed(answer), gold, False)])[0].outcome


def test_each_outcome_has_its_cause(pool):
    verdicts = pool.grade_many(
        [
            (boxed("42"), "42", False),
            (boxed("41"), "42", False),
            ("I do not know", "42", False),
            ("so the answer is \\boxed{4", "42", True),
            ("so \\boxed{42} and", "42", True),
            (boxed("10000000!"), "42", False),
        ]
    )
    assert [each.outcome.value for each in verdicts] == [
        "correct",
        "wrong",
        "no_answer",
        "truncated",
        "correct",
        "error",
    ]
    assert [each.reward for each in verdicts] == [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    assert [each.answer for each in verdicts] == ["42", "41", None, None, "42", "10000000!"]
    assert "factorial" in verdicts[5].detail


def test_verdicts_come_in_the_order_of_the_answers_with_several_workers():
    items = [(boxed(f"x+{number}"), f"{number % 7}+x", False) for number in range(40)]
    with GradingPool(workers=2, timeout_s=20) as pool:
        verdicts = pool.grade_many(items)
    assert [each.outcome is Outcome.CORRECT for each in verdicts] == [number < 7 for number in range(40)]


def test_one_of_several_golds_suffices(pool):
    assert pool.grade_many([(boxed("7"), ["42", "7"], False)])[0].outcome is Outcome.CORRECT
    assert pool.grade_many([(boxed("x+1"), ["x", "1+x"], False)])[0].outcome is Outcome.CORRECT
    assert pool.grade_many([(boxed("8"), ["42", "7"], False)])[0].outcome is Outcome.WRONG


def test_what_never_ends_is_a_timeout_and_the_next_answer_is_graded(pool):
    # The parser tries every reading of each fraction: 2^30 of them.
    start = time.monotonic()
    verdict = pool.grade_many([(boxed(r"\frac{" * 30 + "1" + "}{2}" * 30), "42", False)])[0]
    assert (verdict.outcome, verdict.reward) == (Outcome.TIMEOUT, 0.0)
    assert time.monotonic() - start < 30
    assert outcome(pool, "1+x", "x+1") is Outcome.CORRECT


@pytest.mark.parametrize(
    "answer", [r"\binom{10^8}{10^7}", "(x+1)^{9999}", "2^{2^{2^{2^{2^{2}}}}}", "((10^{9999})^{9999})^{99}"]
)
def test_algebra_of_giants_ends_in_a_verdict(pool, answer):
    assert outcome(pool, answer, "x+42") in (Outcome.WRONG, Outcome.TIMEOUT, Outcome.ERROR)


@pytest.mark.parametrize(
    "answer",
    ["9^{9^9}", "__import__('os').system('kill 0')", "1" * 1_000_000, "\x00\x1b[2J", "\ud800", "(" * 300, "\\" * 1000],
)
def test_hostile_text_gets_a_verdict(pool, answer):
    assert outcome(pool, answer) in (Outcome.WRONG, Outcome.ERROR, Outcome.NO_ANSWER)


def test_a_worker_that_is_killed_is_replaced(pool):
    assert outcome(pool, "x+1", "1+x") is Outcome.CORRECT
    os.kill(pool._crew.workers[0].process.pid, signal.SIGKILL)
    assert outcome(pool, "x+2", "2+x") is Outcome.CORRECT


def test_a_worker_killed_at_work_passes_its_answer_on(pool):
    assert outcome(pool, "x+1", "1+x") is Outcome.CORRECT
    process = pool._crew.workers[0].process.pid
    os.kill(process, signal.SIGSTOP)  # so that it is at work when it is killed
    threading.Timer(0.3, os.kill, (process, signal.SIGKILL)).start()
    assert outcome(pool, "x+3", "3+x") is Outcome.CORRECT


def test_a_worker_kept_from_the_processor_is_no_timeout(pool):
    # The clock is CPU time: a second and a half asleep is not more than the second of work it may do.
    assert outcome(pool, "x+1", "1+x") is Outcome.CORRECT
    assert outcome(pool, "y+1", "1+y") is Outcome.CORRECT
    process = pool._crew.workers[0].process.pid
    os.kill(process, signal.SIGSTOP)
    threading.Timer(1.5, os.kill, (process, signal.SIGCONT)).start()
    assert outcome(pool, "x+4", "4+x") is Outcome.CORRECT
    assert pool._crew.workers[0].process.pid == process


def test_memory_of_a_worker_is_bounded():
    # Sixteen gigabytes are asked for inside a worker's own limits.
    program = (
        "from hicra_cli.grading.serving import limit_memory\nlimit_memory(1 << 30)\nprint('limited')\nbytes(16 << 30)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert "limited" in done.stdout
    assert "MemoryError" in done.stderr


def test_exact_answers_start_no_process():
    with GradingPool(workers=4) as pool:
        assert outcome(pool, "42") is Outcome.CORRECT
        assert outcome(pool, "41") is Outcome.WRONG
        assert pool._crew.workers == []


def test_closing_ends_the_processes_and_grading_again_starts_new_ones():
    pool = GradingPool(workers=1)
    assert outcome(pool, "x+1", "1+x") is Outcome.CORRECT
    process = pool._crew.workers[0].process
    pool.close()
    pool.close()
    assert process.poll() is not None
    assert outcome(pool, "x+5", "5+x") is Outcome.CORRECT
    pool.close()


def test_workers_that_cannot_start_are_a_failure_not_zeros(monkeypatch):
    monkeypatch.setattr("sys.executable", "/bin/false")
    with GradingPool(workers=1) as pool, pytest.raises(RunError, match="do not start"):
        pool.grade_many([(boxed("x+1"), "1+x", False)])


def test_grade_judges_a_single_response():
    assert grade(boxed(r"\frac{1}{2}"), "0.5").outcome is Outcome.CORRECT
    assert grade(boxed("x+1"), "1+x").outcome is Outcome.CORRECT
    assert grade("", "42", truncated=True).outcome is Outcome.TRUNCATED


@pytest.mark.parametrize(
    "bench", ["math500", "minerva", "olympiad", "aime24", "aime25", "amc23", "gsm8k", "hmmt_24_25"]
)
def test_every_real_gold_equals_itself(data_dir, pool, bench):
    from hicra_cli.tasks.benchmarks import load_benchmark

    prompts = load_benchmark(bench, data_dir=data_dir).prompts
    verdicts = pool.grade_many([(boxed(prompt.answer), prompt.answer, False) for prompt in prompts])
    assert [
        (prompt.answer, verdict)
        for prompt, verdict in zip(prompts, verdicts, strict=True)
        if verdict.outcome is not Outcome.CORRECT
    ] == []
