"""The updates that `learn` takes against a float64 reference that knows no batches, for all options together.

Weights, advantages and old log-probs are float32 in the trainer whatever the model is, and several updates enlarge
their rounding: hence 1e-5 of the gradient's norm.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from hicra_cli.stages.train.update import minibatches
from tests.reference import update as reference
from tests.rl.models import random_rollouts, tiny_model
from tests.rl.updates import learner, learning_batch, relative_difference, train_config, updates

LENGTHS = [(3, 2), (3, 4), (3, 16), (3, 1), (5, 9), (5, 11), (5, 16), (5, 5)]  # two groups of four; limit 16
LR = 0.5
OPTIONS = st.fixed_dictionaries(
    {
        "reduction": st.sampled_from(["token", "sequence", "constant"]),
        "kl_beta": st.sampled_from([0.0, 0.3]),
        "kl_estimator": st.sampled_from(["k1", "k2", "k3"]),
        "importance_above": st.sampled_from(["truncate", "mask"]),
        "epochs": st.sampled_from([1, 2]),
        "minibatches": st.sampled_from([1, 2]),
        "entropy_beta": st.sampled_from([0.0, 0.1]),
        "token_budget": st.sampled_from([64, 8192]),
        "temperature": st.sampled_from([1.0, 0.7]),
        "mask_cut": st.booleans(),
    }
)
SURROGATES = [
    {},
    {"clip_low": 0.01, "clip_high": 0.03},
    {"dual_clip": 1.3},
    {"loss": "cispo", "cispo_cap": 1.1},
    {"ratio_level": "sequence", "clip_low": 0.03, "clip_high": 0.04},
]
DEFAULTS = {
    "loss": "ppo",
    "ratio_level": "token",
    "clip_low": 0.2,
    "clip_high": 0.28,
    "dual_clip": None,
    "cispo_cap": 5,
}


@pytest.mark.parametrize("surrogate", SURROGATES, ids=lambda each: "-".join(each) or "ppo")
@settings(max_examples=5, deadline=None, phases=[Phase.generate])
@given(options=OPTIONS, seed=st.integers(0, 99))
def test_updates_equal_the_reference_for_all_options(surrogate, options, seed):
    rollouts, advantages = sampled(seed)
    counted = [response < 16 or not options["mask_cut"] for _, response in LENGTHS]
    config = config_of(surrogate, options)
    parts = [
        members
        for epoch in range(config.epochs)
        for members in minibatches(len(LENGTHS), config, seed=0, step=0, epoch=epoch)
    ]
    model, other = (tiny_model(dtype=torch.float64, seed=each) for each in (0, 5))
    expected = reference.descend(
        model, rollouts, [[value] * len(each.token_ids) for value, each in zip(advantages, rollouts, strict=True)],
        parts, DEFAULTS | options | surrogate, lr=LR, counted=counted, limit=16,
        reference=other if options["kl_beta"] else None,
    )  # fmt: skip
    found = hicra(rollouts, advantages, config, counted)
    assert len(found) == len(expected)
    for mine, wanted in zip(found, expected, strict=True):
        assert relative_difference(mine, wanted) < 1e-5


def test_groups_without_signal_count_in_the_denominator_but_are_not_computed():
    rollouts, advantages = sampled(0)
    advantages[:4] = 0.0
    config = train_config(num_prompts=2, group_size=4)
    state, tools = learner(tiny_model(dtype=torch.float64), config)
    spread = torch.from_numpy(np.repeat(advantages, [response for _, response in LENGTHS]))
    everything, skipped = (
        updates(learning_batch(rollouts, spread, useful=useful), state, tools, config)
        for useful in (range(8), range(4, 8))
    )
    assert relative_difference(skipped[1][0], everything[1][0]) < 1e-12
    assert np.isfinite(skipped[0].logprobs).tolist() == [False] * 23 + [True] * 41


def sampled(seed):
    """Rollouts whose sampler's log-probs lie around those of a flat distribution, and an advantage for each."""
    generator = np.random.default_rng(seed)
    rollouts = [
        replace(each, sampler_logprobs=generator.normal(-3.1, 0.5, len(each.token_ids)).astype(np.float32))
        for each in random_rollouts(seed, LENGTHS)
    ]
    return rollouts, generator.normal(size=len(rollouts)).astype(np.float32)


def config_of(surrogate, options):
    kept = {name: value for name, value in options.items() if name not in ("mask_cut", "temperature", "entropy_beta")}
    return train_config(
        num_prompts=2, group_size=4, sampling={"temperature": options["temperature"], "max_new_tokens": 16},
        algo="entropy-reg", entropy_beta=options["entropy_beta"], **kept, **surrogate,
    )  # fmt: skip


def hicra(rollouts, advantages, config, counted):
    other = tiny_model(dtype=torch.float64, seed=5) if config.kl_beta else None
    state, tools = learner(tiny_model(dtype=torch.float64), config, reference=other)
    spread = torch.from_numpy(np.repeat(advantages, [len(each.token_ids) for each in rollouts]))
    batch = learning_batch(rollouts, spread, counted=torch.tensor(counted))
    return updates(batch, state, tools, config, lr=LR)[1]
