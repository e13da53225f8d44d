"""Faults of a run: named, stopped before they spread, and a usable checkpoint stays."""

import json
import math
import multiprocessing
import resource
import signal

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from hicra_cli.config.train import WatchConfig
from hicra_cli.core.errors import RunError, TrainingError
from hicra_cli.core.progress import SilentProgress
from hicra_cli.core.registry import Registry
from hicra_cli.rl.parallel import OneWorker
from hicra_cli.stages.base import execute
from hicra_cli.stages.train import disk, update
from hicra_cli.stages.train.best import alias_best, unknown_metric
from hicra_cli.stages.train.run import STAGE
from hicra_cli.stages.train.watch import RewardWatch, UpdateWatch, finite_record, require_finite_weights
from tests.stages.runs import comparable_steps, small_config

ONE = OneWorker(torch.device("cpu"))
WATCH = WatchConfig(max_ratio=4.0, max_grad_norm=10.0, collapse_window=2, collapse_fraction=0.5)


def update_watch(sampler, old=None):
    old = None if old is None else torch.tensor(old)
    return UpdateWatch(torch.tensor(sampler), old, WATCH, ONE, step=7)


@pytest.mark.parametrize(
    ("loss", "grad_norm", "said"),
    [
        (math.nan, 1.0, "step 7: the loss is nan"),
        (0.5, math.inf, "the gradient norm inf"),
        (0.5, 10.5, r"10.5, above train.watch.max_grad_norm 10"),
    ],
)
def test_a_loss_or_gradient_that_is_not_sound_is_refused_before_the_update(loss, grad_norm, said):
    watch = update_watch([-1.0, -2.0])
    watch.require(torch.tensor([-1.0, -2.0]), loss=torch.tensor(0.5), grad_norm=9.9)
    with pytest.raises(TrainingError, match=said):
        watch.require(torch.tensor([-1.0, -2.0]), loss=torch.tensor(loss), grad_norm=grad_norm)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_ratio_beyond_the_bound_is_named_in_either_direction(sign):
    # 100 tokens: the 99 % quantile is the 99th by size, so one outlier is none and two are. exp(2) = 7.389 > 4.
    logprobs = torch.full((100,), -3.0)
    for outliers in (1, 2):
        logprobs[:outliers] = -3.0 + 2.0 * sign
        watch = update_watch([-3.0] * 100)
        if outliers == 1:
            watch.require(logprobs, loss=torch.tensor(0.0), grad_norm=1.0)
    with pytest.raises(TrainingError, match=r"trainer/sampler ratio is 7.389 .*max_ratio 4"):
        watch.require(logprobs, loss=torch.tensor(0.0), grad_norm=1.0)


def test_with_several_updates_mismatch_and_drift_are_told_apart():
    with pytest.raises(TrainingError, match="trainer/sampler"):
        update_watch([-3.0], old=[-1.0])
    watch = update_watch([-3.0, -3.0], old=[-3.0, math.nan])
    with pytest.raises(TrainingError, match="new/old"):
        watch.require(torch.tensor([-1.0, math.nan]), loss=torch.tensor(0.0), grad_norm=1.0)


def test_log_probs_of_the_engine_that_are_not_finite_are_counted():
    with pytest.raises(TrainingError, match=r"2 of 3 log-probs that the engine reported"):
        update_watch([math.nan, -1.0, -math.inf])


def test_the_weight_that_is_not_finite_is_named():
    last = nn.Linear(2, 2)
    model = nn.Sequential(nn.Linear(2, 2), last)
    require_finite_weights(model, workers=ONE, step=1)
    with torch.no_grad():
        last.bias[0] = math.inf
    with pytest.raises(TrainingError, match=r"after step 1 the weight 1\.bias is not finite"):
        require_finite_weights(model, workers=ONE, step=1)


def test_figures_that_are_not_finite_become_null_and_are_counted():
    record = finite_record({"a": math.nan, "b": 1.0, "c": math.inf, "d": None, "e": 3})
    assert record == {"a": None, "b": 1.0, "c": None, "d": None, "e": 3, "record/non_finite": 2}
    json.dumps(record, allow_nan=False)


def test_a_reward_below_half_of_its_best_window_is_a_collapse():
    # windows of 2: (0.2 + 0.6) / 2 = 0.4 is the best; (0.6 + 0.1) / 2 = 0.35; (0.1 + 0.2) / 2 = 0.15 < 0.5 * 0.4
    watch = RewardWatch(WATCH)
    said = [watch.see({"step": step, "reward/mean": reward}) for step, reward in enumerate([0.2, 0.6, 0.1, 0.2], 1)]
    assert said[:3] == [None, None, None]
    assert "0.150 over the last 2 steps, 0.400 over as many until step 2" in said[3]


def run(home, progress=None, **settings):
    with Registry.open(home) as registry:
        config = small_config(home, **{"algo": "grpo", "steps": 3, "save_every": 5, "num_prompts": 4} | settings)
        return execute(STAGE, config, registry, progress or SilentProgress(), resume=True).artifact


def checkpoints(home):
    return sorted(home.glob("staging/*/files/checkpoints/step-*"))


def test_a_gradient_beyond_the_bound_stops_the_run_with_a_checkpoint_and_a_higher_bound_resumes_it(tmp_path):
    with pytest.raises(TrainingError, match=r"step 1: the gradient norm .* above train.watch.max_grad_norm") as caught:
        run(tmp_path, watch={"max_grad_norm": 1e-9})
    assert caught.value.exit_code == 1
    assert [each.name for each in checkpoints(tmp_path)] == ["step-000000"]
    assert len(comparable_steps(run(tmp_path).path)) == 3


def test_weights_that_are_not_finite_are_never_saved(tmp_path, monkeypatch):
    inner = update.optimizer_step

    def overflowing(optimizer, **given):
        inner(optimizer, **given)
        if given["step"] == 1:
            with torch.no_grad():
                optimizer.param_groups[0]["params"][0].view(-1)[0] = math.nan

    monkeypatch.setattr(update, "optimizer_step", overflowing)
    with pytest.raises(TrainingError, match=r"after step 2 the weight .* is not finite"):
        run(tmp_path, save_every=1)
    (kept,) = checkpoints(tmp_path)
    assert kept.name == "step-000001"
    assert all(bool(torch.isfinite(each).all()) for each in load_file(kept / "model.safetensors").values())
    monkeypatch.undo()
    assert len(comparable_steps(run(tmp_path, save_every=1).path)) == 3


def test_room_is_asked_for_before_a_checkpoint_is_begun(tmp_path, monkeypatch):
    monkeypatch.setattr(disk, "free_bytes", lambda folder: 1_000_000)
    progress = SilentProgress()
    with pytest.raises(RunError, match=r"no room while saving step 1: [\d,]+ bytes needed") as caught:
        run(tmp_path, progress, save_every=1)
    assert caught.value.exit_code == 1
    assert checkpoints(tmp_path) == []
    assert any("step 1 has no checkpoint" in each for each in progress.warnings)
    monkeypatch.undo()
    artifact = run(tmp_path, save_every=1)
    assert [each["step"] for each in artifact.summary["policies"]] == [1, 2, 3]


def test_a_step_whose_policy_found_no_room_is_published_on_resume(tmp_path, monkeypatch):
    # room for the checkpoint alone, not for policy and checkpoint together
    monkeypatch.setattr(disk, "free_bytes", lambda folder: 10**9)
    monkeypatch.setattr("hicra_cli.stages.train.run.policy_bytes", lambda state: 10**12)
    with pytest.raises(RunError, match="no room while saving step 1"):
        run(tmp_path, save_every=1)
    assert [each.name for each in checkpoints(tmp_path)] == ["step-000001"]
    monkeypatch.undo()
    artifact = run(tmp_path, save_every=1)
    assert [each["step"] for each in artifact.summary["policies"]] == [1, 2, 3]


def _run_with_small_files(config_json, limit, answers):
    from hicra_cli.config.root import HicraConfig

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    config = HicraConfig.model_validate_json(config_json)
    try:
        with Registry.open(config.home) as registry:
            execute(STAGE, config, registry, SilentProgress(), resume=True)
    except RunError as error:
        answers.send((error.what, error.exit_code))
    answers.close()


@pytest.mark.slow
def test_a_disk_that_fills_while_a_checkpoint_is_written_is_named_and_costs_nothing_else(tmp_path):
    # The kernel refuses files beyond 1 MB, as a full disk would: the first big file of a save is torn.
    config = small_config(tmp_path, algo="grpo", steps=3, save_every=2)
    context = multiprocessing.get_context("spawn")
    answers, child = context.Pipe(duplex=False)
    process = context.Process(target=_run_with_small_files, args=(config.model_dump_json(), 1_000_000, child))
    process.start()
    child.close()
    what, exit_code = answers.recv()
    process.join()
    assert exit_code == 1
    assert "no room while" in what
    assert "step 2" in what
    with Registry.open(tmp_path) as registry:
        assert len(registry.unfinished("training")) == 1
        artifact = execute(STAGE, config, registry, SilentProgress(), resume=True).artifact
    assert len(comparable_steps(artifact.path)) == 3


@pytest.mark.parametrize(
    ("metric", "best"),
    [("a/b", 4), ("-a/b", 2), ("a/equal", 2), ("a/absent", 4)],
)
def test_best_is_the_published_policy_by_the_metric_and_of_equal_ones_the_earliest(tmp_path, metric, best):
    figures = {2: (0.1, 1.0, 0.2), 3: (0.9, 1.0, 0.9), 4: (0.5, 1.0, 0.3)}  # step 3 is not published
    steps = [
        {"step": step, "a/b": first, "a/equal": equal, "reward/accuracy": accuracy}
        for step, (first, equal, accuracy) in figures.items()
    ]
    with Registry.open(tmp_path) as registry:
        policies = []
        for step in (2, 4):
            draft = registry.begin("policy", "grpo")
            (draft.path / "hicra.json").write_text(json.dumps(step))
            policies.append((draft.publish(), step))
        alias_best(registry, policies, steps, metric=metric, progress=SilentProgress())
        assert registry.resolve("policy:grpo@best").id == {step: each.id for each, step in policies}[best]


def test_an_unknown_metric_is_warned_of_at_the_first_record():
    record = {"step": 1, "reward/accuracy": 0.5, "reward/mean": 0.5}
    assert "similar: reward/accuracy" in unknown_metric("reward/acuracy", record)
    assert unknown_metric("-reward/mean", record) is None
    assert unknown_metric("eval/accuracy", record) is None
    assert unknown_metric("eval/acuracy", record) is None
    assert "eval/accuracy" in unknown_metric("eval/acuracy", record | {"eval/accuracy": 0.1})
