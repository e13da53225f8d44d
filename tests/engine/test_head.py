"""Tiles of the vocabulary: the same draws, log-probs and entropies as from the whole logits."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hicra_cli.config.sampling import SamplingConfig
from hicra_cli.engine import head
from hicra_cli.engine.head import draw_from_hidden
from hicra_cli.engine.sampling_math import draw_tokens

WIDTH = 24


def inputs(vocabulary: int, rows: int, *, seed: int, sharpness: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    """float64 hidden states (rows, 24), head (V, 24) and uniforms (rows,)."""
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(rows, WIDTH, generator=generator, dtype=torch.float64)
    weight = torch.randn(vocabulary, WIDTH, generator=generator, dtype=torch.float64) * sharpness
    return hidden, weight, torch.rand(rows, generator=generator, dtype=torch.float64)


@settings(max_examples=25, deadline=None)
@given(
    vocabulary=st.integers(head._TILE + 1, 3 * head._TILE + 70),
    rows=st.integers(1, 9),
    temperature=st.sampled_from([1.0, 0.5, 2.0]),
    sharpness=st.sampled_from([0.05, 1.0, 20.0]),
    seed=st.integers(0, 1000),
)
def test_tiles_give_the_tokens_log_probs_and_entropies_of_the_whole_logits(
    vocabulary: int, rows: int, temperature: float, sharpness: float, seed: int
):
    hidden, weight, uniforms = inputs(vocabulary, rows, seed=seed, sharpness=sharpness)
    drawn = draw_from_hidden(hidden, weight, uniforms, SamplingConfig(temperature=temperature))
    logits = hidden @ weight.t()
    scaled, whole = torch.log_softmax(logits / temperature, dim=-1), torch.log_softmax(logits, dim=-1)
    reached = scaled.exp().cumsum(dim=-1)
    expected = [int((row > number * row[-1]).nonzero()[0]) for row, number in zip(reached, uniforms, strict=True)]
    assert drawn.token_ids.tolist() == expected
    torch.testing.assert_close(drawn.logprobs, scaled.gather(1, drawn.token_ids[:, None])[:, 0], rtol=0, atol=1e-9)
    torch.testing.assert_close(drawn.token_entropy, torch.special.entr(whole.exp()).sum(dim=-1), rtol=0, atol=1e-9)


def test_float32_keeps_five_digits_over_a_large_vocabulary():
    hidden, weight, uniforms = inputs(50_000, 16, seed=1)
    drawn = draw_from_hidden(hidden.float(), weight.float(), uniforms, SamplingConfig())
    whole = torch.log_softmax(hidden @ weight.t(), dim=-1)
    chosen = whole.gather(1, drawn.token_ids[:, None])[:, 0]
    assert drawn.logprobs.dtype == drawn.token_entropy.dtype == torch.float32
    torch.testing.assert_close(drawn.logprobs.double(), chosen, rtol=0, atol=1e-5)
    entropy = torch.special.entr(whole.exp()).sum(dim=-1)
    torch.testing.assert_close(drawn.token_entropy.double(), entropy, rtol=0, atol=1e-5)


def test_the_last_words_of_an_uneven_vocabulary_can_be_drawn_and_none_beyond():
    hidden, weight, _ = inputs(head._TILE + 3, 4, seed=2)
    uniforms = torch.tensor([0.0, 0.5, 1 - 1e-16, 1 - 2**-53], dtype=torch.float64)
    weight[-1] = hidden[2] * 50  # The third row's mass lies on the last word.
    drawn = draw_from_hidden(hidden, weight, uniforms, SamplingConfig())
    assert drawn.token_ids[2] == head._TILE + 2
    assert int(drawn.token_ids.max()) < len(weight)


@pytest.mark.parametrize("sampling", [{"temperature": 0}, {"top_k": 5}, {"top_p": 0.5}])
def test_greedy_and_truncated_sampling_see_the_whole_logits(sampling: dict[str, float]):
    hidden, weight, uniforms = inputs(head._TILE * 2, 5, seed=3)
    config = SamplingConfig.model_validate(sampling)
    found, expected = (
        draw_from_hidden(hidden, weight, uniforms, config),
        draw_tokens(hidden @ weight.t(), uniforms, config),
    )
    assert found.token_ids.tolist() == expected.token_ids.tolist()
    torch.testing.assert_close(found.logprobs, expected.logprobs)


def test_a_row_alone_is_drawn_as_among_others():
    hidden, weight, uniforms = inputs(head._TILE * 2 + 9, 12, seed=4)
    together = draw_from_hidden(hidden, weight, uniforms, SamplingConfig())
    for row in range(12):
        alone = draw_from_hidden(hidden[row : row + 1], weight, uniforms[row : row + 1], SamplingConfig())
        assert alone.token_ids.tolist() == together.token_ids[row : row + 1].tolist()


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_logits_that_are_not_finite_are_seen_in_every_row(broken: float):
    hidden, weight, uniforms = inputs(head._TILE * 2, 3, seed=5)
    weight[head._TILE + 7] = broken
    drawn = draw_from_hidden(hidden, weight, uniforms, SamplingConfig())
    assert not torch.isfinite(drawn.logprobs + drawn.token_entropy).any()
    assert int(drawn.token_ids.max()) < len(weight)


def test_sixteen_bit_heads_are_read_in_float32():
    hidden, weight, uniforms = inputs(head._TILE * 2, 6, seed=6, sharpness=0.2)
    hidden, weight = hidden.bfloat16(), weight.bfloat16()
    drawn = draw_from_hidden(hidden, weight, uniforms, SamplingConfig())
    whole = torch.log_softmax((hidden @ weight.t()).float(), dim=-1)
    chosen = whole.gather(1, drawn.token_ids[:, None])[:, 0]
    assert drawn.logprobs.dtype == torch.float32
    torch.testing.assert_close(drawn.logprobs, chosen, rtol=0, atol=0.02)
