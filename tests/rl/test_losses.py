import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hicra_cli.rl.losses import clipped_surrogate, importance_weights, loss_weights
from tests.reference import rl as reference


def surrogate(ratio, advantage, low=0.2, high=0.28):
    old = torch.tensor([-1.0], dtype=torch.float64)
    return float(
        clipped_surrogate(
            old + math.log(ratio), old, torch.tensor([advantage], dtype=torch.float64), clip_low=low, clip_high=high
        )
    )


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss"),
    # clip-higher 0.2/0.28: 1.5 is clipped to 1.28 for praise; blame takes the worse, unclipped 1.5;
    # 0.5 is clipped to 0.8 for blame only; 1.25 lies inside
    [(1.5, 1, -1.28), (1.5, -1, 1.5), (0.5, 1, -0.5), (0.5, -1, 0.8), (1.25, 2, -2.5)],
)
def test_golden_values_of_the_clipped_surrogate(ratio, advantage, loss):
    assert surrogate(ratio, advantage) == pytest.approx(loss, abs=1e-12)


@given(st.floats(0.01, 5), st.floats(-3, 3))
def test_the_clipped_surrogate_equals_its_reference(ratio, advantage):
    assert surrogate(ratio, advantage) == pytest.approx(
        reference.clipped_surrogate(ratio, advantage, 0.2, 0.28), abs=1e-9
    )


def test_the_gradient_vanishes_where_the_ratio_is_clipped_and_is_minus_the_advantage_on_policy():
    logprobs = torch.tensor([-1.0, -1.0 + math.log(1.5)], dtype=torch.float64, requires_grad=True)
    old = torch.tensor([-1.0, -1.0], dtype=torch.float64)
    clipped_surrogate(logprobs, old, torch.tensor([0.5, 0.5]), clip_low=0.2, clip_high=0.28).sum().backward()
    assert logprobs.grad is not None
    assert logprobs.grad.tolist() == pytest.approx([-0.5, 0.0])


@pytest.mark.parametrize(
    ("reduction", "expected"),
    # lengths 1 and 3, limit 10: token 1/4 each; sequence 1/(2*1), 1/(2*3); constant 1/(2*10)
    [("token", [0.25] * 4), ("sequence", [0.5, 1 / 6, 1 / 6, 1 / 6]), ("constant", [0.05] * 4)],
)
def test_weights_turn_a_sum_into_the_wanted_mean(reduction, expected):
    weights = loss_weights(torch.tensor([1, 3]), reduction=reduction, response_limit=10)
    torch.testing.assert_close(weights, torch.tensor(expected))


def test_importance_weights_above_the_cap_are_truncated_or_masked():
    # e^0 = 1, e^1 = 2.718282 above 2, e^-1 = 0.367879
    old, sampler = torch.tensor([0.0, 1.0, -1.0]), torch.zeros(3)
    truncated = importance_weights(old, sampler, cap=2.0, above="truncate")
    masked = importance_weights(old, sampler, cap=2.0, above="mask")
    assert truncated.tolist() == pytest.approx([1, 2, 0.367879], abs=1e-6)
    assert masked.tolist() == pytest.approx([1, 0, 0.367879], abs=1e-6)
