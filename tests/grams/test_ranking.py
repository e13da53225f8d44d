"""Figures of the ranking, each worked out by hand, and the orders they give."""

import random
from math import erfc, isfinite, log, log2, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hicra_cli.config.collect import CollectConfig
from hicra_cli.core.errors import RunError
from hicra_cli.grams import ranking
from hicra_cli.grams.candidates import Candidate, Counts, Share
from hicra_cli.grams.ranking import rank


def floats(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)


def test_log_odds_are_those_of_monroe_with_one_pseudo_use():
    # 3 of 6 successes and 1 of 6 failures use it: pooled (4 + 0.5) / (12 + 1) = 9/26, so the prior is 1 pseudo-use and
    # 17/9 pseudo-misses. Odds (3 + 1) / (3 + 17/9) = 36/44 and (1 + 1) / (5 + 17/9) = 18/62, variance the sum of the
    # four inverses. The other gram, 4 against 4, has ratio 0; with 4 of the 7 uses it is the median.
    ratio = log(36 / 44) - log(18 / 62)
    variance = 1 / 4 + 9 / 44 + 1 / 2 + 9 / 62
    found = ranking.log_odds(floats(3, 4), floats(1, 4), floats(3, 4), solutions=6, failures=6)
    assert found == pytest.approx([ratio / sqrt(variance), 0.0])


def test_log_odds_are_relative_to_the_median_use():
    # As above, but the other gram has 2 of 5 uses only: now the first is the median.
    found = ranking.log_odds(floats(3, 2), floats(1, 2), floats(3, 2), solutions=6, failures=6)
    assert found[0] == 0.0
    assert found[1] < 0


def test_rollouts_of_one_problem_are_one_witness():
    # twice the spread: the variance of the second gram is 12 / 3 = 4 times that of the first, its z-score half
    spread, narrow, _ = ranking.log_odds(
        floats(12, 12, 60), floats(1, 1, 60), floats(12, 3, 60), solutions=100, failures=100
    )
    assert narrow == pytest.approx(spread / 2)
    assert spread > 0


def test_a_gram_that_everybody_uses_has_finite_odds():
    found = ranking.log_odds(floats(9, 1, 9), floats(5, 5, 0), floats(9, 1, 9), solutions=9, failures=5)
    assert np.isfinite(found).all()


def halves(*groups: ranking.Group) -> tuple[list[bool], list[bool]]:
    found = ranking.halves(groups)
    assert found is not None
    return found[0].tolist(), found[1].tolist()


def test_halves_of_one_policy_leave_the_middle_step_out():
    assert halves(("p", 0), ("p", 10), ("p", 20)) == ([False, False, True], [True, False, False])


def test_policies_of_one_step_each_are_the_checkpoints_of_one_run():
    assert halves(("v2", 20), ("v1", 10), (None, None)) == ([True, False, False], [False, True, False])


def test_policies_with_steps_of_their_own_are_each_cut_in_the_middle():
    late, early = halves(("a", 0), ("a", 5), ("b", 400), ("b", 800), ("c", 100))
    assert (late, early) == ([False, True, False, True, False], [True, False, True, False, False])


@pytest.mark.parametrize("groups", [[("a", None)], [("a", 3), ("b", 3)], [("a", 3)], []])
def test_without_two_steps_there_is_no_growth(groups):
    assert ranking.halves(groups) is None


def test_growth_is_smoothed_by_one_use_at_the_pooled_rate():
    # 1 of 10 early, 7 of 10 late; pooled 8 / 20 = 0.4, so one pseudo-use comes with 2.5 pseudo-solutions:
    # 2 / 12.5 = 0.16 and 8 / 12.5 = 0.64, a factor of 4
    shares = ranking.smoothed_shares(np.array([[1.0, 7.0]]), floats(10, 10))
    assert shares == pytest.approx(np.array([[0.16, 0.64]]))
    assert ranking.growth(shares, late=np.array([False, True]), early=np.array([True, False])) == pytest.approx([2.0])


def test_balanced_frequency_counts_each_checkpoint_alike():
    # Both grams: 8 of 100 solutions. 0 of 10 early and 8 of 90 late, against 8 of 10 early and 0 of 90 late.
    # One pseudo-use comes with 12.5 pseudo-solutions: shares 1/22.5, 9/102.5 and 9/22.5, 1/102.5; pooled 0.08.
    users = np.array([[0.0, 8.0], [8.0, 0.0]])
    found = ranking.balanced_frequency(floats(8, 8), users, floats(10, 90))
    assert found == pytest.approx([100 * (1 / 22.5 + 9 / 102.5) / 2, 100 * (9 / 22.5 + 1 / 102.5) / 2])
    even = ranking.balanced_frequency(floats(5), np.array([[4.0, 36.0]]), floats(10, 90))
    assert even == pytest.approx([5.0])


def test_evenness_compares_with_occurrences_strewn_at_random():
    # half of 99 + 1 solutions: chance brings ln 2 occurrences a solution, 2 ln 2 in one that has any: 1.386
    found = ranking.evenness(floats(50, 100, 200), floats(50, 50, 50), solutions=99)
    assert found == pytest.approx([1.0, 2 * log(2) / 2, 2 * log(2) / 4])


def counts(*candidates: Candidate, solutions: int = 100, failures: int = 0) -> Counts:
    return Counts(candidates, 50, solutions, 1000, 10, {}, failures)


def candidate(gram: str, *, count=10, solutions=10, df=10, shares=None, failures=0) -> Candidate:
    given = (Share("m", None, solutions, solutions / 100),) if shares is None else shares
    return Candidate(gram, len(gram.split()), count, solutions, df, given, (), failures)


def test_the_combined_rank_is_evenness_times_frequency_and_association():
    # Neither failures nor steps: √evenness x log(1 + f) / log(1 + 20). The second clumps: by chance -ln(1 - p) / p
    # occurrences at p = 10 / 101, 4 observed.
    ranked = rank(
        counts(
            candidate("let me see", df=20), candidate("is equal to", df=20, count=40), candidate("so we have", df=5)
        ),
        CollectConfig(),
    )
    share = 10 / 101
    assert {each.gram: each.scores.rank for each in ranked.candidates} == pytest.approx(
        {"let me see": 1.0, "so we have": log(6) / log(21), "is equal to": sqrt(-log(1 - share) / share / 4)}
    )
    assert [each.gram for each in ranked.candidates] == ["let me see", "so we have", "is equal to"]
    assert all(each.scores.log_odds is None and each.scores.growth is None for each in ranked.candidates)


def test_association_is_a_third_of_the_combined_rank():
    # Equal frequency f = 1; growth of ±g, log-odds unknown: (2 + late share) / 3
    up = candidate("let me see", shares=(Share("m", 0, 2, 0.04), Share("m", 9, 8, 0.16)))
    down = candidate("is equal to", shares=(Share("m", 0, 8, 0.16), Share("m", 9, 2, 0.04)))
    first, second = rank(counts(up, down), CollectConfig()).candidates
    # pooled 0.1: (2 + 1) / (50 + 10) = 0.05 and (8 + 1) / 60 = 0.15
    assert first.gram == "let me see"
    assert first.scores.growth == pytest.approx(log2(3))
    assert first.scores.rank == pytest.approx((2 + 0.75) / 3)
    assert second.scores.rank == pytest.approx((2 + 0.25) / 3)


def test_success_counts_as_the_normal_share_of_its_z_score():
    good, bad = candidate("let me see"), candidate("is equal to", failures=30)
    first, second = rank(counts(good, bad, failures=100), CollectConfig()).candidates
    assert first.gram == "let me see"
    for each in (first, second):
        assert each.scores.log_odds is not None
        assert each.scores.rank == pytest.approx((2 + 0.5 * erfc(-each.scores.log_odds / sqrt(2))) / 3)


@pytest.mark.parametrize(
    ("rank_by", "order"),
    [
        ("document_frequency", ["c", "a", "b"]),
        ("log_odds", ["b", "a", "c"]),
        ("growth", ["a", "b", "c"]),
    ],
)
def test_each_order_can_be_asked_for(rank_by, order):
    def shares(early: int, late: int) -> tuple[Share, ...]:
        return Share("m", 0, early, early / 50), Share("m", 9, late, late / 50)

    found = rank(
        counts(
            candidate("a", df=8, shares=shares(1, 9), failures=5),
            candidate("b", df=7, shares=shares(5, 5), failures=0),
            candidate("c", df=9, shares=shares(9, 1), failures=20),
            failures=100,
        ),
        CollectConfig.model_validate({"rank_by": rank_by, "balance": False}),
    )
    assert [each.gram for each in found.candidates] == order


@pytest.mark.parametrize(("rank_by", "needed"), [("log_odds", "unsuccessful"), ("growth", "two steps")])
def test_an_order_the_corpus_cannot_tell_is_refused(rank_by, needed):
    with pytest.raises(RunError, match=needed) as failure:
        rank(counts(candidate("let me see")), CollectConfig.model_validate({"rank_by": rank_by}))
    assert "collect.rank_by=combined" in str(failure.value)


def test_what_is_left_out_is_counted_by_reason():
    whole = [
        candidate("let's try a", count=10), candidate("try a different", count=10),
        candidate("let's try a different", count=10), candidate("is equal to"), candidate("so we have"),
    ]  # fmt: skip
    ranked = rank(counts(*whole), CollectConfig(max_candidates=2))
    assert ranked.dropped == {"nested": 2, "shifted": 0, "beyond_max_candidates": 1}
    assert [each.gram for each in ranked.candidates] == ["is equal to", "let's try a different"]
    kept = rank(counts(*whole), CollectConfig(merge_phrases=False))
    assert kept.dropped == {"beyond_max_candidates": 0}
    assert len(kept.candidates) == 5


def test_nothing_counted_is_nothing_ranked():
    assert rank(counts(), CollectConfig()) == ranking.Ranked((), {})


GRAMS = st.lists(
    st.tuples(st.integers(1, 40), st.integers(1, 3), st.integers(1, 40), st.integers(0, 60)), min_size=1, max_size=20
)


@given(GRAMS, st.integers(0, 2**32))
def test_the_order_of_the_candidates_does_not_matter_and_every_score_is_finite(figures, seed):
    candidates = [
        candidate(f"so gram{at} we", solutions=users, count=users * often, df=min(users, df), failures=failing)
        for at, (users, often, df, failing) in enumerate(figures)
    ]
    ranked = rank(counts(*candidates, failures=60), CollectConfig())
    shuffled = candidates.copy()
    random.Random(seed).shuffle(shuffled)
    assert rank(counts(*shuffled, failures=60), CollectConfig()) == ranked
    assert all(0 <= each.scores.rank <= 1 and isfinite(each.scores.log_odds or 0.0) for each in ranked.candidates)
    ranks = [each.scores.rank for each in ranked.candidates]
    assert ranks == sorted(ranks, reverse=True)
