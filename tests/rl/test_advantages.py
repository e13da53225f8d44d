import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hicra_cli.rl.advantages import group_advantages, hicra_advantages, spread
from tests.reference import rl as reference


def expect_close(found, expected, tolerance=1e-6):
    torch.testing.assert_close(found, torch.tensor(expected), atol=tolerance, rtol=0)


def test_undivided_advantages_are_rewards_minus_the_mean_of_their_group():
    # mean of 1,0,0,0 is 0.25; of 1,1,0,0 it is 0.5
    rewards = torch.tensor([1.0, 0, 0, 0, 1, 1, 0, 0])
    expect_close(group_advantages(rewards, group_size=4), [0.75, -0.25, -0.25, -0.25, 0.5, 0.5, -0.5, -0.5])


def test_std_scaled_advantages_use_the_unbiased_std():
    # 1,0,0,0: std = sqrt((0.5625 + 3 * 0.0625) / 3) = 0.5; 0.75 / 0.500001 = 1.499997
    # 1,1,0,0: std = sqrt(4 * 0.25 / 3) = 0.577350; 0.5 / 0.577351 = 0.866024
    rewards = torch.tensor([1.0, 0, 0, 0, 1, 1, 0, 0])
    expected = [1.499997, -0.499999, -0.499999, -0.499999, 0.866024, 0.866024, -0.866024, -0.866024]
    expect_close(group_advantages(rewards, group_size=4, scale="std"), expected)


def test_a_group_with_equal_rewards_has_exactly_no_advantage_whatever_rounding_does():
    rewards = torch.tensor([0.1] * 7 + [0.3] * 7)
    for scale in ("none", "std"):
        assert torch.equal(group_advantages(rewards, group_size=7, scale=scale), torch.zeros(14))


def test_rewards_that_are_no_whole_number_of_groups_are_refused():
    with pytest.raises(ValueError, match="5 rewards"):
        group_advantages(torch.zeros(5), group_size=4)


@given(
    st.lists(st.floats(-3, 3, width=32), min_size=4, max_size=4),
    st.permutations(range(4)),
    st.sampled_from(["none", "std"]),
)
def test_permuting_a_group_permutes_its_advantages_and_both_equal_the_reference(rewards, order, scale):
    found = group_advantages(torch.tensor(rewards), group_size=4, scale=scale)
    permuted = group_advantages(torch.tensor([rewards[each] for each in order]), group_size=4, scale=scale)
    torch.testing.assert_close(permuted, found[list(order)], atol=2e-6, rtol=1e-4)
    expect_close(found, reference.group_advantages(rewards, 4, scale), tolerance=1e-4)


def test_planning_tokens_are_praised_more_and_blamed_less():
    # alpha 0.2: 0.5 + 0.2 * 0.5 = 0.6 and -0.5 + 0.2 * 0.5 = -0.4; the second and fourth token are execution
    advantages = torch.tensor([0.5, 0.5, -0.5, -0.5])
    planning_mask = torch.tensor([True, False, True, False])
    expect_close(hicra_advantages(advantages, planning_mask, alpha=0.2), [0.6, 0.5, -0.4, -0.5])


def test_published_golden_values_of_hicra():
    # +1 -> 1 + 0.2 = 1.2, -1 -> -1 + 0.2 = -0.8
    expect_close(hicra_advantages(torch.tensor([1.0, -1.0]), torch.tensor([True, True]), alpha=0.2), [1.2, -0.8])
    advantages = torch.tensor([0.5, -0.3, 0.2, -0.1, 0.0])
    planning_mask = torch.tensor([True, False, True, True, True])
    expect_close(hicra_advantages(advantages, planning_mask, alpha=0.2), [0.6, -0.3, 0.24, -0.08, 0.0])


def test_alpha_zero_is_plain_grpo_bit_for_bit():
    advantages = torch.randn(64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(hicra_advantages(advantages, torch.ones(64, dtype=torch.bool), alpha=0.0), advantages)


def test_the_general_form_has_an_alpha_for_praise_and_one_for_blame():
    # +1 -> 1 + 0.3, -1 -> -1 + 0.1
    found = hicra_advantages(
        torch.tensor([1.0, -1.0]), torch.tensor([True, True]), alpha_positive=0.3, alpha_negative=0.1
    )
    expect_close(found, [1.3, -0.9])


def test_a_group_gains_alpha_times_its_planning_mass():
    # one of four correct, every token planning: sum = 0 + 0.2 * (0.75 + 3 * 0.25) = 0.3
    advantages = group_advantages(torch.tensor([1.0, 0, 0, 0]), group_size=4)
    amplified = hicra_advantages(advantages, torch.ones(4, dtype=torch.bool), alpha=0.2)
    assert float(amplified.sum()) == pytest.approx(0.3, abs=1e-6)


@pytest.mark.parametrize("alpha", [-0.1, 1.5, float("nan")])
def test_an_alpha_outside_zero_to_one_is_refused(alpha):
    with pytest.raises(ValueError, match="alpha must lie"):
        hicra_advantages(torch.zeros(2), torch.zeros(2, dtype=torch.bool), alpha=alpha)


def test_a_mask_of_another_shape_or_type_is_refused():
    with pytest.raises(ValueError, match="planning_mask must be bool"):
        hicra_advantages(torch.zeros(2), torch.zeros(3, dtype=torch.bool), alpha=0.2)
    with pytest.raises(ValueError, match="planning_mask must be bool"):
        hicra_advantages(torch.zeros(2), torch.zeros(2), alpha=0.2)


def test_padded_callers_get_the_same_values_in_their_own_shape():
    advantages, planning_mask = torch.tensor([[0.5, -0.5]]), torch.tensor([[True, True]])
    expect_close(hicra_advantages(advantages, planning_mask, alpha=0.2), [[0.6, -0.4]])


def test_spread_repeats_each_advantage_over_its_tokens():
    assert spread(torch.tensor([1.0, 2.0]), torch.tensor([2, 3])).tolist() == [1, 1, 2, 2, 2]
