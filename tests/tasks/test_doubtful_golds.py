"""Golds that are in doubt: where a corrected one is given, it is recomputed here from the question's own numbers."""

from math import erfc, exp, floor, log10, pi, radians, sin, sqrt
from statistics import NormalDist

import pytest

from hicra_cli.tasks.benchmark_rows import known_rows
from hicra_cli.tasks.benchmark_specs import known_names, known_spec

# CODATA 2018 and IAU values, SI
LIGHT, PLANCK, CHARGE, AVOGADRO, ELECTRON = 2.99792458e8, 6.62607015e-34, 1.602176634e-19, 6.02214076e23, 9.1093837e-31
RYDBERG, BOHR_ANGSTROM, STEFAN, GRAVITY, KELVIN_EV = 1.0973731568e7, 0.529177211, 5.670374e-8, 6.6743e-11, 8.617333e-5
PARSEC, SUN_KG, SUN_M, YEAR = 3.0856776e16, 1.98841e30, 6.957e8, 3.15576e7
ARC_SECOND = pi / 180 / 3600

CORRECTED = {
    "minerva/000": 7200 * 45 * ARC_SECOND,  # cm
    "minerva/009": 1e10 / (RYDBERG * 26**2 * (1 / 4 - 1 / 9)),  # angstroms, n = 3 to 2
    "minerva/018": 2.75e11 + 3e12,
    "minerva/022": (0.12 * 8000) ** 3 / 15**2,  # Kepler in au, years and solar masses
    "minerva/023": 4 * pi * (800e3 * PARSEC * 100) ** 2 * 1e-12,
    "minerva/024": 10e6 * ARC_SECOND,  # micrometres
    "minerva/026": 7 * GRAVITY * SUN_KG**2 / (12 * pi * STEFAN * 5800**4 * SUN_M**3) / YEAR,
    "minerva/036": GRAVITY * SUN_KG / (1e4 * LIGHT**2),
    "minerva/037": 1 / (1e6 / (PARSEC * 100) ** 3 * pi * (2 * SUN_M * 100) ** 2),
    "minerva/146": PLANCK * LIGHT * AVOGADRO / 2.15e5 * 1e9,
    "minerva/154": BOHR_ANGSTROM / 2,
    "minerva/155": LIGHT / 6.7102e-7,
    "minerva/162": 7.64 * CHARGE,
    "minerva/165": 5.14 * 1.6e-19,  # the charge that the source's solution takes
    "minerva/183": sqrt(2 * (PLANCK * LIGHT / 3.091e-7 - PLANCK * LIGHT * RYDBERG / 9) / ELECTRON),
    "minerva/191": sqrt(3) / 4 * (2 * 95.94 / (10.2 * AVOGADRO)) ** (1 / 3) / 100,  # body-centred, 2 atoms a cell
    "minerva/201": (4 * 58.69 / (8.83 * AVOGADRO)) ** (1 / 3) * 1e10,  # face-centred: the second neighbour is at a
    "minerva/207": pi * sqrt(2) / 8,
    "minerva/215": 2 / (sqrt(2) * (4 * 0.77e-10 / sqrt(3)) ** 2),
    "minerva/216": 10.3 * (1 - pi * sqrt(2) / 6),
    "minerva/225": 2 * NormalDist().inv_cdf(2 / 3) / sqrt(2) * sqrt(3.091e-6 * 600) * 1e4,  # micrometres; erfinv(1/3)
    "minerva/240": 5e16 / erfc(25e-4 / (2 * sqrt(7.23e-9 * 90 * 60))),
    "minerva/267": PLANCK / (0.145 * 1e-9),
    "gsm8k-test/00368": 3 * 8 - 14,
}
# Doubts without a right gold that can be computed all the same: the gold, and the values a careful reader may get.
NEITHER = {
    "minerva/006": ("0.49", [5e-7 / (8 * 0.0254) / ARC_SECOND, 1.22 * 5e-7 / (8 * 0.0254) / ARC_SECOND]),
    "minerva/031": ("0.33", [0.06 / 36000 / ARC_SECOND, 1.22 * 0.06 / 36000 / ARC_SECOND]),
    "minerva/222": ("3.21e13", [9.7e15 * T**1.5 * exp(-0.72 / (2 * KELVIN_EV * T)) for T in (293, 293.15)]),
    "minerva/203": (
        "2415",
        [(PLANCK / (2 * a / sqrt(8) * sin(radians(5)))) ** 2 / (2 * ELECTRON * CHARGE) for a in (4.07e-10, 4.09e-10)],
    ),
}


def doubts():
    return {doubt.id: doubt for name in known_names() for doubt in known_spec(name).doubtful}


@pytest.mark.parametrize("question", CORRECTED)
def test_a_corrected_gold_is_what_the_questions_numbers_give(question):
    corrected = doubts()[question].corrected
    assert corrected is not None
    digits = corrected.lower().partition("e")[0].replace(".", "").lstrip("0")
    value = CORRECTED[question]
    places = len(digits) - 1 - floor(log10(abs(value)))
    assert round(value, places) == pytest.approx(float(corrected), rel=1e-12)


@pytest.mark.parametrize("question", NEITHER)
def test_a_gold_that_no_reading_gives_is_in_doubt_without_a_correction(question):
    gold, values = NEITHER[question]
    assert doubts()[question].corrected is None
    figures = len(gold.partition("e")[0].replace(".", "").lstrip("0"))
    assert all(f"{value:.{figures - 1}e}" != f"{float(gold):.{figures - 1}e}" for value in values)


@pytest.mark.parametrize("name", known_names())
def test_every_doubt_names_a_question_of_its_set_and_a_reason(name):
    ids = set(known_rows(name).ids.values())
    for doubt in known_spec(name).doubtful:
        assert doubt.id in ids
        assert len(doubt.reason) > 10


def test_every_corrected_gold_is_recomputed_here():
    with_correction = {question for question, doubt in doubts().items() if doubt.corrected and doubt.gold is None}
    assert with_correction == set(CORRECTED)
