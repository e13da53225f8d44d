"""Every file in examples/ is run as its reader would run it."""

import os
import stat
import subprocess
import sys

import pytest

from tests.commands.run_hicra import ROOT, clean_environment, document, hicra

EXAMPLES = ROOT / "examples"


@pytest.fixture
def with_hicra(tmp_path):
    """An environment whose PATH has `hicra`."""
    command = tmp_path / "bin" / "hicra"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m hicra_cli "$@"\n')
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    return clean_environment(PATH=f"{command.parent}:{os.environ['PATH']}")


def test_every_example_is_run_by_a_test_of_this_file():
    assert {path.name for path in EXAMPLES.iterdir() if path.name != "__pycache__"} == {
        "accelerate_deepspeed.yaml",  # read in tests/config/test_deepspeed.py
        "accelerate_fsdp.yaml",  # used in tests/stages/test_train_parallel.py
        "alpha_sweep.yaml",  # read in tests/commands/test_pipeline.py
        "ci.sh",
        "grams_from_rollouts.yaml",  # run there
        "learning_table.py",
        "mask_in_your_trainer.py",
        "multi_node.sh",  # run in test_multi_node.py
        "python_api.py",
        "reward_function.py",  # run in tests/grading/test_functions_example.py
        "slurm.sbatch",  # run in test_multi_node.py
        "smollm2.py",  # run in test_smollm2.py
    }


def run_ci(environment, folder, floor):
    settings = {"STEPS": "2", "QUESTIONS": "16", "HICRA_TRAIN__NUM_PROMPTS": "4", "HICRA_EVAL__SAMPLES": "1"}
    return subprocess.run(
        ["bash", EXAMPLES / "ci.sh"],
        cwd=folder,
        env=environment | settings | {"FLOOR": floor},
        capture_output=True,
        text=True,
        timeout=290,
    )


def test_the_ci_script_trains_evaluates_reports_and_holds_the_floor(with_hicra, tmp_path):
    done = run_ci(with_hicra, tmp_path, "1.1")
    assert "below the floor of 110.0%" in done.stderr
    assert done.returncode == 1
    assert "policy:ci" in done.stdout
    assert (tmp_path / "hicra-ci.zip").is_file()


@pytest.mark.slow
def test_a_repeated_ci_job_finds_everything_published(with_hicra, tmp_path):
    first, again = (run_ci(with_hicra, tmp_path, "0") for _ in range(2))
    assert (first.returncode, again.returncode) == (0, 0), again.stderr
    assert first.stdout == again.stdout  # also the number of artifacts


def test_the_python_example_runs(tmp_path):
    done = subprocess.run(
        [sys.executable, EXAMPLES / "python_api.py", "home"],
        cwd=tmp_path, env=clean_environment(), capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "planning  +0.90" in done.stdout  # 0.75 + 0.2 * 0.75
    assert "execution +0.75" in done.stdout
    assert "training:api@v1 2 steps" in done.stdout


def test_the_mask_feeds_another_trainer(tmp_path):
    done = subprocess.run(
        [sys.executable, EXAMPLES / "mask_in_your_trainer.py", "1"],
        cwd=tmp_path, env=clean_environment(), capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "step 0: mean reward 0." in done.stdout
    assert " 0.0% planning tokens" not in done.stdout
    assert "strategic grams" in done.stdout


@pytest.mark.slow
def test_the_sweep_runs(tmp_path):
    small = ("train.steps=2", "train.num_prompts=4", "eval.countdown_questions=16")
    settings = [word for each in small for word in ("--set", each)]
    done = hicra("run", EXAMPLES / "alpha_sweep.yaml", *settings, "--json", cwd=tmp_path, check=0, timeout=1200)
    assert [each["ref"] for each in document(done)["artifacts"]][-1] == "diagnosis:alpha-sweep@v1"


@pytest.mark.slow
def test_the_learning_table_pairs_algorithms_by_seed(with_hicra, tmp_path):
    options = "--home home --seeds 0 1 --steps 2 --algos grpo placebo --questions 16 --quiet"
    done = subprocess.run(
        [sys.executable, EXAMPLES / "learning_table.py", *options.split()],
        cwd=tmp_path,
        env=with_hicra,
        capture_output=True,
        text=True,
        timeout=290,
    )
    assert done.returncode == 0, done.stderr
    rows = [line.split(" | ") for line in done.stdout.splitlines()]
    assert [row[0] for row in rows] == ["| 2 seeds", "| ---", "| grpo", "| placebo"]
    assert "(" in rows[3][2]  # the paired difference has an interval
