"""The algorithms that differ in credit: what they do to a step's advantages, and whole runs of each."""

import pytest
import torch

from hicra_cli.config.train import TrainConfig
from hicra_cli.core.errors import ArtifactError
from hicra_cli.core.progress import SilentProgress
from hicra_cli.core.registry import Registry
from hicra_cli.stages.base import execute
from hicra_cli.stages.train.credit import Signals, choose_credit, shuffled_mask
from hicra_cli.stages.train.run import STAGE
from tests.stages.runs import comparable_steps, digests, small_config

ALGOS = ("entropy-adv", "fork", "zero-sum", "shuffled", "release")


def signals(**changes) -> Signals:
    """Two groups of two rollouts with 2, 1, 1 and 2 tokens; the first group has rewards 1, 0, the second 0, 1."""
    advantages = torch.tensor([0.5, -0.5, -0.5, 0.5])
    lengths = torch.tensor([2, 1, 1, 2])
    values = {
        "step": 0,
        "advantages": advantages,
        "lengths": lengths,
        "token_advantages": torch.repeat_interleave(advantages, lengths),
        "planning_mask": torch.tensor([True, False, True, False, False, True]),
        "moves": torch.tensor([0, -1, 2, -1, -1, 1]),
        "token_entropy": torch.tensor([0.1, 2.0, 0.2, 0.3, 3.0, 0.4]),
        "alpha_fraction": 1.0,
    }
    return Signals(**{**values, **changes})


def credited(found: Signals | None = None, **settings) -> list[float]:
    config = TrainConfig.model_validate({"group_size": 2, **settings})
    values: list[float] = choose_credit(config, seed=0)(found or signals()).tolist()
    return values


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"algo": "grpo"}, [0.5, 0.5, -0.5, -0.5, 0.5, 0.5]),
        ({"algo": "entropy-reg"}, [0.5, 0.5, -0.5, -0.5, 0.5, 0.5]),
        # planning tokens: 0.5 + 0.2 * 0.5 = 0.6, -0.5 + 0.1 = -0.4
        ({"algo": "hicra"}, [0.6, 0.5, -0.4, -0.5, 0.5, 0.6]),
        ({"algo": "placebo"}, [0.6, 0.5, -0.4, -0.5, 0.5, 0.6]),
        # the first group gains 0.2 over 3 tokens, the second 0.1 over 3
        ({"algo": "zero-sum"}, [0.533333, 0.433333, -0.466667, -0.533333, 0.466667, 0.566667]),
        # half as much at half of alpha's way: 0.5 + 0.05
        ({"algo": "hicra", "alpha": 0.1}, [0.55, 0.5, -0.45, -0.5, 0.5, 0.55]),
        ({"algo": "hicra", "alpha_negative": 0.0}, [0.6, 0.5, -0.5, -0.5, 0.5, 0.6]),
        # deduction 0, branching 0.4, backtracing 1: -0.5 + 0.5 = 0, 0.5 + 0.2 = 0.7
        (
            {"algo": "hicra", "alpha_moves": {"deduction": 0, "branching": 0.4, "backtracing": 1}},
            [0.5, 0.5, 0.0, -0.5, 0.5, 0.7],
        ),
        # min(0.4 H, 0.25): 0.04, 0.25, 0.08, 0.12, 0.25, 0.16
        ({"algo": "entropy-adv"}, [0.54, 0.75, -0.42, -0.38, 0.75, 0.66]),
        # 20 % of 6 tokens is one: the fifth
        ({"algo": "fork"}, [0, 0, 0, 0, 0.5, 0]),
        # rollouts 1 and 4 are praised and longer than their group's mean; above the 0.7 quantile: tokens 2 and 5
        ({"algo": "release"}, [0.6, 0.6, -0.4, -0.5, 0.6, 0.6]),
    ],
)
def test_golden_values_of_each_credit(settings, expected):
    assert credited(**settings) == pytest.approx(expected, abs=1e-6)


def test_a_schedule_scales_alpha():
    assert credited(signals(alpha_fraction=0.5), algo="hicra") == pytest.approx([0.55, 0.5, -0.45, -0.5, 0.5, 0.55])
    assert credited(signals(alpha_fraction=0.0), algo="hicra") == credited(algo="grpo")


def test_a_shuffled_mask_keeps_the_number_of_planning_tokens_of_each_rollout():
    mask = torch.tensor([True] * 3 + [False] * 29 + [False] * 8)
    lengths = torch.tensor([32, 8])
    found = shuffled_mask(mask, lengths, seed=0, step=5)
    assert [int(part.sum()) for part in found.split([32, 8])] == [3, 0]
    assert not torch.equal(found, mask)
    assert torch.equal(found, shuffled_mask(mask, lengths, seed=0, step=5))
    assert not torch.equal(found, shuffled_mask(mask, lengths, seed=0, step=6))


@pytest.mark.parametrize("algo", ALGOS)
def test_each_algorithm_trains_otherwise_than_grpo(algo, tmp_path):
    with Registry.open(tmp_path) as registry:
        found = {}
        for name in ("grpo", algo):
            result = execute(STAGE, small_config(tmp_path, algo=name, steps=2), registry, SilentProgress())
            (policy,) = (registry.resolve(each["policy"]) for each in result.artifact.summary["policies"])
            found[name] = digests(policy.path, "*.safetensors")
    assert found["grpo"] != found[algo]


def test_a_placebo_run_insists_on_a_placebo_set(tmp_path):
    with Registry.open(tmp_path) as registry, pytest.raises(ArtifactError, match="placebo") as failure:
        execute(STAGE, small_config(tmp_path, algo="placebo"), registry, SilentProgress())
    assert "curate --placebo" in str(failure.value)


def test_an_adaptive_alpha_stays_shut_survives_a_checkpoint_and_is_recorded(tmp_path):
    settings = {"alpha_schedule": "adaptive", "adaptive": {"window": 1, "tolerance": 0.9, "min_accuracy": 0.0}}
    with Registry.open(tmp_path) as registry:
        result = execute(STAGE, small_config(tmp_path, steps=4, **settings), registry, SilentProgress())
    # two perplexities are needed, so the gate opens after the second step: 1/20, 2/20 of 0.2
    alphas = [record["hicra/alpha"] for record in comparable_steps(result.artifact.path)]
    assert alphas == pytest.approx([0, 0, 0.01, 0.02])


def test_a_linear_schedule_ends_at_alpha(tmp_path):
    with Registry.open(tmp_path) as registry:
        config = small_config(tmp_path, steps=3, alpha_schedule="linear")
        result = execute(STAGE, config, registry, SilentProgress())
    assert [each["hicra/alpha"] for each in comparable_steps(result.artifact.path)] == pytest.approx([0, 0.1, 0.2])
