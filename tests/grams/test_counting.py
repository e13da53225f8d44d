"""Counting n-grams: golden figures by hand, equality with a slow count, independence of order."""

import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hicra_cli.config.collect import CollectConfig
from hicra_cli.grams.candidates import Share
from hicra_cli.grams.counting import POOL_FACTOR, STOP_WORDS, Solution, count_grams
from hicra_cli.text.words import segments


def config(**changes) -> CollectConfig:
    return CollectConfig.model_validate({"min_document_frequency": 1, **changes})


def by_gram(solutions, **changes):
    counts = count_grams(solutions, config(**changes))
    return {each.gram: each for each in counts.candidates}


def test_occurrences_solutions_and_problems_are_counted_apart():
    # "let me think" occurs twice in the first solution, once in the second; both answer problem p; once in problem q.
    found = by_gram(
        [
            Solution("p", "Let me think. Yes, let me think!"),
            Solution("p", "let  me, think again"),
            Solution("q", "Now let me think"),
        ]
    )
    assert (found["let me think"].count, found["let me think"].solutions) == (4, 3)
    assert found["let me think"].document_frequency == 2
    assert found["let me think again"].document_frequency == 1
    assert found["now let me think"].n == 4


def test_a_gram_never_crosses_a_sentence_a_line_maths_or_a_number():
    found = by_gram(
        [Solution("p", "so we need to\nfind it. Then let us see $x$ that we can use it 7 times over again")]
    )
    assert {gram for gram, each in found.items() if each.n == 4} == {
        "so we need to",
        "then let us see",
        "that we can use",
        "we can use it",
    }
    assert "times over again" in found
    assert "it times over" not in found
    assert "to find it" not in found


def test_lengths_are_those_configured():
    text = Solution("p", "we can use what you know")
    assert {each.n for each in by_gram([text]).values()} == {3, 4, 5}
    assert {each.n for each in by_gram([text], ngram_min=2, ngram_max=2).values()} == {2}


def test_shares_are_fractions_of_the_solutions_of_each_policy_and_step():
    found = by_gram(
        [
            Solution("p", "let me check", "base", 0),
            Solution("p", "nothing at all here", "base", 0),
            Solution("q", "let me check", "base", 100),
        ]
    )
    # 1 of 2 solutions of step 0, 1 of 1 of step 100
    assert found["let me check"].shares == (Share("base", 0, 1, 0.5), Share("base", 100, 1, 1.0))


def test_what_is_dropped_is_counted_by_reason():
    common = [Solution(str(number), "it is in the. let x be. let me check") for number in range(3)]
    counts = count_grams([*common, Solution("9", "a rare find here")], config(min_document_frequency=2))
    # kept: let me check. symbols: "let x be"; stop words: "it is in", "is in the", "it is in the"; rare:
    # "a rare find", "rare find here", "a rare find here"
    assert [each.gram for each in counts.candidates] == ["let me check"]
    assert counts.dropped == {"rare": 3, "symbols": 1, "stop_words": 3, "names": 0, "beyond_pool": 0}
    assert counts.distinct_grams == 8
    assert (counts.problems, counts.solutions, counts.words) == (4, 4, 3 * 10 + 4)


def test_strategic_grams_of_function_words_are_kept():
    text = "is it true that we can. let me see. so what if it is. but that is not the. what is it that"
    found = by_gram([Solution("p", text)])
    for gram in ("is it true that", "let me see", "what if it is", "but that is not the", "what is it that"):
        assert gram in found
    assert "it is" not in STOP_WORDS


def test_the_pool_keeps_the_most_widespread_and_breaks_ties_by_count_then_text():
    # 13 grams of 3 words: one of 2 problems, two of 1 problem and 2 uses, ten of 1 problem and 1 use ("al" … "ju")
    words = [letter + other for letter, other in zip("abcdefghij", "lmnopqrstu", strict=True)]
    text = "we see bees. we see dogs. we see dogs. you see bees. you see bees. "
    solutions = [Solution("p", text + ". ".join(f"{word} see ants" for word in words)), Solution("q", "we see bees")]
    counts = count_grams(solutions, config(max_candidates=1))
    assert POOL_FACTOR == 10
    assert [each.gram for each in counts.candidates] == [
        *("we see bees", "we see dogs", "you see bees"),
        *(f"{word} see ants" for word in words[:7]),
    ]
    assert counts.dropped["beyond_pool"] == 3


def test_failures_are_counted_beside_and_change_nothing_else():
    solved = [Solution("p", "let me check. so let me check", "base", 0), Solution("q", "let me check", "base", 0)]
    failed = [
        Solution("p", "let me check. let me check", "base", 0, successful=False),
        Solution("r", "let me check or let me guess", "base", 7, successful=False),
    ]
    alone, beside = (count_grams(each, config()) for each in (solved, [*failed, *solved]))
    found = {each.gram: each for each in beside.candidates}
    # two failed solutions hold the gram, one of them twice
    assert [each.failures for each in beside.candidates] == [2, 0, 0]
    assert [replace(each, failures=0) for each in beside.candidates] == list(alone.candidates)
    assert replace(beside, candidates=(), failures=0) == replace(alone, candidates=())
    assert (beside.failures, alone.failures) == (2, 0)
    assert found["let me check"].shares == (Share("base", 0, 2, 1.0),)
    assert "let me guess" not in found


def test_grams_with_a_name_are_dropped_under_that_reason():
    counts = count_grams([Solution("p", "Now Anna's and Ben go home")], config(), names=frozenset({"anna's"}))
    # dropped: now anna's and, anna's and ben, and the longer ones with them
    assert {each.gram for each in counts.candidates} == {"and ben go", "ben go home", "and ben go home"}
    # 4 + 3 + 2 grams
    assert (counts.distinct_grams, counts.dropped["names"]) == (9, 6)


def test_a_word_that_the_token_limit_cut_is_no_word():
    assert set(by_gram([Solution("p", "let me che", truncated=True)])) == set()
    assert set(by_gram([Solution("p", "let me check.", truncated=True)])) == {"let me check"}
    assert set(by_gram([Solution("p", "let me che")])) == {"let me che"}


def test_nothing_to_count_gives_no_candidates():
    for solutions in ([], [Solution("p", "")], [Solution("p", "one two")]):
        counts = count_grams(solutions, config())
        assert counts.candidates == ()


WORDS = st.sampled_from(["we", "can", "let's", "is", "the", "x", "use", ".", "\n", "$y$", "7", "it", "wait,"])
TEXTS = st.lists(WORDS, max_size=30).map(" ".join)
SOLUTIONS = st.lists(
    st.builds(Solution, st.sampled_from("pqr"), TEXTS, st.sampled_from(["a", None]), st.sampled_from([0, 5, None])),
    max_size=8,
)


@settings(deadline=None)
@given(SOLUTIONS, st.integers(1, 3), st.randoms(use_true_random=False))
def test_the_result_does_not_depend_on_the_order_of_solutions(solutions, minimum, shuffler):
    shuffled = list(solutions)
    shuffler.shuffle(shuffled)
    settings_ = config(min_document_frequency=minimum, max_candidates=5)
    assert count_grams(solutions, settings_) == count_grams(shuffled, settings_)


@settings(deadline=None)
@given(SOLUTIONS)
def test_counts_equal_those_of_a_plain_dictionary(solutions):
    count: Counter[str] = Counter()
    problems: dict[str, set[str]] = {}
    for solution in solutions:
        for segment in segments(solution.text):
            words = [word.normalised for word in segment]
            for n in (3, 4, 5):
                for start in range(len(words) - n + 1):
                    gram = " ".join(words[start : start + n])
                    count[gram] += 1
                    problems.setdefault(gram, set()).add(solution.problem_id)
    found = by_gram(solutions)
    expected = {gram for gram in count if "x" not in gram.split() and not STOP_WORDS.issuperset(gram.split())}
    assert set(found) == expected
    for gram in expected:
        assert (found[gram].count, found[gram].document_frequency) == (count[gram], len(problems[gram]))


@pytest.mark.slow
def test_real_rollouts_count_the_same_in_any_order(rollouts_dir):
    import gzip
    import json

    with gzip.open(rollouts_dir / "llama32_3b_rl_steps_400_800.jsonl.gz", "rt") as stream:
        rows = [json.loads(line) for line in stream]
    solutions = [Solution(row["problem"], row["response"], row["model"], row["step"]) for row in rows if row["correct"]]
    shuffled = list(solutions)
    random.Random(1).shuffle(shuffled)
    settings_ = config(min_document_frequency=3)
    assert count_grams(solutions, settings_) == count_grams(shuffled, settings_)
