"""Memory of an evaluation grows with the number of samples, not with what they say."""

import json
import subprocess
import sys

import pytest

BYTES_PER_SAMPLE = 1500  # names, places and scores; measured: 800 for 100,000 samples of 3,500 bytes each
ALLOWANCE_BYTES = 30 << 20  # what an allocator keeps, of whatever size the run


def growth(folder, questions):
    """Figures of a run of 50 samples for each of so many questions, and by how much memory grew in it."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.stages.eval_memory_process", str(folder), str(questions)],
        capture_output=True,
        text=True,
        timeout=280,
        check=True,
    )
    figures = json.loads(done.stdout)
    return figures, figures["peak"] - figures["before"]


def test_memory_does_not_hold_the_texts(tmp_path):
    figures, grown = growth(tmp_path, 400)
    assert figures["log_bytes"] > 60 << 20
    assert grown < 20_000 * BYTES_PER_SAMPLE + ALLOWANCE_BYTES
    assert sorted(path.name for path in tmp_path.iterdir()) == ["samples.jsonl", "summary.json"]


@pytest.mark.slow
def test_100_000_samples_are_graded_and_summarised_in_bounded_memory(tmp_path):
    figures, grown = growth(tmp_path, 2000)
    assert figures["samples"] == 100_000
    assert figures["average"] == 0.5  # every second answer is off by one
    assert figures["log_bytes"] > 300 << 20
    assert grown < 100_000 * BYTES_PER_SAMPLE
