"""`hicra eval` as a user runs it: plan, shards and merging, interruption and resuming, refusals."""

import json
import shutil
import signal
import subprocess
import sys
import time

import pytest

from tests.commands.run_hicra import clean_environment, document, hicra
from tests.stages.test_eval import config, evaluate

SMALL = ("--set", "eval.countdown_questions=6", "--samples", "2", "--max-new-tokens", "48", "--device", "cpu")


def evaluations(home):
    return sorted(path.name for path in home.glob("artifacts/evaluation/*"))


def test_a_dry_run_shows_the_prompt_and_the_tokens_and_writes_nothing(tmp_path):
    done = hicra("eval", "--home", "h", *SMALL, "--dry-run", "--json", cwd=tmp_path, check=0)
    (bench,) = document(done)["data"]["benchmarks"]
    assert (bench["name"], bench["questions"], bench["samples"], bench["too_long"]) == ("countdown", 6, 2, 0)
    assert bench["example"].startswith("<|user|>Use each of")
    assert bench["example"].endswith("<|assistant|>")
    assert bench["response_tokens"] == 6 * 2 * 48
    assert bench["longest_prompt"] <= bench["prompt_tokens"]
    assert not (tmp_path / "h").exists()


@pytest.mark.slow
def test_the_time_is_told_only_where_it_was_measured(tmp_path):
    plain = hicra("eval", "--home", "h", *SMALL, "--dry-run", cwd=tmp_path, check=0)
    assert "tokens/s" not in plain.stdout
    assert "first prompt of countdown" in plain.stdout
    probed = hicra("eval", "--home", "h", *SMALL, "--dry-run", "--probe", cwd=tmp_path, check=0)
    assert "measured:" in probed.stdout
    assert not (tmp_path / "h" / "registry.db").exists()
    refused = hicra("eval", "--home", "h", "--probe", cwd=tmp_path, check=2)
    assert "--dry-run" in refused.stderr


def test_shards_are_merged_from_the_command_line(tmp_path):
    home = tmp_path / "h"
    shards = [evaluate(config(home, shard=f"{number}/2")).artifact.ref for number in (1, 2)]
    missing = hicra("eval", "--home", "h", "--merge", shards[0], cwd=tmp_path, check=2)
    assert "2/2 are not given" in missing.stderr
    planned = hicra("eval", "--home", "h", "--merge", ",".join(shards), "--dry-run", cwd=tmp_path, check=0)
    assert "would publish evaluation:nano-countdown\n" in planned.stdout
    assert evaluations(home) == ["nano-countdown.shard-1-of-2", "nano-countdown.shard-2-of-2"]
    merged = document(
        hicra("eval", "--home", "h", "--merge", shards[1], "--merge", shards[0], "--json", cwd=tmp_path, check=0)
    )
    assert merged["artifacts"][0]["ref"] == "evaluation:nano-countdown@v1"
    assert merged["metrics"]["countdown/questions"] == 8


def test_a_thinking_switch_that_the_template_does_not_have_is_refused_with_the_reason(tmp_path):
    done = hicra("eval", "--home", "h", *SMALL, "--no-thinking", cwd=tmp_path, check=2)
    assert "does not read enable_thinking" in done.stderr


def test_the_thinking_switch_reaches_a_template_that_has_it(tmp_path, nano_path):
    policy = shutil.copytree(nano_path, tmp_path / "model")
    template = (policy / "chat_template.jinja").read_text()
    (policy / "chat_template.jinja").write_text(template + "{% if enable_thinking is false %}<quick>{% endif %}")
    done = hicra("eval", "--policy", "./model", *SMALL, "--no-thinking", "--dry-run", "--json", cwd=tmp_path, check=0)
    data = document(done)["data"]
    assert data["benchmarks"][0]["example"].endswith("<|assistant|><quick>")
    assert data["settings"]["task"]["template_options"] == {"enable_thinking": False}


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_interrupted_it_ends_soon_with_130_and_resumes_to_the_same_bytes(tmp_path, number):
    settings = ("--set", "eval.countdown_questions=60", "--samples", "4", "--device", "cpu", "--threads", "1")
    command = [sys.executable, "-m", "hicra_cli", "eval", "--home", "stopped", *settings]
    process = subprocess.Popen(
        command, cwd=tmp_path, env=clean_environment(), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    wait_for_samples(tmp_path / "stopped", process)
    process.send_signal(number)
    asked = time.monotonic()
    _, talk = process.communicate(timeout=60)
    assert process.returncode == 130, talk
    assert time.monotonic() - asked < 30
    assert "--resume" in talk
    resumed = hicra("eval", "--home", "stopped", *settings, "--resume", cwd=tmp_path, check=0)
    assert "samples of the interrupted run are kept" in resumed.stderr
    hicra("eval", "--home", "straight", *settings, cwd=tmp_path, check=0)
    for name in ("samples.jsonl", "summary.json"):
        (stopped,) = tmp_path.glob(f"stopped/artifacts/evaluation/*/*/{name}")
        (straight,) = tmp_path.glob(f"straight/artifacts/evaluation/*/*/{name}")
        assert stopped.read_bytes() == straight.read_bytes()
    rows = [json.loads(line) for line in stopped.with_name("samples.jsonl").read_text().splitlines()]
    assert len({(row["question"], row["sample"]) for row in rows}) == len(rows) == 240


def wait_for_samples(home, process):
    """Until a few samples are on disk."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        found = [path.read_bytes().count(b"\n") for path in home.glob("staging/*/files/sampled.jsonl")]
        if found and max(found) >= 3:
            return
        time.sleep(0.01)
    raise AssertionError("no sample came")
