"""Which clusters are kept, which refused, and what the seed phrases and the lexicon say of a move."""

from collections import Counter

import numpy as np
import pytest

from hicra_cli.core.records import Move
from hicra_cli.grams.annotators.cluster_seeds import EXECUTION_SEEDS, MOVE_SEEDS
from hicra_cli.grams.annotators.cluster_selection import (
    Closeness,
    MoveVotes,
    Seeds,
    Verdict,
    border_frequency,
    lexicon_votes,
    seeds_of,
    verdict,
)
from hicra_cli.grams.embeddings import open_embedder
from hicra_cli.text.words import normalise_gram

ALL_SEEDS = [*EXECUTION_SEEDS, *(phrase for phrases in MOVE_SEEDS.values() for phrase in phrases)]


def seeds(planning, execution):
    return Seeds(Move.DEDUCTION, Closeness("we need to find", planning), Closeness("the number of", execution))


@pytest.mark.parametrize(
    ("frequency", "keep_fraction", "border"),
    [
        ([9, 8, 7, 6, 5, 4, 3, 2, 1, 1], 0.2, 8),  # ceil(0.2 * 10) = 2: the second largest
        ([9, 8, 7, 6, 5, 4, 3, 2, 1, 1, 1], 0.2, 7),  # ceil(2.2) = 3
        (list(range(15, 0, -1)), 0.2, 13),  # 0.2 * 15 = 3 exactly, not 3.0000000000000004
        ([5, 5, 5, 5, 1], 0.2, 5),  # a tie at the border is kept whole
        ([4], 0.2, 4),
        ([3, 2, 1], 1.0, 1),
        ([0, 0], 0.5, 1),  # what nobody uses is never kept
    ],
)
def test_the_border_is_the_frequency_at_the_rank_of_the_share(frequency, keep_fraction, border):
    assert border_frequency(frequency, keep_fraction) == border
    assert border_frequency(frequency[::-1], keep_fraction) == border


def test_verdicts_follow_frequency_first_and_closeness_second():
    assert verdict(4, seeds(0.9, 0.1), border=5, refuse_fillers=True) is Verdict.RARE
    assert verdict(5, seeds(0.5, 0.5), border=5, refuse_fillers=True) is Verdict.KEPT
    assert verdict(5, seeds(0.4, 0.5), border=5, refuse_fillers=True) is Verdict.FILLER
    assert verdict(5, seeds(0.4, 0.5), border=5, refuse_fillers=False) is Verdict.KEPT


def test_seed_phrases_are_normalised_grams_and_none_stands_twice():
    assert len(set(ALL_SEEDS)) == len(ALL_SEEDS)
    for phrase in ALL_SEEDS:
        assert " ".join(normalise_gram(phrase)) == phrase
        assert 3 <= len(phrase.split()) <= 5
    assert set(MOVE_SEEDS) == set(Move)


def test_a_cluster_is_compared_with_its_three_nearest_phrases():
    embedder = open_embedder("lsa", ALL_SEEDS, seed=0)
    centre = embedder.embed(["the total number of"])
    found = seeds_of(centre, embedder)[0]
    cosines = sorted((embedder.embed(EXECUTION_SEEDS) @ centre[0]).tolist(), reverse=True)
    assert found.execution.phrase == "the total number of"
    assert found.execution.cosine == pytest.approx(sum(cosines[:3]) / 3, abs=1e-6)
    assert found.margin == pytest.approx(found.planning.cosine - found.execution.cosine)
    assert found.margin < 0


@pytest.mark.parametrize("move", list(Move))
def test_each_move_is_nearest_to_its_own_phrases(move):
    embedder = open_embedder("lsa", ALL_SEEDS, seed=0)
    found = seeds_of(embedder.embed(MOVE_SEEDS[move]), embedder)
    assert sum(each.move is move for each in found) >= 0.8 * len(found)


def test_fillers_and_plans_fall_on_their_own_side_even_without_a_model():
    embedder = open_embedder("lsa", ALL_SEEDS, seed=0)
    plans = seeds_of(
        embedder.embed(["let me double-check", "is there another approach", "we need to figure"]), embedder
    )
    fillers = seeds_of(embedder.embed(["so the number of", "is equal to", "the sum of these"]), embedder)
    assert all(each.margin > 0 for each in plans)
    assert all(each.margin < 0 for each in fillers)


def test_the_lexicon_votes_with_the_uses_of_the_grams_it_knows():
    # 6 + 3 uses are backtracing, 1 deduction, 10 nothing: 10 of 20 uses, and backtracing wins.
    grams = ("let me double check", "let me verify that", "this means that", "the red car")
    found = lexicon_votes(grams, np.array([6, 3, 1, 10]))
    assert found.votes == Counter({Move.BACKTRACING: 9, Move.DEDUCTION: 1})
    assert (found.winner, found.fraction, found.total) == (Move.BACKTRACING, 0.5, 20)


def test_a_vote_on_less_than_a_tenth_of_the_uses_decides_no_move():
    assert MoveVotes(Counter({Move.BRANCHING: 9}), 100).winner is None
    assert MoveVotes(Counter({Move.BRANCHING: 10}), 100).winner is Move.BRANCHING


def test_without_votes_there_is_no_winner():
    assert MoveVotes(Counter(), 0).winner is None
    assert MoveVotes(Counter(), 0).fraction == 0
    assert lexicon_votes(("this means that",), np.array([0])).winner is None
