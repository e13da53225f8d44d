"""The cluster annotator end to end on small corpora, with lsa embeddings."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hicra_cli.config.annotate import AnnotateConfig
from hicra_cli.config.collect import CollectConfig
from hicra_cli.core.errors import ConfigError, RunError
from hicra_cli.core.progress import SilentProgress
from hicra_cli.core.records import Move
from hicra_cli.grams.annotators.cluster import ClusterAnnotator
from hicra_cli.grams.candidates import Candidate
from hicra_cli.grams.counting import Solution, count_grams

# Four ways to check and three fillers, spread over ten problems; "his red bike" is rare.
SENTENCES = {
    "wait let me check": (0, 1, 2),
    "let me check again": (2, 3, 4),
    "but let me check": (5, 6),
    "is there another way": (0, 1, 5, 8),
    "maybe there's another way": (2, 8),
    "so the total number": (0, 1, 2, 3, 4, 5, 6, 7, 8),
    "the total number of": (1, 2, 9),
    "he sold his red bike": (9,),
}
SOLUTIONS = [
    Solution(f"p{problem}", f"{phrase}. It is 4.", "ab"[sample % 2])
    for phrase, problems in SENTENCES.items()
    for sample, problem in enumerate(problems)
]
GRAMS = (
    "wait let me check",
    "let me check again",
    "but let me check",
    "is there another way",
    "there's another way",
    "so the total number",
    "the total number of",
    "his red bike",
)


def candidates(grams=GRAMS):
    return [Candidate(gram, len(gram.split()), 1, 1, 1, (), ()) for gram in grams]


def annotated(grams=GRAMS, solutions=SOLUTIONS, seed=0, **cluster):
    settings = {"embedder": "lsa", "threshold": 0.45, "keep_fraction": 0.75, **cluster}
    annotator = ClusterAnnotator(
        AnnotateConfig.model_validate({"cluster": settings}), solutions=lambda: iter(solutions), seed=seed
    )
    return list(annotator.annotate(candidates(grams), SilentProgress())), annotator.report


def test_widespread_clusters_are_strategic_fillers_and_rare_ones_are_not():
    annotations, report = annotated()
    assert [each.gram for each in annotations] == list(GRAMS)
    found = {each.gram: (each.move, each.cluster) for each in annotations}
    # Cluster DF: total number 0-9 = 10, check 0-6 = 7, another way 0 1 2 5 8 = 5, bike 1. Of 4 clusters 0.75 keeps 3.
    assert found["so the total number"] == found["the total number of"] == (None, 0)
    assert found["wait let me check"] == found["let me check again"] == (Move.BACKTRACING, 1)
    assert found["is there another way"] == found["there's another way"] == (Move.BRANCHING, 2)
    assert found["his red bike"] == (None, 3)
    assert [row["document_frequency"] for row in report["kept"]] == [7, 5]
    assert [row["document_frequency"] for row in report["fillers_refused"]] == [10]
    assert (report["clusters"], report["border_document_frequency"], report["documents"]) == (4, 5, 10)


def test_reasons_give_the_figures():
    reasons = {each.gram: each.reason for each in annotated()[0]}
    assert "cluster 1 of 4 (3 grams, cohesion " in reasons["wait let me check"]
    assert "is used in 7 of 10 problems; the lexicon gives 100% of its uses a move" in reasons["wait let me check"]
    assert "is used in 10 of 10 problems, but is filler: nearer to the likes of '" in (reasons["so the total number"])
    assert (
        "(1 gram, cohesion 1.00) is used in 1 of 10 problems; kept are those in at least 5" in reasons["his red bike"]
    )


def test_confidence_says_how_sure_the_verdict_is():
    confidence = {each.gram: each.confidence for each in annotated()[0]}
    # his red bike: DF 1 at a border of 5: 0.5 * (1 - 1/5) = 0.4
    assert confidence["his red bike"] == 0.4
    assert all(0.5 < confidence[gram] <= 1 for gram in GRAMS if gram != "his red bike")


def test_the_paper_to_the_letter_counts_solutions_and_keeps_fillers():
    annotations, report = annotated(document="solution", refuse_fillers=False)
    found = {each.gram: each for each in annotations}
    # Solutions: total number 9 + 3 = 12, check 3 + 3 + 2 = 8, another way 4 + 2 = 6, bike 1
    assert [row["document_frequency"] for row in report["kept"]] == [12, 8, 6]
    assert report["fillers_refused"] == []
    assert found["so the total number"].move is not None
    assert found["so the total number"].reason.startswith("cluster 0 of 4 (2 grams, cohesion ")


def test_documents_of_a_cluster_are_counted_once_though_its_grams_share_them():
    report = annotated(keep_fraction=1.0)[1]
    check = next(row for row in report["kept"] if "let me check again" in row["grams"])
    # Problem 2 has two solutions, one with each of two grams: 7 problems, 8 solutions.
    assert (check["document_frequency"], check["solutions"]) == (7, 8)


@settings(max_examples=15, deadline=None)
@given(order=st.permutations(range(len(GRAMS))), solutions=st.permutations(SOLUTIONS))
def test_the_order_of_candidates_and_solutions_decides_nothing(order, solutions):
    expected, report = annotated()
    annotations, permuted_report = annotated([GRAMS[at] for at in order], solutions)
    assert annotations == [expected[at] for at in order]
    assert permuted_report == report


@pytest.mark.parametrize("algorithm", ["hdbscan", "kmeans"])
def test_other_algorithms_give_annotations_too(algorithm):
    annotations, report = annotated(algorithm=algorithm, num_clusters=4, min_cluster_size=2)
    assert annotations == annotated(algorithm=algorithm, num_clusters=4, min_cluster_size=2)[0]
    assert {each.cluster for each in annotations} == set(range(report["clusters"]))


def test_counted_candidates_of_a_corpus_go_straight_in():
    config = CollectConfig(min_document_frequency=1, merge_phrases=False)
    counted = count_grams(SOLUTIONS, config).candidates
    annotations, report = annotated([each.gram for each in counted])
    assert [each.gram for each in annotations] == [each.gram for each in counted]
    assert report["grams"] == len(counted)


def test_a_gram_that_is_given_twice_is_annotated_twice():
    annotations, _ = annotated([*GRAMS, GRAMS[0]])
    assert annotations[0] == annotations[-1]


def test_no_candidates_give_no_annotations():
    assert annotated([]) == ([], {})


def test_without_solutions_nothing_can_be_counted():
    with pytest.raises(RunError, match="no solution"):
        annotated(solutions=[])


def test_unsuccessful_solutions_count_for_nothing():
    failed = [Solution(f"f{at}", "He sold his red bike.", successful=False) for at in range(20)]
    assert annotated(solutions=[*failed, *SOLUTIONS]) == annotated()


def test_a_gram_cut_off_by_truncation_is_no_use():
    cut = [Solution("p", "so let me check", truncated=True), Solution("q", "so let me check", truncated=False)]
    report = annotated(["let me check"], cut, keep_fraction=1.0)[1]
    assert report["kept"][0]["document_frequency"] == 1


def test_an_unknown_embedder_is_named():
    with pytest.raises(ConfigError, match="no embedder 'nothing'"):
        annotated(embedder="nothing")


def test_clusters_are_numbered_by_frequency_then_by_their_first_gram():
    report = annotated(keep_fraction=1.0, refuse_fillers=False)[1]
    keys = [(-row["document_frequency"], min(row["grams"])) for row in report["kept"]]
    assert keys == sorted(keys)
    assert [row["cluster"] for row in report["kept"]] == list(range(len(keys)))
    assert all(a <= b for a, b in itertools.pairwise(keys))
