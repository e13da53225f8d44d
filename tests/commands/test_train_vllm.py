"""`hicra train --engine vllm` for real; `make test-vllm` builds the environment."""

import json
import subprocess
import sys

import pytest

from tests.commands.run_hicra import clean_environment, document, hicra

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(600)]


def test_a_short_training_samples_with_vllm_and_its_weights_follow_the_trainer(tmp_path):
    done = hicra(
        *("train", "-c", "quickstart", "--algo", "hicra", "--engine", "vllm", "--steps", "2", "--json"),
        *("--set", "train.num_prompts=4", "--set", "train.sampling.max_new_tokens=64"),
        cwd=tmp_path,
        check=0,
        timeout=500,
    )
    assert document(done)["artifacts"][0]["ref"] == "training:hicra@v1"
    (path,) = tmp_path.glob(".hicra/artifacts/training/hicra/*/steps.jsonl")
    steps = [json.loads(line) for line in path.read_text().splitlines()]
    assert [each["step"] for each in steps] == [1, 2]
    # a stale engine would be off by whole nats after the first update
    assert all(each["policy/probe_nats"] < 1e-3 for each in steps)
    assert all(each["policy/mismatch_max_nats"] is None or each["policy/mismatch_max_nats"] < 1e-3 for each in steps)


def test_two_processes_sample_with_an_engine_each(tmp_path):
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    small = ["--steps", "2", "--num-prompts", "2", "--max-new-tokens", "24", "--device", "cpu", "--json"]
    done = subprocess.run(
        [*launcher, "-m", "hicra_cli", "train", "-c", "quickstart", "--engine", "vllm", *small],
        cwd=tmp_path, env=clean_environment(OMP_NUM_THREADS="1", VLLM_CPU_OMP_THREADS_BIND="nobind"),
        capture_output=True, text=True, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert document(done)["artifacts"][0]["ref"] == "training:grpo@v1"
    assert "2 processes, each with a copy of the weights" in done.stderr
