"""AdamW over bfloat16 weights: compensated it follows float32, uncompensated it stands still."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hicra_cli.core.errors import TrainingError
from hicra_cli.rl.checkpoint import latest_checkpoint, load_checkpoint, save_checkpoint
from hicra_cli.rl.compensated import CompensatedAdamW, joined, parted, rounded_by_chance
from hicra_cli.rl.optim import build_optimizer, clip_gradients, optimizer_step
from tests.rl.models import tiny_model

RATE = 1e-4


def moved(weight, gradients, optimizer_class, **settings):
    """The weight after one update per gradient at rate 1e-4."""
    parameter = torch.nn.Parameter(weight.clone())
    optimizer = optimizer_class([{"params": [parameter]}], lr=RATE, betas=(0.9, 0.95), **settings)
    for gradient in gradients:
        parameter.grad = gradient.to(parameter.dtype)
        optimizer.step()
    return parameter.detach()


def test_small_updates_add_up_as_in_float32_where_plain_bfloat16_stands_still():
    # A gradient of always the same sign moves a weight by the rate: 1 - 1000 * 1e-4 = 0.9. Below 1 the spacing of
    # bfloat16 is 2^-8 = 0.0039, and 1e-4 is less than half of it: added alone it rounds away. Near 0.9 half a spacing
    # is 2^-9 = 0.00195: the weight cannot be told more exactly.
    start, gradients = torch.ones(64), [torch.full((64,), 0.5)] * 1000
    exact = moved(start, gradients, torch.optim.AdamW, eps=1e-8, weight_decay=0.0)
    plain = moved(start.bfloat16(), gradients, torch.optim.AdamW, eps=1e-8, weight_decay=0.0)
    compensated = moved(start.bfloat16(), gradients, CompensatedAdamW)
    torch.testing.assert_close(exact, torch.full((64,), 0.9), atol=1e-4, rtol=0)
    assert torch.equal(plain, torch.ones(64).bfloat16())
    torch.testing.assert_close(compensated.float(), exact, atol=2**-9 + 1e-4, rtol=0)


def test_random_updates_end_where_float32_ends():
    # 1,000 updates of weights from 0.01 to 2; bfloat16 is right to 2^-9 of a weight, and what the moments' rounding
    # adds is a small part of the way gone.
    torch.manual_seed(0)
    start = torch.logspace(-2, 0.3, 512).bfloat16().float()
    drift = torch.randn(512)
    gradients = [drift + torch.randn(512) for _ in range(1000)]
    exact = moved(start, gradients, torch.optim.AdamW, eps=1e-8, weight_decay=0.01)
    compensated = moved(start.bfloat16(), gradients, CompensatedAdamW, weight_decay=0.01).float()
    way = (exact - start).abs()
    assert ((compensated - exact).abs() <= 2**-8 * exact.abs() + 0.02 * way + 1e-4).all()
    assert way.mean() > 0.03


def test_a_large_tensor_is_updated_in_pieces_with_the_same_result(monkeypatch):
    torch.manual_seed(0)
    start, gradients = torch.randn(7, 11).bfloat16(), [torch.randn(7, 11) for _ in range(5)]
    whole = moved(start, gradients, CompensatedAdamW)
    monkeypatch.setattr("hicra_cli.rl.compensated._CHUNK", 10)
    cut = moved(start, gradients, CompensatedAdamW)
    # Only the chance in the moments' last bit differs: 5 updates of at most 1e-4 apart by some per cent of themselves.
    torch.testing.assert_close(cut.float(), whole.float(), atol=5e-5, rtol=2**-7)


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
def test_weight_and_remainder_are_the_float32_bit_for_bit(values):
    master = torch.tensor(values, dtype=torch.float32)
    weight, remainder = parted(master)
    assert torch.equal(joined(weight, remainder).view(torch.int32), master.view(torch.int32))
    assert torch.equal(joined(weight, torch.zeros_like(remainder)), weight.float())
    inside = master.abs() < 3e38  # beyond, the nearest bfloat16 is infinite
    torch.testing.assert_close(weight.float()[inside], master[inside], rtol=2**-8, atol=1e-38)


def test_rounding_by_chance_is_right_in_the_mean():
    # 1 + 2^-9 lies a quarter of the way from 1 to 1 + 2^-7, bfloat16's next number: 16384 of 65536 chances round up
    chances = torch.arange(65536, dtype=torch.int32)
    rounded = rounded_by_chance(torch.full((65536,), 1 + 2**-9), chances).float()
    assert sorted(rounded.unique().tolist()) == [1.0, 1 + 2**-7]
    assert int((rounded > 1).sum()) == 16384
    assert torch.equal(rounded_by_chance(torch.full((65536,), -1.5), chances).float(), torch.full((65536,), -1.5))


def update(model, optimizer, step):
    torch.manual_seed(step)
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimizer_step(optimizer, lr=RATE, grad_norm=clip_gradients(model, max_norm=1.0), step=step)


def bfloat16_run(seed=0):
    model = tiny_model(dtype=torch.bfloat16, seed=seed)
    return model, build_optimizer(model, lr=RATE, beta1=0.9, beta2=0.95, weight_decay=0.1)


def weights(model):
    return torch.cat([each.detach().flatten() for each in model.parameters()])


def test_bfloat16_parameters_get_the_compensated_optimizer_and_others_do_not():
    assert isinstance(bfloat16_run()[1], CompensatedAdamW)
    wide = build_optimizer(tiny_model(), lr=RATE, beta1=0.9, beta2=0.95, weight_decay=0.1)
    assert isinstance(wide, torch.optim.AdamW)


def test_a_restored_bfloat16_run_goes_on_bit_for_bit(tmp_path):
    model, optimizer = bfloat16_run()
    for step in range(3):
        update(model, optimizer, step)
    save_checkpoint(tmp_path, 3, model, optimizer, {})
    for step in range(3, 40):
        update(model, optimizer, step)
    other, other_optimizer = bfloat16_run(seed=5)
    found = latest_checkpoint(tmp_path)
    assert found is not None
    load_checkpoint(found[0], other, other_optimizer)
    for step in range(3, 40):
        update(other, other_optimizer, step)
    assert torch.equal(weights(other), weights(model))
    for mine, theirs in zip(model.parameters(), other.parameters(), strict=True):
        for key in ("step", "exp_avg", "exp_avg_sq", "remainder"):
            assert torch.equal(optimizer.state[mine][key], other_optimizer.state[theirs][key])


def test_a_gradient_that_is_not_finite_is_refused_in_bfloat16_too():
    model, optimizer = bfloat16_run()
    before = weights(model).clone()
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, float("inf"))
    with pytest.raises(TrainingError, match="step 2 is not finite"):
        optimizer_step(optimizer, lr=RATE, grad_norm=clip_gradients(model, max_norm=1.0), step=2)
    assert torch.equal(weights(model), before)
