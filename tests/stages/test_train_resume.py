"""Ended anywhere and resumed, a run ends with the bytes of one that was never stopped."""

import json
import shutil
import signal
import subprocess
import sys

import pytest

from hicra_cli.core.errors import ArtifactError, UsageError
from hicra_cli.core.progress import SilentProgress
from hicra_cli.core.registry import Registry
from hicra_cli.stages.base import execute
from hicra_cli.stages.train.run import STAGE
from tests.stages.killed_training import PLACES, train
from tests.stages.runs import comparable_steps, digests, small_config

STEPS = 3
NTH = {"backward": 2, "checkpoint": 3, "pruning": 2, "policy": 2, "after the policy": 2, "rollouts": 2}
UNTIL_EVALUATION = ("optimizer step", "weights to the engine", "rollouts", "evaluation")
NOT_INTERRUPTED = ("final publication", "files moved", "rows of the registry")


def configuration(home, **settings):
    few = {"algo": "grpo", "steps": STEPS, "save_every": 1, "eval_every": 2, "eval_prompts": 3}
    return small_config(home, **few | settings)


def outcome(home, progress=None, **settings):
    """Finish the run of `home` and return everything of it that must be reproducible."""
    with Registry.open(home) as registry:
        artifact = execute(
            STAGE, configuration(home, **settings), registry, progress or SilentProgress(), resume=True
        ).artifact
        policies = [registry.resolve(each["policy"]) for each in artifact.summary["policies"]]
        best = registry.resolve("policy:grpo@best")
        assert len(registry.list("training")) == 1
        assert registry.unfinished("training") == []
        return (
            comparable_steps(artifact.path),
            digests(artifact.path, "rollouts/*"),
            [digests(policy.path, "*") for policy in policies],
            best.digest,
        )


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    expected = outcome(tmp_path_factory.mktemp("straight"))
    assert all(record["groups/no_signal_fraction"] < 1 for record in expected[0])
    return expected


def slow_but(*quick):
    """All places; the default run of the tests takes the quick ones."""
    return [place if place in quick else pytest.param(place, marks=pytest.mark.slow) for place in PLACES]


@pytest.mark.parametrize("place", slow_but("optimizer step", "after the policy"))
def test_a_run_killed_in_a_phase_resumes_to_the_same_bytes(tmp_path, straight, place):
    assert train(configuration(tmp_path), place, NTH.get(place, 1)) == -signal.SIGKILL
    assert outcome(tmp_path) == straight


@pytest.mark.slow
@pytest.mark.parametrize("place", ["sampling", "backward", "optimizer step", "weights to the engine"])
def test_a_run_with_several_updates_per_batch_resumes_to_the_same_bytes(tmp_path, several, place):
    settings, expected = several
    assert train(configuration(tmp_path, **settings), place, 3) == -signal.SIGKILL
    assert outcome(tmp_path, **settings) == expected


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    settings = {"epochs": 2, "minibatches": 2, "save_every": 2}
    return settings, outcome(tmp_path_factory.mktemp("several"), **settings)


@pytest.mark.slow
def test_a_run_killed_twice_resumes_to_the_same_bytes(tmp_path, straight):
    assert train(configuration(tmp_path), "checkpoint", 3) == -signal.SIGKILL
    assert train(configuration(tmp_path), "optimizer step", 2) == -signal.SIGKILL
    assert outcome(tmp_path) == straight


@pytest.mark.parametrize("place", slow_but("grading", "evaluation"))
def test_a_run_interrupted_in_a_phase_exits_with_130_and_a_checkpoint_of_all_steps(tmp_path, straight, place):
    if place in NOT_INTERRUPTED:
        pytest.skip("a finished training is published, signal or not")
    number = signal.SIGTERM if len(place) % 2 else signal.SIGINT
    config = configuration(tmp_path, save_every=2)
    assert train(config, place, 1 if place == "evaluation" else 2, number) == 130
    what, fix = json.loads((tmp_path / "said.json").read_text())
    assert signal.Signals(number).name in what
    assert "--resume" in fix
    (files,) = tmp_path.glob("staging/*/files")
    steps = (files / "steps.jsonl").read_text().splitlines()
    saved = sorted(int(each.name.removeprefix("step-")) for each in files.glob("checkpoints/step-*"))
    state = json.loads((files / "checkpoints" / f"step-{saved[-1]:06d}" / "state.json").read_text())
    before_evaluation = state["unrecorded"] is not None  # the step is kept, its evaluation is dropped and repeated
    assert saved[-1] == len(steps) + before_evaluation
    assert before_evaluation == (place in UNTIL_EVALUATION)
    assert outcome(tmp_path, save_every=2)[:2] == straight[:2]


def test_a_run_interrupted_twice_in_an_evaluation_and_killed_after_its_record_resumes_to_the_same_bytes(
    tmp_path, straight
):
    config = configuration(tmp_path)
    assert train(config, "evaluation", 1, signal.SIGTERM) == 130
    (files,) = tmp_path.glob("staging/*/files")
    assert len((files / "steps.jsonl").read_text().splitlines()) == 1
    assert train(config, "evaluation", 1, signal.SIGINT) == 130
    assert train(config, "after the record", 1) == -signal.SIGKILL
    assert len((files / "steps.jsonl").read_text().splitlines()) == 2
    assert outcome(tmp_path) == straight


def test_a_second_signal_does_not_cost_the_checkpoint_of_the_first(tmp_path, straight):
    config = configuration(tmp_path, save_every=2)
    assert train(config, "sampling", 2, signal.SIGINT, then="checkpoint") == 130
    assert [each.name for each in tmp_path.glob("staging/*/files/checkpoints/step-*")] == ["step-000001"]
    assert outcome(tmp_path, save_every=2)[:2] == straight[:2]


@pytest.fixture
def unfinished(tmp_path):
    """A run that was killed in its third step: checkpoints 1 and 2 are there."""
    assert train(configuration(tmp_path), "optimizer step", 3) == -signal.SIGKILL
    (checkpoints,) = tmp_path.glob("staging/*/files/checkpoints")
    return tmp_path, checkpoints


def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(unfinished, straight):
    home, checkpoints = unfinished
    path = checkpoints / "step-000002" / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    progress = SilentProgress()
    assert outcome(home, progress) == straight
    (warning,) = [each for each in progress.warnings if "damaged" in each]
    assert "step-000002 is damaged (model.safetensors has other bytes" in warning
    assert "from step 1" in warning


@pytest.mark.slow
def test_where_all_checkpoints_are_damaged_nothing_is_thrown_away(unfinished, straight):
    home, checkpoints = unfinished
    kept = home / "copy.json"
    (checkpoints / "step-000001" / "optimizer.safetensors").unlink()
    shutil.move(checkpoints / "step-000002" / "state.json", kept)
    with pytest.raises(ArtifactError, match=r"step-000001 \(optimizer.safetensors is missing\).*step-000002") as caught:
        outcome(home)
    assert caught.value.exit_code == 3
    shutil.move(kept, checkpoints / "step-000002" / "state.json")
    assert outcome(home) == straight


def test_resuming_with_other_settings_is_refused_with_the_differences(unfinished, straight):
    home, _ = unfinished
    with pytest.raises(UsageError, match=r"train.lr: 0.0003 -> 0.001") as caught:
        outcome(home, lr=1e-3)
    assert caught.value.exit_code == 2
    assert "--force" in str(caught.value.fix)
    assert outcome(home) == straight


@pytest.mark.slow
def test_forced_resuming_with_other_settings_begins_a_new_run(unfinished):
    home, _ = unfinished
    with Registry.open(home) as registry:
        other = configuration(home, lr=1e-3, steps=1)
        artifact = execute(STAGE, other, registry, SilentProgress(), resume=True, force=True).artifact
    assert len(comparable_steps(artifact.path)) == 1
    assert len(list((home / "staging").glob("*/plan.json"))) == 1


def test_a_bound_that_stopped_a_run_and_the_trackers_do_not_make_it_another_run(unfinished, straight):
    home, _ = unfinished
    assert outcome(home, watch={"max_grad_norm": 1e6}, trackers=["tensorboard"]) == straight


@pytest.mark.slow
def test_another_number_of_threads_is_warned_of_on_resume(unfinished):
    home, checkpoints = unfinished
    machine = json.loads((checkpoints / "machine.json").read_text())
    (checkpoints / "machine.json").write_text(json.dumps(machine | {"threads": "7"}))
    progress = SilentProgress()
    outcome(home, progress)
    assert [each for each in progress.warnings if "threads 7 -> 1" in each]


@pytest.mark.slow
def test_sigterm_from_outside_ends_a_command_with_130(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(configuration(tmp_path, steps=200).model_dump_json())
    command = [sys.executable, "-m", "tests.stages.train_process", str(path)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while not any(each.stat().st_size for each in tmp_path.glob("staging/*/files/steps.jsonl")):
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    _, talk = process.communicate(timeout=30)
    assert process.returncode == 130, talk
    assert "--resume" in talk
