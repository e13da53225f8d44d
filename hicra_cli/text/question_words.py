"""Questions as words, so that two spellings of one question are equal: what contamination checks compare.

Figures (`[asy]…[/asy]`), LaTeX layout, case and punctuation are dropped; numbers stay, signs and relations stay in
`exact`. Not the words of strategic grams: those are in `words.py` and know sentences and maths.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

NUMBER = "#"

_LAYOUT = (
    "left right middle big Big bigg Bigg bigl bigr Bigl Bigr displaystyle textstyle text textbf textit textrm textsf "
    "texttt mathrm mathbf mathit mathsf mathnormal boldsymbol operatorname mbox hbox rm bf it em emph quad qquad "
    "limits nolimits hspace vspace phantom item hfill hline newline noindent underbrace dots ldots cdots vdots ddots "
    "dotsc dotsb"
)
_NAMES = {
    "dfrac": "frac",
    "tfrac": "frac",
    "cfrac": "frac",
    "dbinom": "binom",
    "tbinom": "binom",
    "leqslant": "le ",
    "geqslant": "ge ",
    "leq": "le ",
    "geq": "ge ",
    "neq": "ne ",
    "cdot": "* ",
    "times": "* ",
    "degree": "circ ",
    "lvert": "| ",
    "rvert": "| ",
}
_SYMBOLS = str.maketrans(
    {
        "−": "-",
        "–": " ",
        "—": " ",
        "×": "*",
        "·": "*",
        "≤": " le ",
        "≥": " ge ",
        "≠": " ne ",
        "°": " circ ",
        "√": " sqrt ",
    }
    | {"π": " pi ", "∞": " infty ", "…": " ", "÷": "/", "⋅": "*"}
)
_DEGREE = re.compile(r"\^\{?\s*\\circ(?![a-zA-Z])")
_NOT_EQUAL = re.compile(r"\\not\s*=")
_COMMAND = re.compile(
    rf"\\(?:(?:{'|'.join(_LAYOUT.split())})(?![a-zA-Z])|(?:begin|end)\{{\w*\*?\}}|[^a-zA-Z])", re.DOTALL
)
_HYPHEN = re.compile(r"(?<=[^\W\d_]{2})-(?=[^\W\d_]{2})")
_ORDINAL = re.compile(r"(?<=\d)[\s^{]+(?=(?:st|nd|rd|th)\b)")
_THOUSANDS = re.compile(r"(?<=\d)(?:,|\{,\})(?=\d{3}(?!\d))")
_UNSPACED = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"  # scripts without blanks: each letter is a word
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W\d_{_UNSPACED}]+|\d+|[-+*/=<>^|!]")
_OPERATORS = frozenset("-+*/=<>^|!")
_NUMBERS = re.compile(r"(?<!\S)\d+(?: \d+)*(?!\S)")


@dataclass(frozen=True, slots=True)
class QuestionWords:
    """A question in three degrees of forgetting.

    exact: words, numbers, signs. plain: without signs. skeleton: each run of numbers and signs is one NUMBER, so that
    the same question about other numbers has the same skeleton.
    """

    exact: tuple[str, ...]
    plain: tuple[str, ...]
    skeleton: tuple[str, ...]


def question_words(text: str) -> QuestionWords:
    """The words of a question. Linear in the text, whatever it holds."""
    exact = tuple(_WORD.findall(_unformatted(text)))
    plain = tuple([word for word in exact if word not in _OPERATORS])
    return QuestionWords(exact, plain, tuple(_NUMBERS.sub(NUMBER, " ".join(plain)).split()))


def grams(words: tuple[str, ...], n: int) -> frozenset[tuple[str, ...]]:
    """The distinct runs of n words; a shorter text is one gram of its own."""
    return frozenset(words[at : at + n] for at in range(max(1, len(words) - n + 1)))


def characters(words: Iterable[str], n: int) -> frozenset[str]:
    """The distinct runs of n characters of the words joined by blanks; a shorter text is one of its own."""
    text = " ".join(words)
    return frozenset(text[at : at + n] for at in range(max(1, len(text) - n + 1)))


def jaccard(one: frozenset[Any], other: frozenset[Any]) -> float:
    """Shared over all distinct elements: 1.0 for equal sets, 0.0 for disjoint ones."""
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared) if one or other else 1.0


def _unformatted(text: str) -> str:
    text = _without_figures(text)
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text.translate(_SYMBOLS)).translate(_SYMBOLS)
    if "\\" in text:
        text = _COMMAND.sub(" ", _NOT_EQUAL.sub(" ne ", _DEGREE.sub(" circ ", text)))
        for name, meaning in _NAMES.items():
            text = text.replace(f"\\{name}", f"\\{meaning}")
    if "^" in text or " th" in text:
        text = _ORDINAL.sub(" ", text)
    return _HYPHEN.sub(" ", _THOUSANDS.sub("", text)).casefold()


def _without_figures(text: str) -> str:
    """Asymptote code is no text; where a figure is not closed, what follows counts as text."""
    first, *rest = text.split("[asy]")
    kept = [first]
    for part in rest:
        code, closing, after = part.partition("[/asy]")
        kept.append(after if closing else code)
    return " ".join(kept)
