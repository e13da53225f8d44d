import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hicra_cli.core.errors import TrainingError
from hicra_cli.rl.losses import clipped_surrogate, loss_weights
from hicra_cli.rl.model import check_forward, policy_statistics
from hicra_cli.rl.packing import pack
from tests.rl.models import CONFIGS, random_rollouts, tiny_model

LENGTHS = st.lists(st.tuples(st.integers(1, 6), st.integers(1, 12)), min_size=1, max_size=7)


@given(LENGTHS, st.integers(1, 60), st.integers(0, 99))
def test_micro_batches_cover_every_response_token_once_within_the_budget(lengths, budget, seed):
    rollouts = random_rollouts(seed, lengths)
    packed = pack(rollouts)
    batches = list(packed.micro_batches(range(len(rollouts)), token_budget=budget))
    flat = torch.cat([micro.flat for micro in batches])
    assert sorted(flat.tolist()) == list(range(packed.num_tokens))
    targets = torch.cat([micro.targets for micro in batches])[flat.argsort()]
    assert targets.tolist() == np.concatenate([each.token_ids for each in rollouts]).tolist()
    for micro in batches:
        assert len(micro.input_ids) == 1 or micro.num_padded_tokens <= budget


def test_only_chosen_rollouts_are_computed():
    packed = pack(random_rollouts(0, [(2, 3), (2, 4), (2, 5)]))
    (micro,) = packed.micro_batches([0, 2], token_budget=1000)
    assert sorted(micro.flat.tolist()) == [0, 1, 2, *range(7, 12)]


def test_an_empty_response_is_refused():
    with pytest.raises(ValueError, match="p0#0 has an empty"):
        pack(random_rollouts(0, [(2, 0)]))


def gradient(model, rollouts, budget, chunk):
    """The whole step's gradient, accumulated over micro-batches of `budget` tokens."""
    packed = pack(rollouts)
    generator = torch.Generator().manual_seed(1)
    token_advantages = torch.randn(packed.num_tokens, generator=generator, dtype=torch.float64)
    lengths = torch.tensor([len(each.token_ids) for each in rollouts])
    weights = loss_weights(lengths, reduction="token", response_limit=12).double()
    model.zero_grad()
    for micro in packed.micro_batches(range(len(rollouts)), token_budget=budget):
        logprobs, _ = policy_statistics(model, micro, temperature=1.0, head_chunk=chunk)
        token_loss = clipped_surrogate(
            logprobs, logprobs.detach() - 0.1, token_advantages[micro.flat], clip_low=0.2, clip_high=0.28
        )
        (weights[micro.flat] * token_loss).sum().backward()
    return torch.cat([each.grad.flatten() for each in model.parameters()])


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 99), LENGTHS, st.integers(1, 60), st.integers(1, 9), st.sampled_from(sorted(CONFIGS)))
def test_the_gradient_does_not_depend_on_how_the_batch_was_cut(seed, lengths, budget, chunk, kind):
    model = tiny_model(kind, dtype=torch.float64)
    rollouts = random_rollouts(seed, lengths)
    whole = gradient(model, rollouts, budget=10_000, chunk=10_000)
    cut = gradient(model, rollouts, budget=budget, chunk=chunk)
    torch.testing.assert_close(cut, whole, atol=1e-10, rtol=0)


@pytest.mark.parametrize("kind", sorted(CONFIGS))
def test_packed_equals_single_in_values_and_gradients(kind):
    rollouts = random_rollouts(3, [(3, 9), (5, 2), (1, 12), (4, 4)])
    model = tiny_model(kind)
    packed = pack(rollouts)
    (micro,) = packed.micro_batches(range(4), token_budget=1000)
    together, entropy = policy_statistics(model, micro, temperature=1.0, head_chunk=1000)
    (together.sum() + entropy.sum()).backward()
    packed_gradient = torch.cat([each.grad.flatten() for each in model.parameters()])

    model.zero_grad()
    alone = torch.zeros(packed.num_tokens)
    for rollout, start in zip(rollouts, packed.starts, strict=True):
        row = torch.tensor([[*rollout.prompt_token_ids.tolist(), *rollout.token_ids.tolist()]])
        log_p = torch.log_softmax(model(input_ids=row).logits[0, len(rollout.prompt_token_ids) - 1 : -1], dim=-1)
        chosen = log_p.gather(1, torch.tensor(rollout.token_ids.astype(np.int64))[:, None]).squeeze(1)
        (chosen.sum() - (log_p.exp() * log_p).sum()).backward()
        alone[start : start + len(chosen)] = chosen.detach()
    torch.testing.assert_close(together.detach()[micro.flat.argsort()], alone, atol=1e-5, rtol=0)
    single_gradient = torch.cat([each.grad.flatten() for each in model.parameters()])
    torch.testing.assert_close(packed_gradient, single_gradient, atol=1e-5, rtol=1e-5)


def test_a_neighbour_in_the_batch_does_not_influence_a_rollout():
    model = tiny_model()
    first, second = random_rollouts(0, [(3, 9), (4, 2)])
    (_, other) = random_rollouts(9, [(3, 9), (4, 12)])
    values = []
    for neighbour in (second, other):
        (micro,) = pack([first, neighbour]).micro_batches([0, 1], token_budget=1000)
        logprobs, _ = policy_statistics(model, micro, temperature=1.0, head_chunk=1000)
        values.append(logprobs[micro.flat.argsort()][:9])
    torch.testing.assert_close(values[0], values[1], atol=1e-6, rtol=0)


def test_the_self_check_passes_a_plain_head_and_refuses_one_that_scales_its_logits():
    (micro,) = pack(random_rollouts(0, [(3, 9), (4, 2)])).micro_batches([0, 1], token_budget=1000)
    model = tiny_model()
    assert check_forward(model, micro, tolerance=1e-4) < 1e-5
    model.lm_head.register_forward_hook(lambda module, inputs, output: output * 0.5)
    with pytest.raises(TrainingError, match="differ from single ones"):
        check_forward(model, micro, tolerance=1e-4)
