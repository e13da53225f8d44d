import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hicra_cli.rl.head import token_statistics
from tests.reference import rl as reference


def random_problem(seed, tokens=7, hidden_size=5, vocabulary=11):
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(tokens, hidden_size, generator=generator, dtype=torch.float64)
    weight = torch.randn(vocabulary, hidden_size, generator=generator, dtype=torch.float64)
    targets = torch.randint(vocabulary, (tokens,), generator=generator)
    return hidden.requires_grad_(), weight.requires_grad_(), targets


def test_golden_values_of_log_prob_and_entropy():
    # logits 2, 1, 0, -1, target the first: log p = -0.440190 and H = 0.947537 at temperature 1;
    # log p = -0.270674 at temperature 0.7, while the entropy stays that of temperature 1
    weight = torch.tensor([[2.0], [1.0], [0.0], [-1.0]], dtype=torch.float64)
    for temperature, expected in ((1.0, -0.440190), (0.7, -0.270674)):
        logprobs, entropy = token_statistics(
            torch.ones(1, 1, dtype=torch.float64), weight, torch.tensor([0]), temperature=temperature
        )
        assert float(logprobs) == pytest.approx(expected, abs=1e-6)
        assert float(entropy) == pytest.approx(0.947537, abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 9), st.sampled_from([1.0, 0.7, 1.3]))
def test_any_chunk_gives_the_values_and_gradients_of_the_full_matrix(seed, chunk, temperature):
    hidden, weight, targets = random_problem(seed)
    logprobs, entropy = token_statistics(hidden, weight, targets, temperature=temperature, chunk=chunk)
    mix = torch.linspace(-1, 1, len(targets), dtype=torch.float64)
    (logprobs @ mix + entropy @ mix.flip(0)).backward()
    found = hidden.grad, weight.grad

    hidden, weight, _ = random_problem(seed)
    logits = hidden @ weight.T
    log_p = torch.log_softmax(logits, dim=-1)
    full_entropy = -(log_p.exp() * log_p).sum(-1)
    full = torch.log_softmax(logits / temperature, dim=-1).gather(1, targets[:, None]).squeeze(1)
    (full @ mix + full_entropy @ mix.flip(0)).backward()
    torch.testing.assert_close(logprobs, full, atol=1e-12, rtol=0)
    torch.testing.assert_close(found[0], hidden.grad, atol=1e-10, rtol=0)
    torch.testing.assert_close(found[1], weight.grad, atol=1e-10, rtol=0)
    by_hand = reference.token_statistics(logits[0].tolist(), int(targets[0]), temperature)
    assert (logprobs[0].item(), entropy[0].item()) == pytest.approx(by_hand, abs=1e-10)


def test_no_response_tokens_give_empty_statistics():
    hidden, weight, _ = random_problem(0)
    logprobs, entropy = token_statistics(hidden[:0], weight, torch.zeros(0, dtype=torch.int64))
    assert logprobs.shape == entropy.shape == (0,)
