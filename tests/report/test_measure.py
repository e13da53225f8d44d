"""One step's numbers and the curves made of them, worked by hand."""

import math
from collections import Counter

import numpy as np
import pytest

from hicra_cli.core.errors import ArtifactError
from hicra_cli.grams.gram_set import GramSet
from hicra_cli.grams.matcher import TextMatcher
from hicra_cli.report.consistency import compare
from hicra_cli.report.diagnosis import Rarefaction
from hicra_cli.report.measure import GramCounts, measure_step
from hicra_cli.report.rollouts import read_rollouts
from hicra_cli.report.series import choose_rarefaction, run_series, windows
from tests.report.artifacts import rollout, write_rollouts

GRAMS = GramSet.from_phrases(["let me think", "but that is wrong"])


def measured(tmp_path, *rollouts, step=1, planning_mask=None):
    path = write_rollouts(tmp_path / f"step-{step:06d}.parquet", step, rollouts)
    return measure_step(step, read_rollouts(path), TextMatcher(GRAMS), following_words=2, planning_mask=planning_mask)


def test_a_step_in_numbers(tmp_path):
    step = measured(
        tmp_path,
        rollout("p", 0, "let me think about it", mask="1100", logprobs=[-1, -1, -0.5, -0.5], entropy=[1, 2, 0.5, 0.1]),
        rollout("p", 1, "so let me think of", mask="10", logprobs=[-4, -0.5], entropy=[3, 0], correct=False, cut=True),
        rollout("q", 0, "no plan", mask="00", logprobs=[0, 0], entropy=[0, 0], correct=False),
    )
    assert (step.num_rollouts, step.accuracy, step.reward) == (3, pytest.approx(1 / 3), pytest.approx(1 / 3))
    assert step.pass_at_group == 0.5  # p is solved, q is not
    assert step.length == pytest.approx(8 / 3)
    assert step.clipped_fraction == pytest.approx(1 / 3)
    assert step.planning_fraction == pytest.approx(3 / 8)
    assert step.logprob.planning == pytest.approx(-2.0)  # (-1 - 1 - 4) / 3
    assert step.logprob.execution == pytest.approx(-0.3)  # (-0.5 - 0.5 - 0.5) / 5
    assert step.token_entropy.planning == pytest.approx(2.0)  # (1 + 2 + 3) / 3
    assert step.token_entropy.execution == pytest.approx(0.12)  # 0.6 / 5
    assert step.grams.occurrences == Counter({"let me think": 2})
    assert step.grams.pairs == {"let me think": Counter({("about", "it"): 1})}
    assert step.grams.incomplete == 1
    assert step.changed_mask_tokens is None


def test_a_gram_cut_off_by_the_limit_is_not_counted(tmp_path):
    whole = measured(tmp_path, rollout("p", 0, "so let me think", mask="1"))
    cut = measured(tmp_path, rollout("p", 0, "so let me think", mask="1", cut=True))
    assert (sum(whole.grams.occurrences.values()), sum(cut.grams.occurrences.values())) == (1, 0)


def test_tokens_without_entropy_are_left_out_and_counted(tmp_path):
    step = measured(
        tmp_path,
        rollout("p", 0, "x", mask="10", entropy=[0.5, math.nan]),
        rollout("q", 0, "x", mask="00", entropy=None),
    )
    assert step.token_entropy.planning == 0.5
    assert math.isnan(step.token_entropy.execution)
    assert step.entropy_coverage == 0.25


def test_another_mask_decides_the_classes_and_says_how_it_differs(tmp_path):
    other = np.array([False, True])
    step = measured(tmp_path, rollout("p", 0, "x", mask="10", logprobs=[-1, -3]), planning_mask=other)
    assert step.logprob.planning == -3.0
    assert step.changed_mask_tokens == 2


def test_curves_of_two_steps(tmp_path):
    first = measured(tmp_path, rollout("p", 0, "let me think of it", mask="10", logprobs=[-1.0, -0.5]))
    second = measured(
        tmp_path,
        rollout("p", 0, "let me think of it", mask="10", logprobs=[-0.75, -0.1]),
        rollout("p", 1, "but that is wrong so no", mask="10", logprobs=[-0.75, -0.1]),
        step=2,
    )
    series = run_series(
        [first, second],
        windows([first, second], 1),
        num_grams=4,
        clusters={},
        rarefaction=Rarefaction(floor=1, occurrences=1, pairs=1),
    )
    # exp(1 - ...): planning -1 -> -0.75: exp(-0.25) = 0.778801; execution -0.5 -> -0.1: exp(-0.4) = 0.670320
    assert series["policy/relative_perplexity_planning"] == pytest.approx([1.0, 0.7788007831], abs=1e-6)
    assert series["policy/relative_perplexity_execution"] == pytest.approx([1.0, 0.6703200460], abs=1e-6)
    assert series["hicra/semantic_entropy_nats"] == pytest.approx([0.0, math.log(2)])
    assert series["hicra/semantic_entropy_normalised"] == pytest.approx([0.0, 0.5])  # ln 2 / ln 4
    assert series["hicra/semantic_entropy_miller_madow_nats"] == pytest.approx([0.0, math.log(2) + 0.25])
    assert series["hicra/semantic_entropy_rarefied_nats"] == pytest.approx([0.0, 0.0])
    assert series["hicra/conditional_entropy_nats"] == pytest.approx([0.0, 0.0])
    assert series["hicra/gram_occurrences"] == [1.0, 2.0]


def test_clusters_are_counted_as_one(tmp_path):
    step = measured(tmp_path, rollout("p", 0, "let me think, but that is wrong", mask="1"))
    series = run_series(
        [step], windows([step], 1), num_grams=2, clusters={"let me think": 7, "but that is wrong": 7},
        rarefaction=Rarefaction(floor=1, occurrences=0, pairs=0),
    )  # fmt: skip
    assert series["hicra/semantic_entropy_nats"] == pytest.approx([math.log(2)])
    assert series["hicra/semantic_entropy_cluster_nats"] == [0.0]


def test_a_window_pools_the_steps_up_to_its_own(tmp_path):
    steps = [measured(tmp_path, rollout("p", 0, "let me think of it", mask="1"), step=n) for n in (1, 2, 3)]
    assert [each.occurrences["let me think"] for each in windows(steps, 2)] == [1, 2, 2]


def test_the_smallest_window_of_all_runs_is_the_common_size():
    def window(times: int) -> GramCounts:
        return GramCounts(Counter(a=times), {"a": Counter({("x",): times - 1})})

    chosen = choose_rarefaction([[window(90), window(70)], [window(300), window(3)]])
    assert (chosen.occurrences, chosen.pairs) == (70, 69)


def test_the_record_is_compared_number_by_number():
    series = {
        "reward/accuracy": [0.5, 0.25],
        "policy/logprob_planning_nats": [-1.0, -2.0],
        "hicra/planning_fraction": [0.1, math.nan],
    }
    records: list[dict[str, float | None]] = [
        {
            "step": 1,
            "reward/accuracy": 0.5,
            "policy/logprob_planning_nats": -1.0,
            "hicra/planning_fraction": 0.1,
            "other": 1,
        },
        {
            "step": 2,
            "reward/accuracy": 0.25 + 1e-9,
            "policy/logprob_planning_nats": -2.1,
            "hicra/planning_fraction": None,
        },
    ]
    checks = {each.name: each for each in compare(records, [1, 2], series, planning=True, window=1)}
    assert checks["reward/accuracy"].passed
    assert checks["hicra/planning_fraction"].largest == 0.0
    assert not checks["policy/logprob_planning_nats"].passed
    assert checks["policy/logprob_planning_nats"].largest == pytest.approx(0.05)  # 0.1 / 2
    assert checks["policy/logprob_planning_nats"].at_step == 2
    assert [each.name for each in compare(records, [1, 2], series, planning=False, window=1)] == ["reward/accuracy"]


def test_a_number_that_only_one_side_has_does_not_hold():
    (check,) = compare([{"step": 1, "reward/mean": None}], [1], {"reward/mean": [0.5]}, planning=True, window=1)
    assert check.largest == math.inf
    assert not check.passed


def test_damaged_rollouts_name_the_file(tmp_path):
    path = write_rollouts(tmp_path / "step-000001.parquet", 1, [rollout("p", 0, "x", mask="10", logprobs=[-1])])
    with pytest.raises(ArtifactError, match="2 tokens and 1 values in column sampler_logprobs"):
        read_rollouts(path)
    path.write_bytes(b"no parquet")
    with pytest.raises(ArtifactError, match="step-000001"):
        read_rollouts(path)
