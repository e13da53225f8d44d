import pytest
import torch

from hicra_cli.config.train import TrainConfig
from hicra_cli.core.errors import TrainingError
from hicra_cli.rl.model import Policy, check_forward
from hicra_cli.rl.objective import TokenTerms
from hicra_cli.rl.packing import pack
from hicra_cli.stages.train.objective import choose_objective
from tests.rl.models import CONFIGS, HEADS, random_rollouts, tiny_model

LENGTHS = [(3, 5), (1, 1), (6, 4), (2, 9)]
NUM_TOKENS = sum(response for _, response in LENGTHS)
# Of every objective one whose terms are all at work: ratios on both sides of the clip, weights under and over the cap.
OBJECTIVES = {
    "grpo": {},
    "clip": {"clip_low": 0.1, "clip_high": 0.1},
    "dual-clip": {"dual_clip": 1.5},
    "cispo": {"loss": "cispo", "cispo_cap": 1.2},
    "kl": {"kl_beta": 0.3, "kl_estimator": "k3"},
    "entropy": {"algo": "entropy-reg", "entropy_beta": 0.05},
    "gspo": {"ratio_level": "sequence"},
}
UPDATES = {"clip", "dual-clip", "cispo", "gspo"}


def micro_batch(seed=0):
    (micro,) = pack(random_rollouts(seed, LENGTHS)).micro_batches(range(len(LENGTHS)), token_budget=10_000)
    return micro


def token_terms(name, logprobs, lengths, seed=0):
    """Terms around the policy's own log-probs, a third of the tokens without advantage."""
    generator = torch.Generator().manual_seed(seed)
    near = [logprobs.detach() + 0.4 * torch.randn(logprobs.shape, generator=generator).to(logprobs) for _ in range(3)]
    advantages = torch.randn(logprobs.shape, generator=generator).to(logprobs)
    advantages[torch.rand(logprobs.shape, generator=generator) < 0.33] = 0
    weights = torch.rand(logprobs.shape, generator=generator).to(logprobs)
    old_logprobs = near[1] if name in UPDATES else None
    return TokenTerms(advantages, weights, near[0], old_logprobs, near[2] if name == "kl" else None, lengths)


def full_logits(model, micro, temperature):
    """Log-probs and entropies from the model's own logits, differentiable."""
    logits = model(input_ids=micro.input_ids, use_cache=False).logits.flatten(0, 1)[micro.predictor]
    log_p = torch.log_softmax(logits, -1)
    sampled = torch.log_softmax(logits / temperature, -1).gather(1, micro.targets[:, None]).squeeze(1)
    return sampled, -(log_p.exp() * log_p).sum(-1)


def gradients(model):
    return {name: each.grad.clone() for name, each in model.named_parameters() if each.grad is not None}


def both_ways(kind, name, *, dtype=torch.float64, temperature=0.8, head_chunk=4):
    """(loss, log-probs, entropies, gradients) by the fused head and by full logits."""
    model, micro = tiny_model(kind, dtype=dtype), micro_batch()
    objective = choose_objective(TrainConfig.model_validate(OBJECTIVES[name]))
    logprobs, entropy = full_logits(model, micro, temperature)
    terms = token_terms(name, logprobs, micro.lengths)
    loss = objective.losses(logprobs, entropy, terms).sum()
    loss.backward()
    expected = loss.detach(), logprobs.detach(), entropy.detach(), gradients(model)
    model.zero_grad()
    seen = Policy(model, temperature=temperature, head_chunk=head_chunk)(micro, objective, terms)
    seen.loss.backward()
    return (seen.loss.detach(), seen.logprobs, seen.entropy, gradients(model)), expected


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("kind", [*CONFIGS, *HEADS])
def test_the_fused_head_gives_the_values_and_gradients_of_full_logits(kind, name):
    found, expected = both_ways(kind, name)
    torch.testing.assert_close(found, expected, atol=1e-10, rtol=0)


@pytest.mark.parametrize("kind", CONFIGS)
def test_single_precision_agrees_to_its_own_rounding(kind):
    found, expected = both_ways(kind, "grpo", dtype=torch.float32, temperature=1.0)
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["grpo", "entropy", "gspo"])
def test_under_bfloat16_autocast_loss_and_gradients_stay_near(name):
    model, micro = tiny_model("qwen3"), micro_batch()
    objective = choose_objective(TrainConfig.model_validate(OBJECTIVES[name]))
    policy = Policy(model, temperature=1.0, head_chunk=4)
    terms = token_terms(name, policy(micro).logprobs, micro.lengths)
    policy(micro, objective, terms).loss.backward()
    exact = gradients(model)
    model.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        seen = policy(micro, objective, terms)
    seen.loss.backward()
    assert seen.logprobs.dtype == seen.entropy.dtype == torch.float32
    for name, gradient in gradients(model).items():
        assert gradient.dtype == torch.float32
        assert float((gradient - exact[name]).norm() / exact[name].norm()) < 0.05, name


def test_a_frozen_head_gets_no_gradient_and_the_rest_the_same():
    model, micro = tiny_model("qwen3", dtype=torch.float64), micro_batch()
    objective = choose_objective(TrainConfig())
    policy = Policy(model, temperature=1.0, head_chunk=4)
    terms = token_terms("grpo", policy(micro).logprobs, micro.lengths)
    policy(micro, objective, terms).loss.backward()
    trained = gradients(model)
    model.zero_grad()
    model.lm_head.weight.requires_grad_(False)
    policy(micro, objective, terms).loss.backward()
    frozen = gradients(model)
    assert trained.keys() - frozen.keys() == {"lm_head.weight"}
    torch.testing.assert_close(frozen, {name: trained[name] for name in frozen}, atol=1e-12, rtol=0)


def test_without_gradient_the_figures_are_the_same_and_nothing_is_differentiable():
    model, micro = tiny_model("qwen3"), micro_batch()
    objective = choose_objective(TrainConfig())
    policy = Policy(model, temperature=1.0, head_chunk=4)
    terms = token_terms("grpo", policy(micro).logprobs, micro.lengths)
    learning = policy(micro, objective, terms)
    with torch.no_grad():
        looking = policy(micro, objective, terms)
        alone = policy(micro)
    assert not looking.loss.requires_grad
    for each in (looking, alone):
        assert torch.equal(each.logprobs, learning.logprobs)
        assert torch.equal(each.entropy, learning.entropy)
    assert torch.equal(looking.loss, learning.loss.detach())


@pytest.mark.parametrize("kind", HEADS)
def test_the_self_check_accepts_heads_that_the_configuration_names(kind):
    assert check_forward(tiny_model(kind), micro_batch(), tolerance=1e-4) < 1e-5


def test_the_self_check_refuses_a_head_it_does_not_know_and_names_what_is_unusual():
    model = tiny_model("gemma2")
    model.get_output_embeddings().register_forward_hook(lambda *args: args[-1] + 0.3 * args[-1] ** 2)
    with pytest.raises(TrainingError, match="single ones") as caught:
        check_forward(model, micro_batch(), tolerance=1e-4)
    assert "final_logit_softcapping 0.5" in str(caught.value.fix)
