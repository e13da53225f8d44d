import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hicra_cli.rl.losses import (
    cispo_loss,
    clipped_surrogate,
    dual_clipped,
    importance_weights,
    kl_estimate,
    loss_weights,
    overlong_penalty,
    sequence_logprobs,
)
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


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss"),
    # dual clip 3: blame at ratio 5 loses 5 without it, 3 with it; praise and small ratios are as before
    [(5.0, -1, 3.0), (2.0, -1, 2.0), (5.0, 1, -1.28), (0.5, -1, 0.8)],
)
def test_golden_values_of_the_dual_clip(ratio, advantage, loss):
    found = dual_clipped(torch.tensor([surrogate(ratio, advantage)]), torch.tensor([float(advantage)]), dual_clip=3.0)
    assert float(found) == pytest.approx(loss, abs=1e-6)


def test_cispo_weighs_the_log_prob_by_a_detached_capped_ratio():
    # ratio e^0.5 = 1.648721 capped at 1.5: loss -1.5 * 2 * -0.5 = 1.5, gradient -1.5 * 2 = -3
    logprobs = torch.tensor([-0.5], dtype=torch.float64, requires_grad=True)
    loss = cispo_loss(logprobs, torch.tensor([-1.0], dtype=torch.float64), torch.tensor([2.0]), ratio_cap=1.5)
    loss.sum().backward()
    assert logprobs.grad is not None
    assert (float(loss.detach()), float(logprobs.grad)) == pytest.approx((1.5, -3.0))


def test_a_sequence_has_one_ratio_the_geometric_mean_of_its_tokens():
    # differences 0.1, 0.3 -> mean 0.2; 0.4 alone -> 0.4
    old = torch.tensor([-1.0, -2.0, -3.0])
    found = sequence_logprobs(old + torch.tensor([0.1, 0.3, 0.4]), old, torch.tensor([2, 1]))
    torch.testing.assert_close(found - old, torch.tensor([0.2, 0.2, 0.4]), atol=1e-6, rtol=0)


def test_on_policy_a_sequence_ratio_spreads_the_gradient_over_its_tokens():
    # surrogate with A = 1, both tokens: each of the two losses moves by 1/2 per token, so 2 * 1/2 = 1 per token
    logprobs = torch.tensor([-1.0, -2.0], dtype=torch.float64, requires_grad=True)
    old = logprobs.detach()
    joint = sequence_logprobs(logprobs, old, torch.tensor([2]))
    clipped_surrogate(joint, old, torch.ones(2, dtype=torch.float64), clip_low=0.2, clip_high=0.2).sum().backward()
    assert logprobs.grad is not None
    assert logprobs.grad.tolist() == pytest.approx([-1.0, -1.0])


@pytest.mark.parametrize(
    ("estimator", "expected"),
    # d = 0.1, -0.5, 1: k1 = -d; k2 = d^2 / 2; k3 = e^d - 1 - d
    [
        ("k1", [-0.1, 0.5, -1.0]),
        ("k2", [0.005, 0.125, 0.5]),
        ("k3", [0.0051709, 0.1065307, 0.7182818]),
    ],
)
def test_golden_values_of_the_kl_estimators(estimator, expected):
    difference = torch.tensor([0.1, -0.5, 1.0], dtype=torch.float64)
    found = kl_estimate(torch.zeros(3, dtype=torch.float64), difference, estimator=estimator)
    assert found.tolist() == pytest.approx(expected, abs=1e-7)


def test_importance_weights_above_the_cap_are_truncated_or_masked():
    # e^0 = 1, e^1 = 2.718282 above 2, e^-1 = 0.367879
    old, sampler = torch.tensor([0.0, 1.0, -1.0]), torch.zeros(3)
    truncated = importance_weights(old, sampler, cap=2.0, above="truncate")
    masked = importance_weights(old, sampler, cap=2.0, above="mask")
    assert truncated.tolist() == pytest.approx([1, 2, 0.367879], abs=1e-6)
    assert masked.tolist() == pytest.approx([1, 0, 0.367879], abs=1e-6)


def test_the_soft_penalty_grows_over_the_buffer_before_the_limit():
    # limit 100, buffer 20: nothing up to 80, -0.5 at 90, -1 at 100 and beyond
    found = overlong_penalty(torch.tensor([10, 80, 90, 100, 130]), limit=100, buffer=20)
    assert found.tolist() == [0, 0, -0.5, -1, -1]
