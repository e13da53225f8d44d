"""`hicra train` by several processes: equal bytes after a stop, one voice, one publisher, and an end that says why."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import load_file

from hicra_cli.core.progress import SilentProgress
from hicra_cli.core.registry import Registry
from hicra_cli.stages.base import execute
from hicra_cli.stages.train.run import STAGE
from tests.commands.run_hicra import ROOT, clean_environment, document
from tests.stages.parallel_runs import OPTIONS, STEPS
from tests.stages.runs import comparable_steps, digests, small_config

LAYOUTS = ("ddp", "fsdp")


def runs(folder, layout, *scenarios):
    done = subprocess.run(
        [sys.executable, "-m", "tests.stages.parallel_runs", folder, layout, *scenarios],
        cwd=ROOT, env=clean_environment(OMP_NUM_THREADS="1"), capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    return runs(tmp_path_factory.mktemp("ddp"), "ddp", "straight", "stopped", "again")


@pytest.fixture(scope="module")
def sharded(tmp_path_factory):
    return runs(tmp_path_factory.mktemp("fsdp"), "fsdp", "straight", "stopped")


@pytest.fixture(params=["ddp", pytest.param("fsdp", marks=pytest.mark.slow)])
def folder(request):
    """Two processes, once straight and once stopped by SIGTERM and resumed."""
    return request.getfixturevalue("copied" if request.param == "ddp" else "sharded")


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The same run by one process."""
    home = tmp_path_factory.mktemp("alone")
    config = small_config(home, steps=STEPS, eval_every=3, eval_prompts=5, eval_samples=2)
    with Registry.open(home) as registry:
        execute(STAGE, config, registry, SilentProgress())
    return outcome(home)


def test_a_run_of_two_processes_stopped_and_resumed_ends_with_the_bytes_of_a_straight_one(folder):
    assert codes(folder, "straight") == codes(folder, "resumed-2") == [0, 0]
    straight, resumed = outcome(folder / "straight.home"), outcome(folder / "resumed-2.home")
    assert resumed.steps == straight.steps
    assert resumed.rollouts == straight.rollouts
    assert [digests(path, "*") for path in resumed.policies] == [digests(path, "*") for path in straight.policies]


def test_sigterm_ends_all_with_130_and_the_steps_done_are_in_a_checkpoint(folder):
    assert codes(folder, "stopped") == [130, 130]
    assert "Go on with: the same launcher and hicra train" in said(folder, "stopped", 0)["error"]["fix"]
    (checkpoint,) = sorted(folder.glob("stopped.home/staging/*/files/checkpoints/step-*"))[-1:]
    steps = next(folder.glob("stopped.home/staging/*/files/steps.jsonl")).read_text().splitlines()
    assert int(checkpoint.name.removeprefix("step-")) == len(steps) >= 3


def test_the_first_process_alone_speaks_and_publishes(folder):
    assert said(folder, "straight", 0)["artifacts"][0]["ref"] == "training:hicra@v1"
    for name in ("straight", "stopped", "resumed-2"):
        assert (folder / f"{name}.1.out").read_text() == (folder / f"{name}.1.err").read_text() == ""
    with Registry.open(folder / "straight.home") as registry:
        assert [each.ref for each in registry.list("training")] == ["training:hicra@v1"]
        assert sorted(each.version for each in registry.list("policy")) == [1, 2, 3]
    assert not any((folder / "straight.home" / "staging").iterdir())


def test_an_equal_run_is_found_published_by_all(copied):
    assert codes(copied, "again") == [0, 0]
    assert said(copied, "again", 0)["cached"] is True
    assert (copied / "again.1.out").read_text() == (copied / "again.1.err").read_text() == ""


def test_both_processes_took_part(folder):
    layout = folder.name.rstrip("0123456789")
    how = {"ddp": "each with a copy of the weights", "fsdp": "each with a shard of the weights"}[layout]
    assert f"2 processes, {how}" in (folder / "straight.0.err").read_text()


def test_two_processes_agree_with_one_up_to_rounding(folder, alone):
    two = outcome(folder / "straight.home")
    for mine, other in zip(two.steps, alone.steps, strict=True):
        assert mine.keys() == other.keys()
        assert mine["groups/count"] == other["groups/count"]
    # The first step samples from equal weights: the same responses, the same credit, the same gradient.
    for key in ("reward/mean", "tokens/response", "tokens/computed", "hicra/planning_tokens", "response/limit_tokens"):
        assert two.steps[0][key] == alone.steps[0][key], key
    for key in ("policy/loss", "policy/grad_norm", "policy/token_entropy_nats", "policy/logprob_nats"):
        assert two.steps[0][key] == pytest.approx(alone.steps[0][key], rel=1e-4, abs=1e-6), key
    first, reference = (load_file(each.policies[0] / "model.safetensors") for each in (two, alone))
    assert first.keys() == reference.keys()
    # Adam divides by the gradient's size, so where that is rounding noise a weight may differ by up to lr a step.
    difference = np.concatenate([np.abs(first[key] - reference[key]).ravel() for key in reference])
    assert np.quantile(difference, 0.99) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_two_processes_left_goes_on_with_one_and_with_four(tmp_path, layout):
    runs(tmp_path, layout, "stopped", "elsewhere")
    two = outcome(tmp_path / "resumed-2.home")
    for size in (1, 4):
        assert codes(tmp_path, f"resumed-{size}") == [0] * size
        other = outcome(tmp_path / f"resumed-{size}.home")
        done = comparable_stopped(tmp_path)
        assert other.steps[:done] == two.steps[:done]
        assert len(other.steps) == STEPS
        assert other.steps[done]["tokens/response"] == two.steps[done]["tokens/response"]


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_killed_process_ends_the_run_soon_and_the_work_goes_on(tmp_path, layout):
    runs(tmp_path, layout, "killed", "straight")
    ended = json.loads((tmp_path / "killed.codes").read_text())
    assert ended["codes"] == [1, -9]
    assert ended["seconds"] < 60
    error = said(tmp_path, "killed", 0)["error"]
    assert "lost another worker" in error["what"]
    assert "--resume" in error["fix"]
    assert codes(tmp_path, "revived") == [0, 0]
    assert outcome(tmp_path / "revived.home").steps == outcome(tmp_path / "straight.home").steps


def test_a_failing_process_ends_the_run_with_its_own_message_said_once(tmp_path):
    runs(tmp_path, "ddp", "refusing")
    ended = json.loads((tmp_path / "refusing.codes").read_text())
    assert ended["codes"] == [1, 1]
    assert ended["seconds"] < 60
    error = said(tmp_path, "refusing", 0)["error"]
    assert error["kind"] == "engine"
    assert error["where"].startswith("worker 1")
    assert (tmp_path / "refusing.1.err").read_text() == ""


@pytest.mark.slow
def test_options_give_the_same_with_copied_and_with_sharded_weights(tmp_path):
    pytest.importorskip("peft")
    for layout in LAYOUTS:
        (tmp_path / layout).mkdir()
        runs(tmp_path / layout, layout, "options")
    for name in OPTIONS:
        copied, sharded = (steps_of(tmp_path / layout, name) for layout in LAYOUTS)
        for mine, other in zip(copied, sharded, strict=True):
            assert mine["policy/probe_nats"] < 1e-4
            assert other["policy/probe_nats"] < 1e-4
            for key in ("policy/loss", "policy/grad_norm"):
                assert mine[key] == pytest.approx(other[key], rel=1e-3, abs=1e-5), (name, key)


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["2", "3"])
def test_a_configuration_for_deepspeed_trains_resumes_and_publishes_with_torchs_own_shards(tmp_path, stage):
    folder = tmp_path / f"zero-{stage}"
    folder.mkdir()
    runs(folder, "auto", "deepspeed")
    assert codes(folder, "straight") == codes(folder, "resumed-2") == [0, 0]
    assert codes(folder, "stopped") == [130, 130]
    straight, resumed = outcome(folder / "straight.home"), outcome(folder / "resumed-2.home")
    assert resumed.steps == straight.steps
    assert [digests(path, "*") for path in resumed.policies] == [digests(path, "*") for path in straight.policies]
    assert (folder / "straight.1.out").read_text() == (folder / "straight.1.err").read_text() == ""
    talk = (folder / "straight.0.err").read_text()
    whole = {"2": ", made whole between forward and backward", "3": ""}[stage]
    name = {"2": "zero2", "3": "fsdp"}[stage]
    assert f"2 processes, each with a shard of the weights{whole}\n" in talk
    assert f"asks for DeepSpeed ZeRO stage {stage}: done by torch's fully_shard, not by DeepSpeed " in talk
    assert f"(train.parallel {name}); hicra's own settings stand for gradient_clipping\n" in talk


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["torchrun", "accelerate"])
def test_a_launcher_starts_it(tmp_path, launcher):
    command = {
        "torchrun": ["torch.distributed.run", "--standalone", "--nproc-per-node", "2"],
        "accelerate": ["accelerate.commands.launch", "--config_file", str(ROOT / "examples" / "accelerate_fsdp.yaml"),
                       "--main_process_port", "0"],
    }[launcher]  # fmt: skip
    small = ["--steps", "2", "--num-prompts", "2", "--max-new-tokens", "24", "--device", "cpu", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", *command, "-m", "hicra_cli", "train", "-c", "quickstart", *small],
        cwd=tmp_path, env=clean_environment(OMP_NUM_THREADS="1"), capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert document(done)["artifacts"][0]["ref"] == "training:grpo@v1"
    assert "2 processes, " in done.stderr


def outcome(home: Path) -> SimpleNamespace:
    """Everything of the only training of a home that must be reproducible."""
    with Registry.open(home) as registry:
        artifact = registry.resolve("training:hicra")
        policies = [registry.resolve(each["policy"]).path for each in artifact.summary["policies"]]
    return SimpleNamespace(
        steps=comparable_steps(artifact.path), rollouts=digests(artifact.path, "rollouts/*"), policies=policies
    )


def steps_of(folder, name):
    assert codes(folder, name) == [0, 0], (folder / f"{name}.0.err").read_text()
    (path,) = (folder / f"{name}.home").glob("artifacts/training/*/*/steps.jsonl")
    return comparable_steps(path.parent)


def comparable_stopped(folder):
    """Steps that were done when the run was stopped."""
    return len(next(folder.glob("stopped.home/staging/*/files/steps.jsonl")).read_text().splitlines())


def codes(folder, name):
    found: list[int] = json.loads((folder / f"{name}.codes").read_text())["codes"]
    return found


def said(folder, name, rank):
    return document(SimpleNamespace(stdout=(folder / f"{name}.{rank}.out").read_text()))
