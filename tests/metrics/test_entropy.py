"""Token entropy and relative perplexity: golden values, the float64 reference, properties."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hicra_cli.metrics.entropy import class_means, relative_perplexity, token_entropy
from tests.reference.entropy import entropy_of_logits


def test_equal_logits_have_the_entropy_of_a_uniform_choice():
    # uniform over 4: ln 4 = 1.386294; over 2 (two impossible tokens): ln 2 = 0.693147
    logits = torch.tensor([[0.5, 0.5, 0.5, 0.5], [3.0, 3.0, -math.inf, -math.inf]])
    torch.testing.assert_close(token_entropy(logits), torch.tensor([1.3862944, 0.6931472]))


def test_three_to_one_odds():
    # p = 3/4, 1/4: -(0.75 ln 0.75 + 0.25 ln 0.25) = 0.215762 + 0.346574 = 0.562335
    logits = torch.tensor([[math.log(3.0), 0.0]], dtype=torch.float64)
    torch.testing.assert_close(token_entropy(logits), torch.tensor([0.5623351446], dtype=torch.float64))


def test_a_certain_token_has_no_entropy():
    assert token_entropy(torch.tensor([[200.0, -200.0, -200.0]])).item() == 0.0


def test_half_precision_logits_are_widened_before_the_sum():
    logits = torch.randn(3, 1000, generator=torch.Generator().manual_seed(0)).bfloat16()
    assert token_entropy(logits).dtype == torch.float32
    torch.testing.assert_close(token_entropy(logits), token_entropy(logits.double()).float())


@given(st.lists(st.floats(-30, 30), min_size=1, max_size=12), st.floats(-100, 100))
def test_equals_the_reference_and_ignores_a_shift_of_the_logits(logits, shift):
    tensor = torch.tensor(logits, dtype=torch.float64)
    assert token_entropy(tensor).item() == pytest.approx(entropy_of_logits(logits), abs=1e-12)
    assert token_entropy(tensor + shift).item() == pytest.approx(entropy_of_logits(logits), abs=1e-9)


def test_means_are_taken_by_class():
    # planning: (1 + 3) / 2 = 2; execution: (2 + 6) / 2 = 4; all: 12 / 4 = 3
    means = class_means([1.0, 2.0, 3.0, 6.0], [True, False, True, False])
    assert (means.planning, means.execution, means.all) == (2.0, 4.0, 3.0)


def test_a_class_without_tokens_was_not_measured():
    means = class_means([1.0, 2.0], [False, False])
    assert math.isnan(means.planning)
    assert means.execution == 1.5


def test_values_and_mask_must_belong_together():
    with pytest.raises(ValueError, match="planning mask"):
        class_means([1.0, 2.0], [True])


def test_relative_perplexity_is_the_ratio_to_the_first_step():
    # means -0.7, -0.5, -0.9: exp(0.7-0.7) = 1, exp(0.5-0.7) = exp(-0.2) = 0.818731, exp(0.9-0.7) = 1.221403
    assert relative_perplexity([-0.7, -0.5, -0.9]) == pytest.approx([1.0, 0.8187307531, 1.2214027582])


def test_the_first_measured_step_is_the_reference():
    ratios = relative_perplexity([math.nan, -0.5, -0.25])
    assert math.isnan(ratios[0])
    assert ratios[1:] == pytest.approx([1.0, math.exp(-0.25)])
    assert all(math.isnan(ratio) for ratio in relative_perplexity([math.nan, math.nan]))
    assert relative_perplexity([]) == []


@given(st.lists(st.floats(-20, 0), min_size=1, max_size=20))
def test_relative_perplexity_is_the_quotient_of_perplexities(mean_logprobs):
    perplexities = np.exp(-np.asarray(mean_logprobs))
    assert relative_perplexity(mean_logprobs) == pytest.approx((perplexities / perplexities[0]).tolist(), rel=1e-12)
