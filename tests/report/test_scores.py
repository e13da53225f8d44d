"""The accumulator of a benchmark's samples: a known matrix in, known numbers out, in whatever order rows come."""

import itertools
import json
import math
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hicra_cli.core.errors import RunError
from hicra_cli.report.scores import BenchScores
from hicra_cli.stages.eval_summary import bench_summary, mean_summary


def row(question, sample, reward, answer="?", **more):
    outcome = "correct" if reward else ("no_answer" if answer is None else "wrong")
    return {
        "question": question, "sample": sample, "reward": float(reward), "answer": answer, "outcome": outcome,
        "finish_reason": "stop", "num_tokens": 10, **more,
    }  # fmt: skip


def matrix():
    """a: 7 7 7 8 with gold 7; b: 1 2 2 none with gold 1."""
    a = [row("a", sample, answer == "7", answer, num_tokens=10 + sample) for sample, answer in enumerate("7778")]
    b = [row("b", sample, answer == "1", answer, num_tokens=20) for sample, answer in enumerate(["1", "2", "2", None])]
    return [*a, *b]


def scores_of(rows):
    scores = BenchScores()
    for each in rows:
        scores.add(each)
    return scores


def test_a_known_matrix_gives_known_numbers():
    shown = bench_summary(matrix(), ks=[])
    assert (shown["questions"], shown["samples"], shown["average"]) == (2, 4, 0.5)  # (3/4 + 1/4) / 2
    # pass@2: a 1 - C(1,2)/C(4,2) = 1; b 1 - C(3,2)/C(4,2) = 1/2
    assert shown["pass_at_k"] == pytest.approx({"1": 0.5, "2": 0.75, "4": 1.0})
    # pass^2: a C(3,2)/6 = 1/2; b 0
    assert shown["pass_hat_k"] == pytest.approx({"1": 0.5, "2": 0.25, "4": 0.0})
    # maj@2, a: of 6 pairs 3 are 77 and 3 are 78 (a coin): 3/4; b: 12 12 are coins, 1- is right, 22 2- 2- wrong: 2/6
    # maj@4, a: 7 wins; b: 2 wins
    assert shown["maj_at_k"] == pytest.approx({"1": 0.5, "2": (3 / 4 + 2 / 6) / 2, "4": 0.5})
    assert shown["no_answer_fraction"] == 1 / 8
    # right: 10 11 12 20; wrong: 13 20 20 20
    assert (shown["mean_tokens"], shown["mean_tokens_right"], shown["mean_tokens_wrong"]) == (15.75, 13.25, 18.25)
    assert (shown["lenient"], shown["doubtful"], shown["planning_fraction"]) == (None, None, None)
    assert shown["outcomes"]["wrong"] == 3


def test_alternatives_of_a_gold_make_no_other_question():
    golds = [scores_of([row("q", 0, 1, gold=gold)]).golds for gold in ("7", ["7", "VII"], "8")]
    assert golds[0] == golds[1] != golds[2]


@given(st.permutations(matrix()))
def test_the_order_of_rows_changes_nothing(rows):
    assert json.dumps(bench_summary(rows, ks=[])) == json.dumps(bench_summary(matrix(), ks=[]))


@given(st.lists(st.lists(st.sampled_from([None, "1", "2", "3"]), min_size=4, max_size=4), min_size=1, max_size=4))
def test_every_score_of_k_is_the_mean_over_all_draws(answers):
    rows = [
        row(str(question), sample, answer == "1", answer)
        for question, each in enumerate(answers)
        for sample, answer in enumerate(each)
    ]
    shown = bench_summary(rows, ks=[2, 3])
    for k in (2, 3):
        draws = [list(itertools.combinations(each, k)) for each in answers]
        some = [sum("1" in draw for draw in each) / len(each) for each in draws]
        every = [sum(set(draw) == {"1"} for draw in each) / len(each) for each in draws]
        vote = [sum(map(voted, each)) / len(each) for each in draws]
        for name, values in (("pass_at_k", some), ("pass_hat_k", every), ("maj_at_k", vote)):
            assert shown[name][str(k)] == pytest.approx(sum(values) / len(values), abs=1e-12)


def voted(draw):
    said = [answer for answer in draw if answer is not None]
    first = {answer for answer in said if said.count(answer) == max(map(said.count, said))}
    return ("1" in first) / len(first) if first else 0.0


def test_scores_beyond_the_samples_do_not_exist():
    shown = bench_summary(matrix(), ks=[1, 8])
    assert (shown["pass_at_k"]["8"], shown["maj_at_k"]["8"], shown["pass_hat_k"]["8"]) == (None, None, None)
    assert shown["intervals"]["pass_at_k"]["8"] == [None, None]


def test_every_score_of_k_has_its_interval():
    shown = bench_summary(matrix(), ks=[])
    for name in ("pass_at_k", "maj_at_k", "pass_hat_k"):
        for k, (low, high) in shown["intervals"][name].items():
            assert 0 <= low <= shown[name][k] <= high <= 1
    assert shown["intervals"]["pass_at_k"]["1"] == pytest.approx([shown["low"], shown["high"]])


def test_right_answers_are_one_answer_however_they_are_written():
    # 0.5 and 1/2 are both right and outvote the two of 2
    answers = ["0.5", "1/2", r"\frac12", "2", "2"]
    rows = [row("a", sample, answer != "2", answer) for sample, answer in enumerate(answers)]
    assert bench_summary(rows, ks=[5])["maj_at_k"] == {"5": 1.0}


def test_wrong_answers_vote_together_however_they_are_written():
    # three spellings of one half against two right ones
    answers = ["0.5", "1/2", r"\frac12", "2", "2"]
    rows = [row("a", sample, answer == "2", answer) for sample, answer in enumerate(answers)]
    assert bench_summary(rows, ks=[5])["maj_at_k"] == {"5": 0.0}


def test_missing_and_repeated_samples_are_refused():
    with pytest.raises(RunError, match="between 3 and 4 samples"):
        bench_summary(matrix()[:-1], ks=[])
    with pytest.raises(RunError, match="twice"):
        bench_summary([*matrix(), row("a", 2, 1)], ks=[])
    with pytest.raises(RunError, match="no sample"):
        bench_summary([], ks=[])


@pytest.mark.parametrize("reward", [2.0, -0.5, math.nan, math.inf])
def test_rewards_that_are_no_shares_are_refused(reward):
    with pytest.raises(RunError, match="no share"):
        bench_summary([{**row("a", 0, 1), "reward": reward}], ks=[])


def test_lenient_extraction_has_its_own_average():
    rows = [{**each, "lenient_reward": 1.0 if each["answer"] is None else each["reward"]} for each in matrix()]
    shown = bench_summary(rows, ks=[])
    assert shown["average"] == 0.5
    assert shown["lenient"]["average"] == 0.625  # b has 2 of 4 then
    assert shown["lenient"]["low"] < 0.625 < shown["lenient"]["high"]


def test_doubtful_golds_are_scored_both_ways():
    # a's gold is corrected to 8: 1 of 4; b stays 1/4
    rows = [{**each, "corrected_reward": float(each["answer"] == "8")} if each["question"] == "a" else each
            for each in matrix()]  # fmt: skip
    shown = bench_summary(rows, ks=[], doubtful=["a"])
    assert shown["average"] == 0.5
    assert (shown["doubtful"]["questions"], shown["doubtful"]["left_out"], shown["doubtful"]["average"]) == (1, 0, 0.25)
    # without a correction it is left out
    left = bench_summary(matrix(), ks=[], doubtful={"a": "the gold is wrong"})["doubtful"]
    assert (left["questions"], left["left_out"], left["average"]) == (1, 1, 0.25)


def test_a_question_that_was_never_asked_counts_as_wrong_and_has_no_length():
    rows = [*matrix(), *(row("c", sample, 0, None, finish_reason="none", num_tokens=0) for sample in range(4))]
    shown = bench_summary(rows, ks=[])
    assert shown["average"] == pytest.approx(1 / 3)
    assert (shown["prompts_too_long"], shown["prompts_too_long_samples"], shown["mean_tokens"]) == (1, 4, 15.75)


def test_planning_tokens_are_a_share_of_all_response_tokens():
    rows = [{**each, "planning_tokens": 2} for each in matrix()]
    assert bench_summary(rows, ks=[])["planning_fraction"] == 16 / 126


def test_of_a_sample_numbers_are_kept_and_no_text():
    scores, text = BenchScores(), "x" * 4000
    for question, sample in itertools.product(range(500), range(8)):
        scores.add(row(str(question), sample, (question + sample) % 3 == 0, str(sample), text=text))
    assert len(pickle.dumps(scores)) < 100 * 500 * 8
    assert scores.figures()["samples"] == 8


def test_the_mean_over_benchmarks_has_its_own_interval():
    one = {"average": 0.5, "low": 0.2, "high": 0.9, "questions": 10}
    other = {"average": 0.7, "low": 0.3, "high": 1.0, "questions": 20}
    shown = mean_summary({"one": one, "other": other})
    assert (shown["average"], shown["low"], shown["high"], shown["benchmarks"]) == pytest.approx((0.6, 0.35, 0.85, 2))
    unknown = mean_summary({"one": {**one, "low": None}})
    assert unknown["low"] is None
    assert not math.isnan(unknown["average"])
    with pytest.raises(RunError, match="needs one"):
        mean_summary({})
