"""`hicra train` through real processes: interrupted, it says how to go on, and goes on."""

import os
import signal
import subprocess
import sys

import pytest

from tests.commands.run_hicra import clean_environment, document, hicra

SMALL = (
    "train",
    "-c",
    "quickstart",
    "--steps",
    "4",
    "--num-prompts",
    "4",
    "--max-new-tokens",
    "40",
    "--save-every",
    "1",
)


@pytest.mark.slow
def test_an_interrupted_training_says_how_to_go_on_and_goes_on(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "hicra_cli", *SMALL, "--json"],
        cwd=tmp_path,
        env=clean_environment(OMP_NUM_THREADS="1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    staging = tmp_path / ".hicra" / "staging"
    while not any(path.stat().st_size for path in staging.glob("*/files/steps.jsonl")):
        assert process.poll() is None, process.communicate()
    process.send_signal(signal.SIGTERM)
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 130, stderr
    found = document(subprocess.CompletedProcess([], 130, stdout, stderr))
    assert found["error"]["fix"] == f"Go on with: hicra {' '.join(SMALL)} --json --resume"

    resumed = hicra(*SMALL, "--json", "--resume", cwd=tmp_path, check=0, OMP_NUM_THREADS="1")
    assert document(resumed)["artifacts"][0]["ref"] == "training:grpo@v1"
    assert "resumed after step" in resumed.stderr
    again = document(hicra(*SMALL, "--json", cwd=tmp_path, check=0))
    assert (again["cached"], again["run_id"]) == (True, document(resumed)["run_id"])
    assert os.listdir(staging) == []


def test_a_dry_run_shows_each_setting_on_a_line_of_its_own(tmp_path):
    done = hicra(*SMALL, "--dry-run", cwd=tmp_path, check=0)
    lines = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines() if line.strip()}
    assert lines["train.sampling.max_new_tokens"] == ["40"]
    assert lines["task.kind"] == ["countdown"]
    assert "{" not in done.stdout.partition("detail")[0].replace("\\boxed{}", "")


def test_a_folder_without_a_model_is_refused_and_leaves_no_draft(tmp_path):
    (tmp_path / "empty").mkdir()
    done = hicra("train", "--policy", "./empty", "--json", cwd=tmp_path)
    assert done.returncode in (2, 3)
    error = document(done)["error"]
    assert "empty" in error["what"] + str(error["where"])
    assert error["fix"]
    assert not any((tmp_path / ".hicra").glob("staging/*/files/*"))


def test_a_training_without_standard_streams_is_a_training(tmp_path):
    command = f"{sys.executable} -m hicra_cli {' '.join(SMALL)} --steps 1 <&- >&- 2>&-"
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, env=clean_environment(OMP_NUM_THREADS="1"), timeout=120
    )
    assert done.returncode == 0
    listed = document(hicra("artifacts", "list", "--json", cwd=tmp_path, check=0))
    assert "training:grpo@v1" in [each["ref"] for each in listed["artifacts"]]
