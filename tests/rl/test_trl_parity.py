"""Losses and gradients on the same token batch as TRL 1.16's GRPOTrainer, for every option that both have.

Both sides take two updates by plain gradient descent on one batch: in the first the ratio is 1, in the second it is
clipped for many tokens. TRL computes its head in float32 whatever the model, so all is float32: gradients are compared
by the norm of the difference of all tensors together, losses (sums that cancel) relative to mean |A|.

Where the two differ by design:
- TRL divides advantages by std + 1e-4, hicra by std + 1e-6; here advantages are given to both.
- TRL's `cispo` takes its cap from epsilon_high, hicra from cispo_cap. TRL's `delta` is the dual clip where
  delta >= 1 + epsilon_high.
- With beta > 0 TRL multiplies the KL term by the ratio (use_bias_correction_kl, on by default), hicra does not; on
  policy the product has the gradient of k2, because d(ratio * k3) = k3 d(logprob) + d(k3) = -d d(logprob).
- TRL's entropy bonus is a mean per micro-batch, hicra's one over the step: equal where there is one micro-batch.
- A masked completion leaves the denominator of every reduction here, in TRL only that of `dapo` and `cispo`.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from hicra_cli.rl.advantages import hicra_advantages
from tests.benchmarks.random_models import word_tokenizer
from tests.rl.models import VOCABULARY, random_rollouts, tiny_model
from tests.rl.trl_peer import PeerBatch, load_model, peer_logprobs, peer_loss, trl_trainer
from tests.rl.updates import learner, learning_batch, relative_difference, train_config, updates

LENGTHS = [(3, 2), (3, 4), (7, 16), (7, 1), (5, 9), (5, 11), (2, 16), (2, 5)]  # prompt, response; limit 16
DAPO = {"loss_type": "dapo", "epsilon": 0.2, "epsilon_high": 0.28}
GSPO = {"loss_type": "grpo", "importance_sampling_level": "sequence", "epsilon": 0.03, "epsilon_high": 0.04}
# name: (options of TRL, of hicra)
SAME: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "dapo": (DAPO, {}),
    "grpo": ({**DAPO, "loss_type": "grpo"}, {"reduction": "sequence"}),
    "dr_grpo": ({**DAPO, "loss_type": "dr_grpo"}, {"reduction": "constant"}),
    "cispo": ({"loss_type": "cispo", "epsilon_high": 1.1}, {"loss": "cispo", "cispo_cap": 1.1}),
    "gspo": (GSPO, {"reduction": "sequence", "ratio_level": "sequence", "clip_low": 0.03, "clip_high": 0.04}),
    "delta": ({**DAPO, "delta": 1.3}, {"dual_clip": 1.3}),
    "kl": ({**DAPO, "beta": 0.3, "use_bias_correction_kl": False}, {"kl_beta": 0.3}),
    "hot": ({**DAPO, "temperature": 1.3}, {"sampling": {"temperature": 1.3}}),
}
LR = 4.0


@pytest.fixture(scope="module", params=["qwen3", "llama"])
def folder(request, tmp_path_factory):
    """A tiny random model as a HF directory."""
    path = tmp_path_factory.mktemp(request.param)
    tiny_model(request.param).save_pretrained(path)
    return path


@pytest.mark.parametrize("name", SAME)
def test_losses_and_gradients_of_two_updates_equal_trls(folder, name):
    options, settings = SAME[name]
    trainer = trainer_of(folder, **options)
    batch = on_policy_batch(trainer)
    if "kl_beta" in settings:
        batch = replace(batch, ref_logprobs=peer_logprobs(trainer, other_reference(trainer), batch))
    losses, gradients = theirs(trainer, batch)
    learned, ours = hicra(folder, batch, reference=getattr(trainer, "ref_model", None), epochs=2, **settings)
    assert_equal_gradients(ours, gradients)
    assert abs(learned.loss - np.mean(losses)) <= 1e-5 * float(batch.token_advantages.abs().mean())
    ratio = np.exp(learned.latest_logprobs - learned.logprobs)
    bound = 1.04 if name == "gspo" else 1.1
    assert np.mean((ratio > bound) | (ratio < 1 / bound)) > 0.2  # or nothing would have been clipped


def test_hicra_on_trl_is_a_batch_whose_advantages_differ_by_token(folder):
    trainer = trainer_of(folder, **DAPO)
    batch = on_policy_batch(trainer)
    planning_mask = torch.rand(len(batch.token_advantages), generator=torch.Generator().manual_seed(1)) < 0.3
    amplified = hicra_advantages(batch.token_advantages, planning_mask, alpha=0.2)
    batch = replace(batch, token_advantages=amplified)
    _, gradients = theirs(trainer, batch)
    _, ours = hicra(folder, batch, epochs=2)
    assert_equal_gradients(ours, gradients)


@pytest.mark.parametrize("above", ["truncate", "mask"])
def test_importance_weights_of_another_sampler_equal_trls(folder, above):
    trainer = trainer_of(folder, **DAPO)
    batch = on_policy_batch(trainer)
    trainer.use_vllm = True  # TRL weighs by importance only where vLLM sampled; the weights themselves are given
    noise = 0.8 * torch.randn(len(batch.token_advantages), generator=torch.Generator().manual_seed(2))
    ratio = torch.exp(-noise)
    weights = ratio.clamp(max=2.0) if above == "truncate" else torch.where(ratio <= 2.0, ratio, 0.0)
    _, gradients = theirs(trainer, replace(batch, importance=weights))
    sampled = replace(batch, old_logprobs=batch.old_logprobs + noise)
    _, ours = hicra(folder, sampled, epochs=2, importance_above=above)
    assert (ratio > 2).any()
    assert_equal_gradients(ours, gradients)


def test_trls_corrected_kl_has_the_gradient_of_k2_on_policy(folder):
    trainer = trainer_of(folder, **DAPO, beta=0.3)
    assert trainer.args.use_bias_correction_kl
    batch = on_policy_batch(trainer)
    batch = replace(batch, ref_logprobs=peer_logprobs(trainer, other_reference(trainer), batch))
    _, gradients = theirs(trainer, batch, updates=1)
    _, ours = hicra(folder, batch, reference=trainer.ref_model, kl_beta=0.3, kl_estimator="k2")
    assert_equal_gradients(ours, gradients)


def test_the_entropy_bonus_of_one_micro_batch_equals_trls(folder):
    trainer = trainer_of(folder, rows=len(LENGTHS), **DAPO, entropy_coef=0.05)
    batch = on_policy_batch(trainer)
    _, gradients = theirs(trainer, batch, updates=1)
    _, ours = hicra(folder, batch, algo="entropy-reg", entropy_beta=0.05)
    assert_equal_gradients(ours, gradients)


def test_masked_truncated_responses_leave_the_denominator_as_in_trls_dapo(folder):
    trainer = trainer_of(folder, **DAPO)
    counted = torch.tensor([response < 16 for _, response in LENGTHS])
    batch = replace(on_policy_batch(trainer), counted=counted)
    _, gradients = theirs(trainer, batch)
    _, ours = hicra(folder, batch, epochs=2)
    assert_equal_gradients(ours, gradients)


def trainer_of(folder, *, rows=2, **options):
    """Micro-batches of `rows` rows, accumulated to one update over all responses."""
    return trl_trainer(
        load_model(folder), word_tokenizer(VOCABULARY), folder / "trl", per_device_train_batch_size=rows,
        gradient_accumulation_steps=len(LENGTHS) // rows, num_generations=4, max_completion_length=16, **options,
    )  # fmt: skip


def on_policy_batch(trainer):
    """Random responses with an advantage each; the old log-probs are those of the trainer's policy as it is."""
    rollouts = random_rollouts(0, LENGTHS)
    lengths = torch.tensor([len(each.token_ids) for each in rollouts])
    advantages = torch.randn(len(rollouts), generator=torch.Generator().manual_seed(0))
    batch = PeerBatch(rollouts, torch.repeat_interleave(advantages, lengths))
    return replace(batch, old_logprobs=peer_logprobs(trainer, trainer.model, batch))


def other_reference(trainer):
    """TRL's reference model with weights of its own, so that the KL term is not zero at the start."""
    trainer.ref_model.load_state_dict(tiny_model(trainer.model.config.model_type, seed=5).state_dict())
    return trainer.ref_model


def theirs(trainer, batch, *, updates=2):
    """Losses and gradients of TRL's updates, between which the weights descend."""
    losses, gradients = [], []
    for _ in range(updates):
        losses.append(peer_loss(trainer, batch))
        gradients.append({name: each.grad.clone() for name, each in trainer.model.named_parameters()})
        with torch.no_grad():
            for each in trainer.model.parameters():
                each -= LR * each.grad
    return losses, gradients


def hicra(folder, batch, *, reference=None, **settings):
    """What `learn` makes of the same batch: its report and the gradients of its updates."""
    config = train_config(token_budget=64, head_chunk=16, num_prompts=2, group_size=4, **settings)
    starts = np.cumsum([len(each.token_ids) for each in batch.rollouts])[:-1]
    logprobs = np.split(batch.old_logprobs.numpy(), starts)
    rollouts = [replace(each, sampler_logprobs=own) for each, own in zip(batch.rollouts, logprobs, strict=True)]
    state, tools = learner(load_model(folder), config, reference=reference)
    sample = learning_batch(rollouts, batch.token_advantages, counted=batch.counted, response_limit=16)
    return updates(sample, state, tools, config, lr=LR)


def assert_equal_gradients(ours, expected):
    assert len(ours) == len(expected)
    for mine, their in zip(ours, expected, strict=True):
        assert relative_difference(mine, their) < 1e-5
