"""What each number of the report means: formula, unit, support and base, and what it does not say."""

from hicra_cli.report.diagnosis import Diagnosis


def definitions(diagnosis: Diagnosis) -> list[tuple[str, str]]:
    """(term, definition) in reading order, with this diagnosis's own sizes filled in."""
    return [*_of_tokens(), *_of_grams(diagnosis), *_of_answers(), *_of_drawing(diagnosis)]


def _of_tokens() -> list[tuple[str, str]]:
    return [
        (
            "Planning token",
            "A response token with any byte inside an occurrence of a strategic gram; all other response tokens are "
            "execution tokens. A gram cut off by the length limit is no occurrence.",
        ),
        (
            "Token entropy",
            "−Σ p ln p over the whole vocabulary, of the next-token distribution at temperature 1, in nats; the mean "
            "over all tokens of a class in a step's rollouts.",
        ),
        (
            "Relative perplexity",
            "exp(−mean ln p) of a class's sampled tokens, divided by its value at the first measured step. ln p is the "
            "sampler's, at the sampling temperature, on the policy's own rollouts.",
        ),
    ]


def _of_grams(diagnosis: Diagnosis) -> list[tuple[str, str]]:
    grams = diagnosis.gram_set
    support = "no gram-set was counted" if grams is None else f"the support is the gram-set's {grams.num_grams:,} grams"
    sizes = diagnosis.rarefaction
    window = "one step" if diagnosis.window == 1 else f"{diagnosis.window} recorded steps"
    rarefied = (
        f"here {sizes.occurrences:,} occurrences and {sizes.pairs:,} outcomes, the smallest windows of all runs that "
        f"reach {sizes.floor}; smaller windows are left out"
        if sizes.occurrences
        else f"no window reaches {sizes.floor} occurrences, so there is no rarefied value"
    )
    clusters = (
        "" if grams is None or not grams.num_clusters else f" By cluster: the same over {grams.num_clusters} clusters."
    )
    return [
        (
            "Semantic entropy",
            f"−Σ p ln p of the frequencies of strategic grams in the rollouts of {window}, shown in {diagnosis.unit}; "
            f"{support}. Occurrences are the longest match from left to right.{clusters}",
        ),
        (
            "Plug-in, Miller–Madow, normalised",
            "Plug-in takes the observed shares for p, as the paper does, and grows with the amount of text. "
            "Miller–Madow adds (observed grams − 1) ÷ (2 × occurrences). Normalised is plug-in ÷ ln(support), "
            "between 0 and 1 and free of the base.",
        ),
        (
            "Rarefied",
            "The expected plug-in value of a sample of fixed size drawn without replacement, computed exactly; "
            f"{rarefied}.",
        ),
        (
            "Conditional entropy",
            f"Σ p(s) H(X | s) in {diagnosis.unit}. X is the next {diagnosis.following_words} words after an occurrence "
            "of gram s that lie outside every gram, across sentence ends; each stretch of numbers, formulas or code "
            "between two words counts as one word ▢. Occurrences with too few words left are not counted.",
        ),
    ]


def _of_answers() -> list[tuple[str, str]]:
    return [
        (
            "Accuracy",
            "Share of rollouts whose final answer is correct. In training it is measured on the problems of each step, "
            "sampled at the training temperature; held-out points use problems that are never trained on.",
        ),
        (
            "95 % interval",
            "Of the mean over questions, clustered by question: samples of one question are not independent. "
            "Differences are paired by question. The interval covers the choice of questions and samples, not the seed "
            "of the training.",
        ),
    ]


def _of_drawing(diagnosis: Diagnosis) -> list[tuple[str, str]]:
    return [
        (
            "Curves",
            "Thin: each step. Strong: centred mean over about a tenth of the run (none below 12 steps). Value axes are "
            "common to all runs. First and last in tables are means over "
            + ", ".join(f"{run.edge} steps ({run.label})" for run in diagnosis.runs)
            + ".",
        )
    ]
