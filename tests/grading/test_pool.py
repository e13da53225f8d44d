"""The pool of killable workers: real processes, hostile answers, deaths."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from hicra_cli.core.errors import RunError, UsageError
from hicra_cli.core.records import Outcome
from hicra_cli.grading import GradingPool, grade, grade_answer, shared
from hicra_cli.grading.equivalence import equal
from hicra_cli.grading.memory import Judgement, KnownPairs, Pair
from hicra_cli.grading.verdict_file import VerdictFile

UNREADABLE = "]x("
HANGING = r"\frac{" * 30 + r"\int_0^1 x dx" + "}{2}" * 30


def boxed(answer):
    return f"so \\boxed{{{answer}}}"


def integral(number):
    """An answer that equals `number` and needs algebra."""
    return f"\\int_0^{{{number}}} 1 \\,dx"


def test_the_answers_of_these_tests_need_algebra():
    assert [equal(each, "42") for each in (UNREADABLE, HANGING, integral(42))] == [None, None, None]


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
            ("so the answer is \\boxed{4", "42", False),
            ("so \\boxed{}", "42", True),
            (boxed("10000000!"), "42", False),
            (boxed(UNREADABLE), "x+42", False),
        ]
    )
    assert [each.outcome.value for each in verdicts] == [
        "correct",
        "wrong",
        "no_answer",
        "truncated",
        "correct",
        "unclosed",
        "no_answer",
        "over_limit",
        "unparsable",
    ]
    assert [each.reward for each in verdicts] == [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0]
    assert [each.answer for each in verdicts] == ["42", "41", None, None, "42", None, None, "10000000!", UNREADABLE]
    assert "factorial" in verdicts[7].detail
    assert "inside a box" in verdicts[3].detail


def test_verdicts_come_in_the_order_of_the_answers_with_several_workers():
    items = [(boxed(integral(number)), str(number % 7), False) for number in range(40)]
    with GradingPool(workers=2, timeout_s=20) as pool:
        verdicts = pool.grade_many(items)
    assert [each.outcome is Outcome.CORRECT for each in verdicts] == [number < 7 for number in range(40)]


def test_one_of_several_golds_suffices(pool):
    assert pool.grade_many([(boxed("7"), ["42", "7"], False)])[0].outcome is Outcome.CORRECT
    assert pool.grade_many([(boxed("x+1"), ["x", "1+x"], False)])[0].outcome is Outcome.CORRECT
    assert pool.grade_many([(boxed("8"), ["42", "7"], False)])[0].outcome is Outcome.WRONG
    assert pool.grade_many([(boxed("8"), [], False)])[0].outcome is Outcome.ERROR


def test_a_gold_in_a_box_is_what_the_box_holds(pool):
    assert outcome(pool, "7", "\\boxed{7}") is Outcome.CORRECT
    assert outcome(pool, "7", "we find $\\boxed{7}$.") is Outcome.CORRECT


def test_an_answer_may_stand_alone(pool):
    pairs = [("42", "42"), ("\\boxed{42}", "42"), ("41", "42"), (" ", "42"), (integral(5), ["x", "5"])]
    outcomes = [each.outcome.value for each in pool.grade_answers(pairs)]
    assert outcomes == ["correct", "correct", "wrong", "no_answer", "correct"]


def test_lenient_verdicts_say_so_and_equal_the_strict_ones_where_there_is_a_box(pool):
    items = [(boxed("41"), "42", False), ("The answer is 42.", "42", False), ("none", "42", True)]
    both = pool.grade_both(items)
    assert [(strict.outcome.value, lenient.outcome.value) for strict, lenient in both] == [
        ("wrong", "wrong"),
        ("no_answer", "correct"),
        ("truncated", "truncated"),
    ]
    assert both[1][1].detail == "lenient: found by phrase"
    assert pool.grade_many(items, mode="lenient") == [lenient for _, lenient in both]


def test_what_never_ends_is_a_timeout_and_the_next_answer_is_graded(pool):
    # The parser tries every reading of each fraction: 2^30 of them.
    start = time.monotonic()
    verdict = pool.grade_many([(boxed(HANGING), "42", False)])[0]
    assert (verdict.outcome, verdict.reward) == (Outcome.TIMEOUT, 0.0)
    assert time.monotonic() - start < 30
    assert outcome(pool, integral(8), "8") is Outcome.CORRECT


def test_what_timed_out_is_not_tried_again_by_the_same_pool_but_by_another(tmp_path):
    items = [(boxed(HANGING), "42", False)]
    with GradingPool(timeout_s=0.3, cache=tmp_path / "verdicts.db") as pool:
        first = pool.grade_many(items)
        assert first[0].outcome is Outcome.TIMEOUT
        assert pool._crew.workers == []  # it was killed, and no other one is started:
        assert pool.grade_many(items) == first
        assert pool._crew.workers == []
    assert VerdictFile(tmp_path / "verdicts.db").read([Pair(HANGING, "42")]) == {}


@pytest.mark.parametrize(
    "answer", [r"\binom{10^8}{10^7}", "(x+1)^{9999}", "2^{2^{2^{2^{2^{2}}}}}", "((10^{9999})^{9999})^{99}"]
)
def test_algebra_of_giants_ends_in_a_verdict(pool, answer):
    assert outcome(pool, answer, "x+42") in (Outcome.WRONG, Outcome.TIMEOUT, Outcome.ERROR, Outcome.OVER_LIMIT)


@pytest.mark.parametrize(
    "answer",
    ["9^{9^9}", "__import__('os').system('kill 0')", "1" * 1_000_000, "\x00\x1b[2J", "\ud800", "(" * 300, "\\" * 1000],
)
def test_hostile_text_gets_a_verdict(pool, answer):
    judged = pool.grade_many([(boxed(answer), "42", False)])
    assert [each.reward for each in judged] == [0.0]


def test_a_worker_that_is_killed_is_replaced(pool):
    assert outcome(pool, integral(11), "11") is Outcome.CORRECT
    os.kill(pool._crew.workers[0].process.pid, signal.SIGKILL)
    assert outcome(pool, integral(12), "12") is Outcome.CORRECT


def test_a_worker_killed_at_work_passes_its_answer_on(pool):
    assert outcome(pool, integral(13), "13") is Outcome.CORRECT
    process = pool._crew.workers[0].process.pid
    os.kill(process, signal.SIGSTOP)  # so that it is at work when it is killed
    threading.Timer(0.3, os.kill, (process, signal.SIGKILL)).start()
    assert outcome(pool, integral(14), "14") is Outcome.CORRECT


def test_a_worker_kept_from_the_processor_is_no_timeout(pool):
    # The clock is CPU time: a second and a half asleep is not more than the second of work it may do.
    assert outcome(pool, integral(15), "15") is Outcome.CORRECT
    assert outcome(pool, integral(16), "16") is Outcome.CORRECT
    process = pool._crew.workers[0].process.pid
    os.kill(process, signal.SIGSTOP)
    threading.Timer(1.5, os.kill, (process, signal.SIGCONT)).start()
    assert outcome(pool, integral(17), "17") is Outcome.CORRECT
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
    assert outcome(pool, integral(18), "18") is Outcome.CORRECT
    process = pool._crew.workers[0].process
    pool.close()
    pool.close()
    assert process.poll() is not None
    assert outcome(pool, integral(19), "19") is Outcome.CORRECT
    pool.close()


def test_workers_that_cannot_start_are_a_failure_not_zeros(monkeypatch):
    monkeypatch.setattr("sys.executable", "/bin/false")
    with GradingPool(workers=1) as pool, pytest.raises(RunError, match="do not start"):
        pool.grade_many([(boxed(integral(1)), "1", False)])


def test_a_fault_of_comparing_is_one_verdict(pool, monkeypatch):
    def broken(answer, gold):
        raise IndexError("string index out of range")

    monkeypatch.setattr("hicra_cli.grading.pool.equal", broken)
    verdict = pool.grade_many([(boxed("a fault"), "of ours", False)])[0]
    assert (verdict.outcome, verdict.detail) == (
        Outcome.ERROR,
        "comparing failed: IndexError: string index out of range",
    )


def test_what_algebra_decided_is_kept_in_a_file_for_other_processes(tmp_path):
    items = [(boxed(integral(9)), "9", False), (boxed(UNREADABLE), "x+42", False)]
    with GradingPool(cache=tmp_path / "verdicts.db") as pool:
        first = pool.grade_many(items)
        assert len(pool._crew.workers) == 1
    with GradingPool(cache=tmp_path / "verdicts.db") as pool:
        assert pool.grade_many(items) == first
        assert pool._crew.workers == []
        assert pool.cache_fault is None


def test_a_cache_that_is_something_else_is_refused(tmp_path):
    (tmp_path / "notes").write_text("not a database " * 100)
    with pytest.raises(UsageError, match="cannot be used"):
        GradingPool(cache=tmp_path / "notes")
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE mine (x)")
    other.close()
    with pytest.raises(UsageError, match="something else"):
        GradingPool(cache=tmp_path / "other.db")


def test_a_cache_that_fails_later_costs_time_not_verdicts(tmp_path):
    with GradingPool(cache=tmp_path / "verdicts.db") as pool:
        (tmp_path / "verdicts.db").write_text("overwritten " * 100)
        assert outcome(pool, UNREADABLE, "x+42") is Outcome.UNPARSABLE
        assert "cannot be read" in str(pool.cache_fault)


def test_several_processes_make_and_use_one_cache(tmp_path):
    program = (
        "import sys\nfrom pathlib import Path\nfrom hicra_cli.core.records import Outcome\n"
        "from hicra_cli.grading.memory import Judgement, Pair\n"
        "from hicra_cli.grading.verdict_file import VerdictFile\n"
        "file = VerdictFile(Path(sys.argv[1]))\n"
        "for n in range(25):\n"
        "    pair = Pair(str(n), sys.argv[2])\n"
        "    file.write({pair: Judgement(Outcome.WRONG)})\n"
        "    assert file.read([pair]), file.fault\n"
    )
    path = tmp_path / "verdicts.db"
    running = [subprocess.Popen([sys.executable, "-c", program, str(path), str(n)]) for n in range(4)]
    assert [process.wait(60) for process in running] == [0, 0, 0, 0]
    known = VerdictFile(path).read([Pair(str(n), str(gold)) for gold in range(4) for n in range(25)])
    assert len(known) == 100


def test_memory_of_comparisons_is_bounded():
    known = KnownPairs(capacity=3)
    for number in range(10):
        known.add(Pair(str(number), "g"), Judgement(Outcome.WRONG))
        known.get(Pair("0", "g"))
    known.add(Pair("x" * 1000, "g"), Judgement(Outcome.WRONG))
    assert len(known) == 3
    assert known.get(Pair("0", "g")) is not None  # used all the time
    assert known.get(Pair("5", "g")) is None


def test_grade_uses_one_worker_for_all_its_calls():
    assert grade(boxed(UNREADABLE), "x+41").outcome is Outcome.UNPARSABLE
    process = shared._pools[5.0]._crew.workers[0].process
    for number in range(3):
        assert grade_answer(UNREADABLE, f"x+4{number}").outcome is Outcome.UNPARSABLE
    assert shared._pools[5.0]._crew.workers[0].process is process


def test_grade_may_be_called_by_several_threads():
    answers = [(integral(4), "4"), (UNREADABLE, "x+42"), ("42", "42")] * 20
    with ThreadPoolExecutor(8) as threads:
        outcomes = list(threads.map(lambda pair: grade_answer(*pair).outcome, answers))
    assert outcomes == [Outcome.CORRECT, Outcome.UNPARSABLE, Outcome.CORRECT] * 20


def test_a_forked_child_of_a_grading_process_grades_too():
    program = (
        "import os\nfrom hicra_cli.grading import grade_answer\n"
        "assert grade_answer(']x(', 'x+1').outcome == 'unparsable'\n"
        "child = os.fork()\n"
        "assert grade_answer(']y(', 'y+1').outcome == 'unparsable'\n"
        "if child == 0: os._exit(0)\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
        "assert grade_answer(']z(', 'z+1').outcome == 'unparsable'\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")


def test_grade_judges_a_single_response():
    assert grade("The answer is 42.", "42", mode="lenient").outcome is Outcome.CORRECT
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


def test_a_sentence_for_a_formula_needs_no_algebra():
    with GradingPool() as pool:
        verdict = pool.grade_many([(boxed(r"f(x)=ax+b, where b is any integer with \mho(b)=0"), "f(x)=x+1", False)])[0]
        assert pool._crew.workers == []
    assert (verdict.outcome, verdict.reward) == (Outcome.UNPARSABLE, 0.0)
