"""`hicra quickstart`, small: all nine steps, the table, the report; interrupted and repeated."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands.run_hicra import clean_environment, document, hicra

SETTINGS = ("collect.num_prompts=64", "train.steps=3", "train.num_prompts=8", "eval.countdown_questions=32")
SMALL = ("quickstart", "--json", *(word for each in SETTINGS for word in ("--set", each)))


@pytest.mark.slow
def test_a_small_quickstart_interrupted_and_repeated_ends_with_table_and_report(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "hicra_cli", *SMALL],
        cwd=tmp_path,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    while "train-grpo" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 130, stderr
    done = document(subprocess.CompletedProcess([], 130, stdout, stderr))
    assert "Type the same command again" in done["error"]["fix"]

    found = document(hicra(*SMALL, cwd=tmp_path, check=0, timeout=1200))
    steps = found["data"]["steps"]
    assert [each["cached"] for each in steps] == [True] * 4 + [False] * 5
    learnt = found["data"]["learnt"]
    assert [each["policy"] for each in learnt] == ["nano (before)", "GRPO", "HICRA"]
    for each in learnt:
        assert 0 <= each["low"] <= each["average"] <= each["high"] <= 1
        assert each["mean_tokens"] > 0
        assert 0 < each["planning_fraction"] < 1
    assert learnt[0]["difference"] is None
    assert learnt[1]["difference"] == pytest.approx(learnt[1]["average"] - learnt[0]["average"])
    assert Path(found["data"]["report"]).is_file()

    again = hicra(*(word for word in SMALL if word != "--json"), cwd=tmp_path, check=0)
    assert again.stdout.count("cached") == 9
    assert "held-out problems" in again.stdout
    assert "Go on with a real model" in again.stdout
