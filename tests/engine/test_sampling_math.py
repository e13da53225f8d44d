"""Draws from logits: hand-worked borders, truncation, and the inverse CDF against a float64 reference."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hicra_cli.config.sampling import SamplingConfig
from hicra_cli.engine import sampling_math
from hicra_cli.engine.sampling_math import draw_tokens, inverse_cdf


def draw(probabilities: list[float], uniforms: list[float], **sampling: float) -> tuple[list[int], list[float], float]:
    """Draw with logits = ln(probabilities); returns tokens, exp(log-probs) and the entropy of the first row."""
    logits = torch.tensor([probabilities]).log().expand(len(uniforms), -1)
    drawn = draw_tokens(logits, torch.tensor(uniforms, dtype=torch.float64), SamplingConfig(**sampling))
    return drawn.token_ids.tolist(), drawn.logprobs.exp().tolist(), float(drawn.token_entropy[0])


def test_a_token_is_drawn_between_its_cumulative_borders():
    # cumulative 0.5, 0.75, 1.0: 0.49 -> 0, 0.51 -> 1, 0.74 -> 1, 0.76 -> 2, the largest float below 1 -> 2
    tokens, probabilities, entropy = draw([0.5, 0.25, 0.25], [0.0, 0.49, 0.51, 0.74, 0.76, 1 - 2**-53])
    assert tokens == [0, 0, 1, 1, 2, 2]
    assert probabilities == pytest.approx([0.5, 0.5, 0.25, 0.25, 0.25, 0.25], abs=1e-6)
    # 0.5 ln 2 + 2 * 0.25 ln 4 = 1.5 ln 2
    assert entropy == pytest.approx(1.0397208, abs=1e-6)


def test_temperature_sharpens_the_draw_but_not_the_entropy():
    # p^(1/0.5): 0.25, 0.0625, 0.0625 -> 2/3, 1/6, 1/6
    tokens, probabilities, entropy = draw([0.5, 0.25, 0.25], [0.66, 0.67, 0.84], temperature=0.5)
    assert tokens == [0, 1, 2]
    assert probabilities == pytest.approx([2 / 3, 1 / 6, 1 / 6], abs=1e-6)
    assert entropy == pytest.approx(1.0397208, abs=1e-6)


def test_temperature_zero_takes_the_likeliest_token_with_certainty():
    assert draw([0.2, 0.5, 0.3], [0.99], temperature=0)[:2] == ([1], [1.0])


def test_top_k_keeps_the_likeliest_and_renormalises():
    # 0.5 and 0.3 remain: 0.625, 0.375
    tokens, probabilities, _ = draw([0.2, 0.5, 0.3], [0.62, 0.63, 0.999], top_k=2)
    assert tokens == [1, 2, 2]
    assert probabilities == pytest.approx([0.625, 0.375, 0.375], abs=1e-6)


def test_top_p_keeps_the_smallest_set_that_reaches_the_share():
    # 0.5 does not reach 0.6, 0.5 + 0.3 does; 0.4 is reached by 0.5 alone
    assert draw([0.2, 0.5, 0.3], [0.1, 0.9], top_p=0.6)[0] == [1, 2]
    assert draw([0.2, 0.5, 0.3], [0.1, 0.999], top_p=0.4)[:2] == ([1, 1], [1.0, 1.0])


def test_top_p_counts_within_what_top_k_left():
    # top-k 2 leaves 0.5, 0.3 = 0.625, 0.375 of it: 0.6 of that is reached by the first alone
    assert draw([0.2, 0.5, 0.3], [0.999], top_k=2, top_p=0.6)[:2] == ([1], [1.0])


def test_impossible_tokens_are_never_drawn_and_do_not_spoil_the_entropy():
    logits = torch.tensor([[float("-inf"), 0.0, float("-inf"), 0.0, float("-inf")]]).repeat(3, 1)
    drawn = draw_tokens(logits, torch.tensor([0.0, 0.5, 1 - 2**-53], dtype=torch.float64), SamplingConfig())
    assert drawn.token_ids.tolist() == [1, 3, 3]
    assert drawn.token_entropy.tolist() == pytest.approx([np.log(2)] * 3, abs=1e-6)


def test_rows_that_are_not_finite_are_visible_in_the_result():
    for bad in (float("nan"), float("inf"), float("-inf")):
        logits = torch.zeros(2, 600)
        logits[1] = bad
        for sampling in (SamplingConfig(), SamplingConfig(temperature=0), SamplingConfig(top_k=5)):
            drawn = draw_tokens(logits, torch.tensor([0.3, 0.7], dtype=torch.float64), sampling)
            visible = torch.isfinite(drawn.logprobs + drawn.token_entropy)
            assert visible.tolist() == [True, False]


def test_chunks_of_rows_do_not_change_the_draw(monkeypatch: pytest.MonkeyPatch):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(23, 700, generator=generator)
    uniforms = torch.rand(23, generator=generator, dtype=torch.float64)
    whole = draw_tokens(logits, uniforms, SamplingConfig())
    monkeypatch.setattr(sampling_math, "_CHUNK_ELEMENTS", 5 * 700)
    parts = draw_tokens(logits, uniforms, SamplingConfig())
    assert torch.equal(whole.token_ids, parts.token_ids)
    torch.testing.assert_close(whole.logprobs, parts.logprobs, rtol=0, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(
    width=st.integers(1, 1200),
    zeros=st.floats(0, 0.99),
    seed=st.integers(0, 2**32 - 1),
    uniform=st.one_of(st.floats(0, 1, exclude_max=True), st.sampled_from([0.0, 1 - 2**-53])),
)
def test_the_inverse_cdf_agrees_with_float64_cumulative_sums(width: int, zeros: float, seed: int, uniform: float):
    generator = np.random.default_rng(seed)
    weights = (generator.random(width) * (generator.random(width) >= zeros)).astype(np.float32)
    weights[generator.integers(width)] = 0.5
    index = int(inverse_cdf(torch.from_numpy(weights[None]), torch.tensor([uniform], dtype=torch.float64))[0])
    reached = np.cumsum(weights.astype(np.float64))
    wanted = uniform * reached[-1]
    assert weights[index] > 0
    # Sums of blocks are float32: a border is known to about 1e-6 of the total.
    assert wanted < reached[index] + 1e-6 * reached[-1]
    assert wanted >= reached[index] - weights[index] - 1e-6 * reached[-1]


def test_frequencies_follow_the_probabilities():
    # 20000 even uniforms over three tokens: counts are within one of 20000 p
    uniforms = ((torch.arange(20000) + 0.5) / 20000).double()
    logits = torch.tensor([0.6, 0.3, 0.1]).log().expand(20000, 3)
    counts = torch.bincount(draw_tokens(logits, uniforms, SamplingConfig()).token_ids, minlength=3)
    assert counts.tolist() == pytest.approx([12000, 6000, 2000], abs=1)
