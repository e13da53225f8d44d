import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from hicra_cli.rl import vocabulary
from hicra_cli.rl.head import token_losses, token_statistics
from hicra_cli.rl.objective import Objective, TokenTerms
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


def no_terms(advantages):
    zeros = torch.zeros_like(advantages)
    return TokenTerms(advantages, zeros, zeros, None, None, torch.tensor([len(advantages)]))


LINEAR = Objective(lambda logprobs, entropy, terms: -terms.advantages * logprobs, by_token=True, with_entropy=False)
BOTH = Objective(
    lambda logprobs, entropy, terms: -terms.advantages * logprobs.exp() - 0.3 * terms.advantages**2 * entropy**2,
    by_token=True,
    with_entropy=True,
)


def test_golden_loss_and_gradient_of_one_token():
    # logits 2 and 0, target the second, A = 0.5: p = (0.880797, 0.119203), log p_y = -2.126928, loss 1.063464;
    # d loss / dz = A * (p - onehot) = (0.440399, -0.440399); weight's gradient is that times hidden = 1,
    # hidden's is 0.440399 * 2 - 0.440399 * 0 = 0.880797
    hidden = torch.ones(1, 1, dtype=torch.float64, requires_grad=True)
    weight = torch.tensor([[2.0], [0.0]], dtype=torch.float64, requires_grad=True)
    advantages = torch.tensor([0.5], dtype=torch.float64)
    seen = token_losses(hidden, weight, torch.tensor([1]), LINEAR, no_terms(advantages))
    grad_hidden, grad_weight = torch.autograd.grad(seen.loss, [hidden, weight])
    assert float(seen.loss.detach()) == pytest.approx(1.063464, abs=1e-6)
    assert float(seen.logprobs) == pytest.approx(-2.126928, abs=1e-6)
    assert grad_weight.flatten().tolist() == pytest.approx([0.440399, -0.440399], abs=1e-6)
    assert float(grad_hidden) == pytest.approx(0.880797, abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 1000),
    chunk=st.integers(1, 9),
    columns=st.integers(1, 11),
    temperature=st.sampled_from([1.0, 0.7, 1.3]),
    softcap=st.sampled_from([None, 1.5]),
    objective=st.sampled_from([LINEAR, BOTH]),
    silent=st.sets(st.integers(0, 6)),
)
def test_any_tile_gives_the_losses_and_gradients_of_the_full_matrix(
    seed, chunk, columns, temperature, softcap, objective, silent
):
    advantages = torch.linspace(-1, 1.1, 7, dtype=torch.float64)
    advantages[list(silent)] = 0
    hidden, weight, targets = random_problem(seed)
    with pytest.MonkeyPatch.context() as patch:
        shape = {"rows": chunk, "columns": columns}
        patch.setattr(vocabulary.Tiling, "chunks", lambda self, size: vocabulary._slices(size, shape["rows"]))
        patch.setattr(vocabulary.Tiling, "tiles", lambda self, size: vocabulary._slices(size, shape["columns"]))
        seen = token_losses(
            hidden, weight, targets, objective, no_terms(advantages), temperature=temperature, softcap=softcap
        )
        (2 * seen.loss).backward()
    found = seen.loss.detach(), seen.logprobs, seen.entropy, hidden.grad, weight.grad

    hidden, weight, _ = random_problem(seed)
    logits = hidden @ weight.T
    logits = logits if softcap is None else softcap * torch.tanh(logits / softcap)
    log_p = torch.log_softmax(logits, dim=-1)
    entropy = -(log_p.exp() * log_p).sum(-1)
    logprobs = torch.log_softmax(logits / temperature, dim=-1).gather(1, targets[:, None]).squeeze(1)
    loss = objective.losses(logprobs, entropy, no_terms(advantages)).sum()
    (2 * loss).backward()
    expected = loss.detach(), logprobs.detach(), entropy.detach(), hidden.grad, weight.grad
    torch.testing.assert_close(found, expected, atol=1e-10, rtol=0)


def test_numeric_derivatives_agree():
    hidden, weight, targets = random_problem(3)

    def statistics(hidden, weight):
        return token_statistics(hidden, weight, targets, temperature=0.8, chunk=3, softcap=2.0)

    assert torch.autograd.gradcheck(statistics, (hidden, weight))


def test_large_logits_neither_overflow_nor_cost_the_entropy_its_digits():
    # two words 400 and 401 above the rest, in the last tile: p = 1 / (1 + e) and e / (1 + e), H = 0.582203
    weight = torch.zeros(600, 1)
    weight[-2:, 0] = torch.tensor([400.0, 401.0])
    logprobs, entropy = token_statistics(torch.ones(1, 1), weight, torch.tensor([598]))
    assert float(logprobs) == pytest.approx(-1.313262, abs=1e-6)
    assert float(entropy) == pytest.approx(0.582203, abs=1e-6)


def test_no_response_tokens_have_no_loss_and_no_gradient():
    hidden, weight, _ = random_problem(0)
    nothing = torch.zeros(0, dtype=torch.int64)
    loss, logprobs, entropy = token_losses(hidden[:0], weight, nothing, BOTH, no_terms(torch.zeros(0)))
    loss.backward()
    assert float(loss.detach()) == 0
    assert logprobs.shape == entropy.shape == (0,)
    assert not weight.grad.any()
    assert not hidden.grad.any()


def test_a_second_backward_is_refused():
    hidden, weight, targets = random_problem(0)
    loss = token_losses(hidden, weight, targets, LINEAR, no_terms(torch.ones(7, dtype=torch.float64))).loss
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="once"):
        loss.backward()


class LargestTensor(TorchDispatchMode):
    """The most elements of any tensor that was made."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for each in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(each, torch.Tensor):
                self.elements = max(self.elements, each.untyped_storage().nbytes() // each.element_size())
        return result


@pytest.mark.parametrize("objective", [LINEAR, BOTH])
@pytest.mark.parametrize("recomputed", [False, True])
def test_memory_of_the_vocabulary_does_not_grow_with_the_response(objective, recomputed):
    hidden_size, words, chunk = 4, 3000, 32

    def largest(num_tokens):
        hidden = torch.randn(num_tokens, hidden_size, requires_grad=True)
        weight = torch.randn(words, hidden_size, requires_grad=True)
        targets, terms = torch.randint(words, (num_tokens,)), no_terms(torch.randn(num_tokens))
        with LargestTensor() as seen:
            if recomputed:
                objective.losses(*token_statistics(hidden, weight, targets, chunk=chunk), terms).sum().backward()
            else:
                token_losses(hidden, weight, targets, objective, terms, chunk=chunk).loss.backward()
        return seen.elements

    assert largest(64) == largest(1024) <= chunk * words
