import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hicra_cli.rl.advantages import group_advantages, hicra_advantages, move_alphas
from hicra_cli.rl.credit import entropy_advantages, fork_mask, release_mask, zero_sum_advantages


def expect_close(found, expected, tolerance=1e-6):
    torch.testing.assert_close(found, torch.tensor(expected), atol=tolerance, rtol=0)


def test_the_entropy_bonus_is_capped_by_the_advantage():
    # beta 0.4, kappa 2: min(0.4 * 1, 0.5 / 2) = 0.25; min(0.4 * 0.5, 1 / 2) = 0.2; |A| = 0 gives 0
    found = entropy_advantages(torch.tensor([0.5, -1.0, 0.0]), torch.tensor([1.0, 0.5, 2.0]), beta=0.4, kappa=2.0)
    expect_close(found, [0.75, -0.8, 0.0])


@given(st.floats(-3, 3), st.floats(0, 10))
def test_the_entropy_bonus_never_turns_blame_into_praise(advantage, entropy):
    found = float(entropy_advantages(torch.tensor([advantage]), torch.tensor([entropy]), beta=0.4, kappa=2.0))
    assert found * advantage >= 0


def test_a_kappa_that_could_flip_the_sign_is_refused():
    with pytest.raises(ValueError, match="kappa"):
        entropy_advantages(torch.zeros(1), torch.zeros(1), beta=0.4, kappa=1.0)


def test_fork_tokens_are_the_share_of_highest_entropy_with_ties():
    # 20 % of 10 tokens is 2: the threshold is the second largest, 4.0, which occurs twice
    entropy = torch.tensor([0.1, 5.0, 0.2, 4.0, 0.3, 4.0, 0.4, 0.5, 0.6, 0.7])
    assert fork_mask(entropy, fraction=0.2).nonzero().squeeze(1).tolist() == [1, 3, 5]
    assert fork_mask(torch.zeros(0), fraction=0.2).tolist() == []
    assert fork_mask(entropy, fraction=0.01).sum() == 1


def test_zero_sum_keeps_the_sum_of_grpo_and_the_focus_on_planning_tokens():
    # group 1: A = 1, 1 (2 tokens), -1 (1 token), all but the second planning, alpha 0.2:
    # amplified 1.2, 1, -0.8; added 0.2 + 0.2 = 0.4 over 3 tokens = 0.133333 each
    # group 2: no planning token, nothing changes
    advantages = torch.tensor([1.0, 1.0, -1.0, 0.5, -0.5])
    mask = torch.tensor([True, False, True, False, False])
    found = zero_sum_advantages(advantages, hicra_advantages(advantages, mask, alpha=0.2), torch.tensor([3, 2]))
    expect_close(found, [1.066667, 0.866667, -0.933333, 0.5, -0.5])


@given(st.lists(st.booleans(), min_size=12, max_size=12), st.floats(0, 1))
def test_zero_sum_adds_nothing_to_a_groups_sum(mask, alpha):
    advantages = torch.tensor([0.75, 0.75, 0.75, -0.25, -0.25, -0.25] * 2)
    found = zero_sum_advantages(
        advantages, hicra_advantages(advantages, torch.tensor(mask), alpha=alpha), torch.tensor([6, 6])
    )
    torch.testing.assert_close(found.view(2, 6).sum(1), advantages.view(2, 6).sum(1), atol=1e-5, rtol=0)


def test_the_release_variant_adds_high_entropy_tokens_of_long_praised_answers():
    # lengths 4, 2, mean 3: only the first answer is longer; it is praised, the other blamed.
    # its entropies 0.1 0.9 0.5 0.2: the 0.7 quantile is 0.2 + ... sorted 0.1 0.2 0.5 0.9, position 2.1 -> 0.54
    planning = torch.tensor([True, False, False, False, False, True])
    entropy = torch.tensor([0.1, 0.9, 0.5, 0.2, 3.0, 3.0])
    found = release_mask(planning, entropy, torch.tensor([0.5, -0.5]), torch.tensor([4, 2]), group_size=2, fraction=0.3)
    assert found.tolist() == [True, True, False, False, False, True]


def test_published_cases_of_the_release_variant():
    # lengths 8, 4, 6, 2, all praised, mean 5: rows 1 and 3 are eligible; equal entropies: nothing is strictly above
    lengths = torch.tensor([8, 4, 6, 2])
    entropy = torch.arange(20, dtype=torch.float32)
    none = torch.zeros(20, dtype=torch.bool)
    found = release_mask(none, entropy, torch.ones(4), lengths, group_size=4, fraction=0.3)
    marked = [bool(part.any()) for part in found.split(lengths.tolist())]
    assert marked == [True, False, True, False]
    assert not release_mask(none, torch.ones(20), torch.ones(4), lengths, group_size=4, fraction=0.3).any()


def test_each_move_can_have_its_own_alpha():
    # deduction 0, branching 0.2, backtracing 0.4; the last token has no move
    alphas = move_alphas(torch.tensor([0, 1, 2, -1]), torch.tensor([0.0, 0.2, 0.4]))
    found = hicra_advantages(torch.tensor([1.0, 1.0, -1.0, 1.0]), torch.tensor([True, True, True, False]), alpha=alphas)
    expect_close(found, [1.0, 1.2, -0.6, 1.0])


def test_advantages_divided_by_the_std_of_the_batch():
    # rewards 1,0 | 1,1: std of 1,0,1,1 = sqrt((0.25^2 * 3 + 0.75^2) / 3) = 0.5; +-0.5 / 0.500001 = 0.999998
    found = group_advantages(torch.tensor([1.0, 0.0, 1.0, 1.0]), group_size=2, scale="batch")
    expect_close(found, [0.999998, -0.999998, 0.0, 0.0])
