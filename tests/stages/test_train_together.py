"""Two real processes: one fails, is interrupted or dies, and the other does not wait for it in vain."""

import json
import subprocess
import sys

import pytest

from tests.commands.run_hicra import ROOT, clean_environment
from tests.stages.together_process import LONG_S


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    folder = tmp_path_factory.mktemp("together")
    subprocess.run(
        [sys.executable, "-m", "tests.stages.together_process", folder],
        cwd=ROOT, env=clean_environment(OMP_NUM_THREADS="1"), timeout=150, check=True,
    )  # fmt: skip
    return lambda scenario, rank: json.loads((folder / f"{scenario}.{rank}.json").read_text())


def test_results_come_back_in_the_order_of_rank(said):
    assert said("both", 0)["result"] == said("both", 1)["result"] == [0, 10]


def test_a_failure_interrupts_the_work_of_the_others_and_all_raise_it(said):
    first, second = said("one_fails", 0), said("one_fails", 1)
    assert (first["kind"], first["what"], first["where"]) == ("data", "line 7 is no JSON", "worker 1: data.jsonl:7")
    assert second["where"] == "data.jsonl:7"
    assert first["seconds"] < LONG_S / 4


def test_a_signal_to_one_stops_both_at_once(said):
    for rank in (0, 1):
        assert said("one_is_interrupted", rank)["kind"] == "interrupted"
        assert said("one_is_interrupted", rank)["seconds"] < LONG_S / 4


def test_a_bug_keeps_its_traceback_where_it_happened_and_its_words_elsewhere(said):
    assert said("one_has_a_bug", 1)["kind"] == "ZeroDivisionError"
    first = said("one_has_a_bug", 0)
    assert (first["kind"], first["where"]) == ("run", "worker 1")
    assert first["what"].startswith("ZeroDivisionError")


def test_who_waits_for_a_worker_that_failed_gets_its_reason(said):
    assert said("one_fails_alone", 0)["what"] == "the disk of worker 1 is full"
    assert said("one_fails_alone", 0)["where"] == "worker 1"


def test_who_waits_for_a_worker_that_died_hears_so(said):
    assert said("one_is_gone", 0)["kind"] == "training"
    assert "lost another worker" in said("one_is_gone", 0)["what"]
    assert said("one_is_gone", 0)["seconds"] < 15


def test_a_signal_outside_of_own_work_waits_for_the_next_meeting(said):
    for rank in (0, 1):
        assert said("polled", rank)["kind"] == "interrupted"
