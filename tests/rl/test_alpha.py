import pytest

from hicra_cli.rl.alpha import AdaptiveAlpha, scheduled_fraction


def test_schedules_rise_from_nothing_to_all_of_alpha():
    # five steps: parts 0, 1/4, 1/2, 3/4, 1; cosine of 1/4: (1 - cos(pi / 4)) / 2 = 0.146447
    assert [scheduled_fraction("linear", step, steps=5) for step in range(5)] == [0, 0.25, 0.5, 0.75, 1]
    assert [scheduled_fraction("constant", step, steps=5) for step in (0, 4)] == [1, 1]
    assert scheduled_fraction("cosine", 1, steps=5) == pytest.approx(0.146447, abs=1e-6)
    assert scheduled_fraction("cosine", 4, steps=5) == pytest.approx(1.0)
    assert scheduled_fraction("linear", 0, steps=1) == 1


def fed(controller, perplexities, accuracy=0.5):
    fractions = []
    for perplexity in perplexities:
        fractions.append(controller.fraction)
        controller = controller.seen(execution_perplexity=perplexity, accuracy=accuracy)
    return fractions, controller


def test_alpha_stays_closed_while_execution_perplexity_falls_and_opens_by_a_ramp_when_it_is_flat():
    controller = AdaptiveAlpha(window=2, tolerance=0.05, min_accuracy=0.1, decay=0.0, ramp_steps=4)
    # no smoothing: 2.0 1.8 1.6 falls by 20 % over the window of 2; 1.6 1.59 1.58: 1.25 % is flat, seen after step 5
    fractions, controller = fed(controller, [2.0, 1.8, 1.6, 1.59, 1.58, 3.0, 9.0, 1.0, 1.0, 1.0])
    # the gate opens after the fifth step and stays open whatever comes: 1/4, 2/4, 3/4, 1, 1
    assert fractions == [0, 0, 0, 0, 0, 0.25, 0.5, 0.75, 1.0, 1.0]
    assert controller.is_open


def test_a_policy_that_solves_too_little_keeps_the_gate_shut():
    controller = AdaptiveAlpha(window=1, tolerance=0.05, min_accuracy=0.3, decay=0.0)
    fractions, controller = fed(controller, [1.5] * 6, accuracy=0.2)
    assert fractions == [0] * 6
    assert not controller.is_open


def test_smoothing_starts_at_the_first_value_and_a_missing_perplexity_is_passed_over():
    controller = AdaptiveAlpha(decay=0.5).seen(execution_perplexity=2.0, accuracy=0.4)
    # 0.5 * 2 + 0.5 * 2 = 2; then 0.5 * 2 + 0.5 * 1 = 1.5; accuracy 0.4, then 0.5 * 0.4 + 0.5 * 0.8 = 0.6
    assert controller.perplexities == (2.0,)
    controller = controller.seen(execution_perplexity=1.0, accuracy=0.8)
    assert controller.perplexities == (2.0, 1.5)
    assert controller.accuracy == pytest.approx(0.6)
    assert controller.seen(execution_perplexity=float("nan"), accuracy=0.6).perplexities == (2.0, 1.5)
