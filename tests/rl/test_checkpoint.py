import json

import pytest
import torch

from hicra_cli.core.errors import TrainingError
from hicra_cli.rl.checkpoint import latest_checkpoint, load_checkpoint, prune_checkpoints, save_checkpoint
from hicra_cli.rl.optim import build_optimizer, clip_gradients, learning_rate, optimizer_step
from tests.rl.models import tiny_model


def optimizer_of(model):
    return build_optimizer(model, lr=0.01, beta1=0.9, beta2=0.95, weight_decay=0.1)


def update(model, optimizer, step):
    torch.manual_seed(step)
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimizer_step(optimizer, lr=0.01, grad_norm=clip_gradients(model, max_norm=1.0), step=step)


def weights(model):
    return torch.cat([each.detach().flatten() for each in model.parameters()])


@pytest.mark.parametrize("kind", ["qwen3", "qwen2-tied"])
def test_a_restored_run_goes_on_bit_for_bit(tmp_path, kind):
    model = tiny_model(kind)
    optimizer = optimizer_of(model)
    update(model, optimizer, 0)
    save_checkpoint(tmp_path, 1, model, optimizer, {"cursor": 7})
    update(model, optimizer, 1)
    straight = weights(model)

    other = tiny_model(kind, seed=5)
    other_optimizer = optimizer_of(other)
    found = latest_checkpoint(tmp_path)
    assert found is not None
    path, state = found
    assert (state["step"], state["cursor"]) == (1, 7)
    load_checkpoint(path, other, other_optimizer)
    update(other, other_optimizer, 1)
    assert torch.equal(weights(other), straight)


def test_a_torn_or_damaged_checkpoint_is_passed_over(tmp_path):
    model = tiny_model()
    optimizer = optimizer_of(model)
    for step in (1, 2, 3):
        update(model, optimizer, step)
        save_checkpoint(tmp_path, step, model, optimizer, {})
    (tmp_path / "step-000003" / "state.json").write_text('{"step": 3, "sha')
    damaged = tmp_path / "step-000002" / "model.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"\x00")
    found = latest_checkpoint(tmp_path)
    assert found is not None
    assert found[0].name == "step-000001"


def test_old_checkpoints_and_scratch_folders_are_pruned(tmp_path):
    model = tiny_model()
    for step in (1, 2, 3):
        save_checkpoint(tmp_path, step, model, optimizer_of(model), {})
    (tmp_path / ".step-000004.tmp").mkdir()
    prune_checkpoints(tmp_path, keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000002", "step-000003"]
    assert json.loads((tmp_path / "step-000003" / "state.json").read_text())["step"] == 3


def test_the_rate_warms_up_linearly_and_stays():
    # 4 warm-up steps to 0.8: 0.2, 0.4, 0.6, 0.8, 0.8
    assert [learning_rate(step, lr=0.8, warmup_steps=4) for step in range(5)] == pytest.approx(
        [0.2, 0.4, 0.6, 0.8, 0.8]
    )
    assert learning_rate(0, lr=0.8, warmup_steps=0) == 0.8


def test_a_gradient_that_is_not_finite_is_refused_and_leaves_the_weights_alone():
    model = tiny_model()
    before = weights(model).clone()
    optimizer = optimizer_of(model)
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, float("nan"))
    with pytest.raises(TrainingError, match="step 4 is not finite"):
        optimizer_step(optimizer, lr=0.01, grad_norm=clip_gradients(model, max_norm=1.0), step=4)
    assert torch.equal(weights(model), before)


def test_matrices_decay_and_vectors_do_not():
    groups = optimizer_of(tiny_model()).param_groups
    assert [group["weight_decay"] for group in groups] == [0.1, 0.0]
    assert all(each.dim() == 1 for each in groups[1]["params"])
