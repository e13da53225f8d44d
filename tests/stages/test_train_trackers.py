"""Step records in trackers: the same names, no step twice after a resume, and never in the way of training."""

import importlib
import importlib.util
import json
import os
import signal
import threading
import time

import pytest
from accelerate import tracking as accelerate_trackers

from hicra_cli.core.errors import ConfigError
from hicra_cli.core.progress import SilentProgress
from hicra_cli.core.registry import Registry
from hicra_cli.stages.base import execute
from hicra_cli.stages.train import trackers
from hicra_cli.stages.train.run import STAGE
from hicra_cli.stages.train.trackers import TrackedRun, numbers, require_trackers, tracking
from tests.stages.killed_training import train
from tests.stages.runs import comparable_steps, small_config

EVENTS = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")


def records(*steps):
    return [{"step": step, "reward/mean": step / 10, "policy/kl_nats": None} for step in steps]


def tracked(tmp_path):
    return TrackedRun("grpo-01abc", tmp_path / "trackers", {"seed": 3, "train.lr": 1e-3, "task.sources": ["a"]})


def scalars(folder, name):
    """(step, value) of a figure, over all event files of the folder."""
    found = []
    for path in sorted(folder.rglob("events.out.tfevents.*")):
        events = EVENTS.EventAccumulator(str(path))
        events.Reload()
        if name in events.Tags()["scalars"]:
            found += [(each.step, round(each.value, 6)) for each in events.Scalars(name)]
    return sorted(found)


def test_a_tracker_that_is_not_installed_is_refused_with_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(trackers.importlib.util, "find_spec", lambda name: None if name == "mlflow" else True)
    require_trackers(["tensorboard"])
    with pytest.raises(ConfigError, match="not installed: mlflow") as caught:
        require_trackers(["tensorboard", "mlflow"])
    assert "pip install mlflow" in str(caught.value.fix)
    with Registry.open(tmp_path) as registry, pytest.raises(ConfigError):  # what --dry-run calls
        STAGE.plan(small_config(tmp_path, trackers=["mlflow"]), registry)


def test_tensorboard_gets_the_numbers_under_their_names_and_the_settings(tmp_path):
    progress = SilentProgress()
    with tracking(["tensorboard"], tracked(tmp_path), [], progress) as sent:
        for record in records(1, 2, 3):
            sent.log(record)
    folder = tmp_path / "trackers" / "tensorboard"
    assert scalars(folder, "reward/mean") == [(1, 0.1), (2, 0.2), (3, 0.3)]
    assert scalars(folder, "policy/kl_nats") == []
    (settings,) = folder.rglob("hparams.yml")
    assert "train.lr: 0.001" in settings.read_text()
    assert progress.warnings == []


def test_a_resumed_run_sends_what_is_missing_and_no_step_twice(tmp_path):
    run = tracked(tmp_path)
    with tracking(["tensorboard"], run, [], SilentProgress()) as sent:
        for record in records(1, 2, 3):
            sent.log(record)
    # resumed after step 2: step 3 comes again
    with tracking(["tensorboard"], run, records(1, 2), SilentProgress()) as sent:
        for record in records(3, 4):
            sent.log(record)
    assert scalars(tmp_path / "trackers" / "tensorboard", "reward/mean") == [(1, 0.1), (2, 0.2), (3, 0.3), (4, 0.4)]


def test_a_tracker_that_fails_warns_once_and_is_left_alone(tmp_path, monkeypatch):
    calls = []

    def away(self, values, step=None):
        calls.append(step)
        raise ConnectionError("the server is away")

    monkeypatch.setattr(accelerate_trackers.TensorBoardTracker, "log", away)
    progress = SilentProgress()
    with tracking(["tensorboard"], tracked(tmp_path), [], progress) as sent:
        for record in records(1, 2, 3):
            sent.log(record)
    assert calls == [1]
    (warning,) = progress.warnings
    assert "tracker tensorboard gets no more steps: ConnectionError: the server is away" in warning


def test_a_tracker_that_hangs_holds_up_neither_the_steps_nor_the_end(tmp_path, monkeypatch):
    let_go = threading.Event()
    monkeypatch.setattr(accelerate_trackers.TensorBoardTracker, "log", lambda *_, **__: let_go.wait(60))
    monkeypatch.setattr(trackers, "FINISH_S", 0.2)
    monkeypatch.setattr(trackers, "WAITING_STEPS", 3)
    progress = SilentProgress()
    started = time.monotonic()
    with tracking(["tensorboard"], tracked(tmp_path), [], progress) as sent:
        for record in records(*range(1, 20)):
            sent.log(record)
    assert time.monotonic() - started < 30  # not the minute that the tracker hangs
    let_go.set()
    assert len(progress.warnings) == 1


def test_nulls_texts_and_the_step_itself_are_no_numbers():
    assert numbers({"step": 1, "a": 0.5, "b": None, "c": "x", "d": 2, "e": True}) == {"a": 0.5, "d": 2}


def test_a_run_killed_and_resumed_has_each_step_once_in_its_tracker(tmp_path):
    config = small_config(tmp_path, algo="grpo", steps=3, num_prompts=2, save_every=1, trackers=["tensorboard"])
    assert train(config, "optimizer step", 3) == -signal.SIGKILL
    with Registry.open(tmp_path) as registry:
        artifact = execute(STAGE, config, registry, SilentProgress(), resume=True).artifact
    (folder,) = (tmp_path / "trackers").iterdir()
    assert folder.name == f"grpo-{artifact.id}"
    expected = [(each["step"], round(each["reward/mean"], 6)) for each in comparable_steps(artifact.path)]
    assert scalars(folder / "tensorboard", "reward/mean") == expected
    assert not any("tensorboard" in path.name for path in artifact.path.rglob("*"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["wandb", "trackio", "mlflow"])
def test_the_other_trackers_take_a_run_and_go_on_with_it(tmp_path, monkeypatch, name):
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed, so it was not tried")
    for variable, value in {
        "WANDB_MODE": "offline",
        "WANDB_SILENT": "true",
        "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db",
        "TRACKIO_DIR": str(tmp_path / "trackio"),
    }.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setattr(trackers, "FINISH_S", 90.0)
    monkeypatch.chdir(tmp_path)
    progress = SilentProgress()
    for known, fresh in (((), (1, 2)), ((1, 2), (3,))):
        with tracking([name], tracked(tmp_path), records(*known), progress) as sent:
            for record in records(*fresh):
                sent.log(record)
    assert progress.warnings == []
    delivered = json.loads((tmp_path / "trackers" / f"{name}-delivered.json").read_text())
    assert delivered["step"] == 3
    if name == "mlflow":
        mlflow = importlib.import_module("mlflow")
        history = mlflow.MlflowClient().get_metric_history(delivered["id"], "reward/mean")
        assert [(each.step, each.value) for each in history] == [(1, 0.1), (2, 0.2), (3, 0.3)]
    assert os.environ["WANDB_MODE"] == "offline"
