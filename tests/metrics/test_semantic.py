"""Semantic and conditional entropy: golden values, exact rarefaction, properties."""

import itertools
import math
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hicra_cli.metrics.semantic import (
    conditional_entropy,
    describe,
    miller_madow,
    normalised_entropy,
    rarefaction_size,
    rarefied_conditional_entropy,
    rarefied_entropy,
    semantic_entropy,
)
from tests.reference.entropy import (
    conditional_entropy_of_pairs,
    entropy_of_counts,
    mean_entropy_of_all_subsamples,
)

COUNTS = st.lists(st.integers(0, 60), min_size=1, max_size=30).filter(any)
SMALL_COUNTS = st.lists(st.integers(1, 4), min_size=1, max_size=4)
PAIRS = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("uvwx")), min_size=1, max_size=40)


def test_uniform_use_of_k_grams_is_ln_k():
    assert semantic_entropy({"a": 5, "b": 5, "c": 5}) == pytest.approx(1.0986122887)  # ln 3
    assert semantic_entropy([1] * 249) == pytest.approx(5.5174528965)  # ln 249: the published list's maximum


def test_one_gram_has_no_entropy_and_none_has_no_value():
    assert semantic_entropy({"a": 17}) == 0.0
    assert semantic_entropy({"a": 17, "b": 0}) == 0.0
    assert math.isnan(semantic_entropy({}))
    assert math.isnan(semantic_entropy([0, 0]))


def test_unequal_use():
    # p = 1/2, 1/4, 1/4: (1/2) ln 2 + 2 * (1/4) ln 4 = 1.5 ln 2 = 1.039721
    assert semantic_entropy([2, 1, 1]) == pytest.approx(1.0397207708)


def test_miller_madow_adds_half_a_degree_of_freedom_per_occurrence():
    # 3 grams, 4 occurrences: 1.0397207708 + (3 - 1) / (2 * 4) = 1.2897207708
    assert miller_madow([2, 1, 1]) == pytest.approx(1.2897207708)
    assert miller_madow([9]) == 0.0
    assert math.isnan(miller_madow([]))


def test_rarefied_to_two_of_three():
    # counts 2, 1; of the 3 pairs one is equal (entropy 0), two are mixed (ln 2): 2/3 ln 2 = 0.462098
    assert rarefied_entropy([2, 1], size=2) == pytest.approx(0.4620981204)


def test_rarefied_ends_are_exact():
    assert rarefied_entropy([5, 3, 1], size=1) == 0.0
    assert rarefied_entropy([5, 3, 1], size=9) == pytest.approx(semantic_entropy([5, 3, 1]), rel=1e-14)
    assert math.isnan(rarefied_entropy([5, 3, 1], size=10))
    assert math.isnan(rarefied_entropy([5, 3, 1], size=0))


@given(SMALL_COUNTS, st.data())
def test_rarefied_is_the_mean_over_every_subsample(counts, data):
    size = data.draw(st.integers(1, min(5, sum(counts))))
    assert rarefied_entropy(counts, size=size) == pytest.approx(mean_entropy_of_all_subsamples(counts, size), abs=1e-12)


def test_rarefaction_stays_exact_for_large_counts():
    # half and half, 200,000 occurrences, 2 drawn: P(mixed) = 2 * 0.5 * 100000/199999, times ln 2 = 0.346575323
    assert rarefied_entropy([100_000, 100_000], size=2) == pytest.approx(0.3465753231, rel=1e-9)


@given(COUNTS)
def test_rarefied_entropy_grows_with_the_sample(counts):
    sizes = sorted({1, 1 + sum(counts) // 3, sum(counts)})
    values = [rarefied_entropy(counts, size=size) for size in sizes]
    assert all(low <= high + 1e-9 for low, high in itertools.pairwise(values))


@given(COUNTS)
def test_plug_in_equals_the_reference_and_its_bounds(counts):
    entropy = semantic_entropy(counts)
    observed = sum(1 for count in counts if count)
    assert entropy == pytest.approx(entropy_of_counts(counts), abs=1e-12)
    assert 0.0 <= entropy <= math.log(observed) + 1e-12
    assert entropy <= miller_madow(counts)


@given(COUNTS, st.randoms(use_true_random=False), st.integers(2, 9))
def test_order_never_matters_and_doubling_the_text_changes_nothing(counts, random, times):
    shuffled = random.sample(counts, len(counts))
    assert semantic_entropy(shuffled) == semantic_entropy(counts)
    assert semantic_entropy([count * times for count in counts]) == pytest.approx(semantic_entropy(counts), abs=1e-12)


def test_normalised_entropy_names_its_support():
    # 1.5 ln 2 over a gram-set of 8: 1.5 ln 2 / (3 ln 2) = 0.5
    assert normalised_entropy([2, 1, 1], support=8) == pytest.approx(0.5)
    assert math.isnan(normalised_entropy([3], support=1))
    with pytest.raises(ValueError, match="support of 2"):
        normalised_entropy([2, 1, 1], support=2)


def test_a_negative_count_is_refused():
    with pytest.raises(ValueError, match="negative"):
        semantic_entropy([3, -1])


def test_description_holds_every_estimate_and_its_ground():
    described = describe({"a": 2, "b": 1, "c": 1, "d": 0}, support=8, rarefied_size=4)
    assert (described.support, described.observed, described.occurrences, described.rarefied_size) == (8, 3, 4, 4)
    assert described.plug_in_nats == pytest.approx(1.0397207708)
    assert described.rarefied_nats == pytest.approx(1.0397207708)
    assert described.miller_madow_nats == pytest.approx(1.2897207708)
    assert described.normalised == pytest.approx(0.5)


def test_the_smallest_window_that_says_enough_sets_the_size():
    assert rarefaction_size([400, 120, 7, 0], floor=50) == 120
    assert rarefaction_size([7, 0], floor=50) == 0


def test_conditional_entropy_weighs_grams_by_their_use():
    # s has 4 pairs, 2 + 2: ln 2; t has 2 pairs, both alike: 0. (4/6) ln 2 + (2/6) 0 = 0.462098
    pairs = {"s": {("x",): 2, ("y",): 2}, "t": {("z",): 2}}
    assert conditional_entropy(pairs) == pytest.approx(0.4620981204)
    assert math.isnan(conditional_entropy({}))
    assert math.isnan(conditional_entropy({"s": {}}))


@given(PAIRS)
def test_conditional_entropy_is_joint_minus_marginal(pairs):
    nested: dict[str, Counter[str]] = {}
    for gram, following in pairs:
        nested.setdefault(gram, Counter())[following] += 1
    expected = conditional_entropy_of_pairs(pairs)
    assert conditional_entropy(nested) == pytest.approx(expected, abs=1e-12)
    assert rarefied_conditional_entropy(nested, size=len(pairs)) == pytest.approx(expected, abs=1e-12)
    assert math.isnan(rarefied_conditional_entropy(nested, size=len(pairs) + 1))
    assert rarefied_conditional_entropy(nested, size=1) == 0.0


def test_the_public_names_load_without_torch():
    code = (
        "import sys; from hicra_cli.metrics import conditional_entropy, relative_perplexity, semantic_entropy; "
        "assert semantic_entropy([1, 1]) > 0; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
