"""Cluster DF by one pass over solutions, against counting by hand and by sets."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hicra_cli.core.errors import DataError, RunError
from hicra_cli.grams.annotators import cluster_usage as module
from hicra_cli.grams.annotators.cluster_usage import cluster_usage
from hicra_cli.grams.counting import Solution
from hicra_cli.grams.gram_set import GramSet
from hicra_cli.grams.matcher import TextMatcher

GRAMS = ("a b", "b c", "a b c", "d e")
CLUSTER_IDS = np.array([0, 0, 1, 2])

texts = st.lists(st.sampled_from(["a", "b", "c", "d", "e", "."]), max_size=12).map(" ".join)
corpora = st.lists(st.tuples(st.integers(0, 4).map(str), texts), min_size=1, max_size=20)


def test_a_cluster_is_used_by_a_document_once_and_nested_grams_each():
    # p, first: "a b c" holds a b, b c and a b c. p, second: a b. q: d e twice.
    solutions = [Solution("p", "a b c"), Solution("p", "a b. c"), Solution("q", "d e. d e")]
    usage = cluster_usage(GRAMS, CLUSTER_IDS, solutions, by_problem=True)
    assert usage.document_frequency.tolist() == [1, 1, 1]
    assert usage.solutions.tolist() == [2, 1, 1]
    assert usage.uses.tolist() == [2, 1, 1, 2]
    assert (usage.num_documents, usage.num_solutions) == (2, 3)


def test_documents_can_be_solutions():
    solutions = [Solution("p", "a b"), Solution("p", "b c"), Solution("p", "nothing")]
    usage = cluster_usage(GRAMS, CLUSTER_IDS, solutions, by_problem=False)
    assert usage.document_frequency.tolist() == [2, 0, 0]
    assert usage.num_documents == 3


@settings(max_examples=40, deadline=None)
@given(corpus=corpora, by_problem=st.booleans())
def test_counts_are_those_of_sets(corpus, by_problem):
    solutions = [Solution(problem, text) for problem, text in corpus]
    matcher = TextMatcher(GramSet.from_phrases(GRAMS))
    users: dict[int, set[str]] = {0: set(), 1: set(), 2: set()}
    for at, solution in enumerate(solutions):
        for occurrence in matcher.occurrences(solution.text):
            cluster = int(CLUSTER_IDS[GRAMS.index(occurrence.gram.text)])
            users[cluster].add(solution.problem_id if by_problem else str(at))
    usage = cluster_usage(GRAMS, CLUSTER_IDS, iter(solutions), by_problem=by_problem)
    assert usage.document_frequency.tolist() == [len(users[cluster]) for cluster in range(3)]


def test_pairs_are_settled_as_often_as_memory_asks(monkeypatch):
    solutions = [Solution(str(at % 7), "a b c. d e" if at % 2 else "b c") for at in range(100)]
    whole = cluster_usage(GRAMS, CLUSTER_IDS, solutions, by_problem=True)
    monkeypatch.setattr(module, "_PAIRS_HELD", 1)
    often = cluster_usage(GRAMS, CLUSTER_IDS, solutions, by_problem=True)
    assert often.document_frequency.tolist() == whole.document_frequency.tolist() == [7, 7, 7]


def test_only_failures_are_no_solutions():
    with pytest.raises(RunError, match="no solution"):
        cluster_usage(GRAMS, CLUSTER_IDS, [Solution("p", "a b", successful=False)], by_problem=True)


def test_a_gram_that_is_not_normalised_is_refused():
    with pytest.raises(DataError, match="not normalised"):
        cluster_usage(("Let Me",), np.array([0]), [Solution("p", "let me")], by_problem=True)
