"""Agreement between raters who name a category (nominal data): per cent, Cohen's kappa, Krippendorff's alpha.

A rating is any hashable value, None where the rater gave none. Chance-corrected figures are 1 for perfect agreement, 0
for what chance alone would give and negative below it. Where only one category was ever used, chance alone explains
everything: the figure is 0 / 0, and nan is returned rather than a 1 that would look like evidence. The percent
agreement, which has no such hole, is there to be read beside them. Ordered categories are not covered.
"""

import math
from collections import Counter
from collections.abc import Hashable, Sequence

Rating = Hashable | None


def percent_agreement(ratings: Sequence[Sequence[Rating]]) -> float:
    """Share of agreeing pairs among all pairs of ratings that one unit got; nan where no unit has two.

    ratings: for each unit the ratings of all raters, None where missing. The pairs of all units weigh alike:
    A = sum_u sum_c n_uc (n_uc - 1) / sum_u m_u (m_u - 1), with n_uc ratings c of the m_u ratings of unit u.
    """
    agreeing, pairs = 0, 0
    for unit in ratings:
        counts = _counts(unit)
        agreeing += sum(number * (number - 1) for number in counts.values())
        pairs += counts.total() * (counts.total() - 1)
    return agreeing / pairs if pairs else math.nan


def cohen_kappa(first: Sequence[Rating], second: Sequence[Rating]) -> float:
    """Agreement of two raters beyond chance: kappa = (p_o - p_e) / (1 - p_e).

    p_o is the share of units on which they agree, p_e = sum_c p_1(c) p_2(c) what two raters with these habits would
    reach by chance. Units that one of them did not rate are left out. nan where no unit is left, or where both always
    named the same one category. Raises ValueError for sequences of different lengths.
    Source: Cohen, A coefficient of agreement for nominal scales, Educ. Psychol. Meas. 20 (1960).
    """
    both = [(a, b) for a, b in zip(first, second, strict=True) if a is not None and b is not None]
    num_units = len(both)
    agreed = sum(a == b for a, b in both)
    habits_first, habits_second = Counter(a for a, _ in both), Counter(b for _, b in both)
    chance = sum(number * habits_second[category] for category, number in habits_first.items())
    # Both shares as whole numbers over num_units squared: no rounding decides whether chance explains everything.
    if chance == num_units**2:
        return math.nan
    return (agreed * num_units - chance) / (num_units**2 - chance)


def krippendorff_alpha(ratings: Sequence[Sequence[Rating]]) -> float:
    """Agreement of any number of raters beyond chance, with missing ratings: alpha = 1 - D_o / D_e, nominal.

    ratings: for each unit the ratings of all raters, None where missing; units with fewer than two say nothing. With
    n_uc ratings c of the m_u ratings of unit u, n_c over all units and n in total:
    D_o = 1/n sum_u sum_{c != k} n_uc n_uk / (m_u - 1), D_e = sum_{c != k} n_c n_k / (n (n - 1)).
    nan where no unit has two ratings or all ratings are one category.
    Source: Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), section D.
    """
    units = [counts for unit in ratings if (counts := _counts(unit)).total() >= 2]
    totals: Counter[Hashable] = Counter()
    for counts in units:
        totals.update(counts)
    expected = _unequal_pairs(totals)
    if expected == 0:
        return math.nan
    observed = math.fsum(_unequal_pairs(counts) / (counts.total() - 1) for counts in units)
    return 1 - (totals.total() - 1) * observed / expected


def _counts(unit: Sequence[Rating]) -> Counter[Hashable]:
    return Counter(rating for rating in unit if rating is not None)


def _unequal_pairs(counts: Counter[Hashable]) -> int:
    """Ordered pairs of different categories: sum_{c != k} n_c n_k."""
    return counts.total() ** 2 - sum(number**2 for number in counts.values())
