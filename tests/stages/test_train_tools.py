import math

import numpy as np
import pytest
import torch

from hicra_cli.config.train import TrainConfig
from hicra_cli.core.errors import Interrupted, TrainingError
from hicra_cli.rl.objective import TokenTerms
from hicra_cli.stages.train.coverage import coverage_warning, require_coverage
from hicra_cli.stages.train.objective import choose_objective
from hicra_cli.stages.train.stop import StopSignal


def weighted_losses(**settings):
    # on policy the ratio is 1, so the surrogate is -A: -0.5 and 0.5; importance 1 and 2, weights 1 and 0.5
    objective = choose_objective(TrainConfig.model_validate(settings))
    logprobs = torch.tensor([-1.0, -2.0])
    entropy, advantages, weights = (torch.tensor(each) for each in ([0.7, 0.2], [0.5, -0.5], [1.0, 0.5]))
    sampler_logprobs = torch.tensor([-1.0, -2.0 - math.log(2)])
    terms = TokenTerms(advantages, weights, sampler_logprobs, None, None, torch.tensor([2]))
    return objective.losses(logprobs, entropy, terms).tolist()


def test_entropy_regularisation_takes_beta_times_the_entropy_off_and_does_not_weigh_it_by_importance():
    # beta 0.1: -0.5 - 0.1 * 0.7 = -0.57 and 0.5 * (2 * 0.5 - 0.1 * 0.2) = 0.49
    assert weighted_losses(algo="entropy-reg", entropy_beta=0.1) == pytest.approx([-0.57, 0.49])


@pytest.mark.parametrize("algo", ["grpo", "hicra"])
def test_other_algorithms_have_no_entropy_term(algo):
    assert weighted_losses(algo=algo, entropy_beta=0.1) == pytest.approx([-0.5, 0.5])


def test_only_hicra_insists_on_planning_tokens():
    empty = np.zeros(3, dtype=np.bool_)
    require_coverage(empty, TrainConfig(algo="grpo"))
    with pytest.raises(TrainingError, match="none of the 3 response tokens"):
        require_coverage(empty, TrainConfig(algo="hicra"))


@pytest.mark.parametrize(("fraction", "warns"), [(0.004, True), (0.005, False), (0.15, False), (0.151, True)])
def test_the_coverage_bounds_are_half_a_percent_to_fifteen(fraction, warns):
    assert (coverage_warning(fraction, TrainConfig()) is not None) == warns


def test_a_signal_waits_for_the_end_of_deferred_work_and_not_inside_allowed_work():
    stop, done = StopSignal(), []

    def receive(number):
        stop.handle(number, None)
        done.append(number)

    with pytest.raises(Interrupted, match="SIGTERM"), stop.deferred():
        receive(15)
    with pytest.raises(Interrupted, match="SIGINT"), stop.deferred(), stop.allowed():
        receive(2)
    assert done == [15]


@pytest.mark.parametrize(
    "settings",
    [{"sampling": {"top_p": 0.9}}, {"sampling": {"top_k": 5}}, {"sampling": {"temperature": 0}}],
)
def test_samplings_whose_gradient_would_be_of_another_distribution_are_refused(settings):
    with pytest.raises(ValueError, match="refused for training"):
        TrainConfig.model_validate(settings)
