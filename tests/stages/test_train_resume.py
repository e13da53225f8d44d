"""Killed anywhere and resumed, a run ends with the bytes of one that was never stopped."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from hicra_cli.core.progress import SilentProgress
from hicra_cli.core.registry import Registry
from hicra_cli.stages.base import execute
from hicra_cli.stages.train.run import STAGE
from tests.stages.runs import comparable_steps, digests, small_config

STEPS = 6


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    return outcome(tmp_path_factory.mktemp("straight"))


@pytest.mark.parametrize("moment", [1, 2])
def test_a_killed_run_resumes_to_the_same_bytes(tmp_path, straight, moment):
    assert kill_and_resume(tmp_path, random.Random(moment), signal.SIGKILL) == straight


@pytest.mark.slow
@pytest.mark.parametrize("moment", range(3, 11))
def test_a_run_killed_several_times_resumes_to_the_same_bytes(tmp_path, straight, moment):
    generator = random.Random(moment)
    for _ in range(2):
        interrupt(tmp_path, generator, signal.SIGKILL)
    assert outcome(tmp_path) == straight


def test_sigterm_keeps_the_finished_steps_and_exits_with_130(tmp_path, straight):
    process = start(tmp_path)
    wait_for_steps(tmp_path, 1, process)
    process.send_signal(signal.SIGTERM)
    _, talk = process.communicate(timeout=60)
    assert process.returncode == 130, talk
    assert "--resume" in talk
    kept = [line for path in tmp_path.glob("staging/*/files/steps.jsonl") for line in path.read_text().splitlines()]
    assert kept
    (checkpoint, *_) = sorted(tmp_path.glob("staging/*/files/checkpoints/step-*"), reverse=True)
    assert int(checkpoint.name.removeprefix("step-")) == len(kept)
    assert outcome(tmp_path) == straight


def kill_and_resume(home, generator, number):
    interrupt(home, generator, number)
    return outcome(home)


def interrupt(home, generator, number):
    """Start the run in a process and end it at a random moment after a random number of steps."""
    process = start(home)
    wait_for_steps(home, generator.randrange(STEPS), process)
    time.sleep(generator.random() * 0.5)
    process.send_signal(number)
    process.communicate(timeout=60)


def start(home):
    path = home / "config.json"
    path.write_text(configuration(home).model_dump_json())
    return subprocess.Popen(
        [sys.executable, "-m", "tests.stages.train_process", str(path)],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )


def wait_for_steps(home, count, process):
    deadline = time.monotonic() + 120
    while process.poll() is None:
        assert time.monotonic() < deadline, "the run made no progress"
        found = [path.read_bytes().count(b"\n") for path in home.glob("staging/*/files/steps.jsonl")]
        if found and max(found) >= count:
            return
        time.sleep(0.01)


def outcome(home):
    """Finish the run of `home` and return everything of it that must be reproducible."""
    with Registry.open(home) as registry:
        artifact = execute(STAGE, configuration(home), registry, SilentProgress(), resume=True).artifact
        policies = [registry.resolve(each["policy"]) for each in artifact.summary["policies"]]
        return (
            comparable_steps(artifact.path),
            digests(artifact.path, "rollouts/*"),
            [digests(policy.path, "*") for policy in policies],
        )


def configuration(home):
    return small_config(home, steps=STEPS)
