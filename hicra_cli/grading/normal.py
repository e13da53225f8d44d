r"""Cleaning: the same LaTeX without layout, with one spelling for each sign.

`clean` keeps the text valid LaTeX (the reader and math-verify read it); `identity` goes on to a string that is only
compared. The text is a model's: every rule here is linear in its length.
"""

import re
import unicodedata

from hicra_cli.grading.symbols import SPOKEN_NAMES

_SYMBOLS = {
    "−": "-", "–": "-", "—": "-", "×": r"\times ", "·": r"\cdot ", "⋅": r"\cdot ", "∙": r"\cdot ", "∗": "*",
    "÷": "/", "∕": "/", "⁄": "/", "±": r"\pm ", "∓": r"\mp ", "∞": r"\infty ", "°": r"^{\circ}", "º": r"^{\circ}",
    "≤": r"\le ", "≥": r"\ge ", "⩽": r"\le ", "⩾": r"\ge ", "≠": r"\ne ", "≈": r"\approx ", "∪": r"\cup ",
    "∩": r"\cap ", "∈": r"\in ", "∅": r"\emptyset ", "∖": r"\setminus ", "⌊": r"\lfloor ", "⌋": r"\rfloor ",
    "⌈": r"\lceil ", "⌉": r"\rceil ", "ℝ": r"\mathbb{R}", "ℤ": r"\mathbb{Z}", "ℚ": r"\mathbb{Q}", "ℕ": r"\mathbb{N}",
    "½": r"\frac{1}{2}", "¼": r"\frac{1}{4}", "¾": r"\frac{3}{4}", "⅓": r"\frac{1}{3}", "⅔": r"\frac{2}{3}",
    "⅕": r"\frac{1}{5}", "⅙": r"\frac{1}{6}", "⅛": r"\frac{1}{8}", "’": "'", "′": "'", "″": "''", "…": r"\ldots ",
    "“": '"', "”": '"', "ħ": r"\hbar ", "∠": r"\angle ", "ℓ": r"\ell ", "，": ", ",
    "π": r"\pi ", "θ": r"\theta ", "α": r"\alpha ", "β": r"\beta ", "γ": r"\gamma ", "δ": r"\delta ",
    "ε": r"\epsilon ", "λ": r"\lambda ", "μ": r"\mu ", "µ": r"\mu ", "ν": r"\nu ", "ρ": r"\rho ", "σ": r"\sigma ",
    "τ": r"\tau ", "φ": r"\phi ", "ϕ": r"\phi ", "χ": r"\chi ", "ψ": r"\psi ", "ω": r"\omega ", "ζ": r"\zeta ",
    "η": r"\eta ", "κ": r"\kappa ", "ξ": r"\xi ", "Δ": r"\Delta ", "Γ": r"\Gamma ", "Θ": r"\Theta ", "Λ": r"\Lambda ",
    "Σ": r"\Sigma ", "Φ": r"\Phi ", "Ψ": r"\Psi ", "Ω": r"\Omega ", "£": r"\pounds ", "€": r"\euro ",
}  # fmt: skip
_SYMBOL_TABLE = str.maketrans(_SYMBOLS)
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿⁱ", "0123456789-+ni")
_SUPERSCRIPT_RUN = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿⁱ]+")
_SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉ₙ", "0123456789n")
_SUBSCRIPT_RUN = re.compile("[₀₁₂₃₄₅₆₇₈₉ₙ]+")
_DEGREE_TEXT = re.compile(r"\\(?:text|mathrm|textrm)\s*\{\s*°\s*([CF]?)\s*\}")
_ROOT_SIGN = re.compile(r"([√∛])\s*(\{|\(|\d+(?:\.\d+)?|[a-zA-Z])")

_LAYOUT = re.compile(
    r"\\(?:left|right)\s*\.(?!\d)|\\(?:left|right|middle|bigl|bigr|Bigl|Bigr|big|Big|bigg|Bigg|displaystyle|textstyle|"
    r"limits|nolimits|mathstrut|mathopen|mathclose)(?![a-zA-Z])"
)
_LOOKS = re.compile(
    r"\\(?:tiny|small|normalsize|large|Large|LARGE|huge|Huge|scriptstyle|scriptscriptstyle|rm|bf|it|sf|tt)(?![a-zA-Z]|\s*\{)"
    r"|\\(?:text)?color\s*\{[^{}]*\}"
)
_SPACING = re.compile(
    r"(?<!\\)\\[,;:! ]|\\(?:quad|qquad|thinspace|medspace|thickspace|enspace|space|hfill|"
    r"hspace\{[^{}]*\}|phantom\{[^{}]*\})"
    r"(?![a-zA-Z])|(?<!\\)~"
)
_SPELLINGS = {
    "dfrac": "frac", "tfrac": "frac", "cfrac": "frac", "leq": "le", "geq": "ge", "neq": "ne", "leqslant": "le",
    "geqslant": "ge", "lt": "lt", "dbinom": "binom", "tbinom": "binom", "varnothing": "emptyset", "dots": "ldots",
    "cdots": "ldots", "dotsc": "ldots", "lvert": "lvert", "vert": "vert", "mid": "vert", "div": "div",
    "operatorname*": "operatorname", "textnormal": "text", "hbox": "text", "textsf": "text", "tanh": "tanh",
    "degree": "degree", "Bbb": "mathbb", "colon": "colon", "infin": "infty",
    "arctg": "arctan", "tg": "tan", "ctg": "cot", "cosec": "csc",
}  # fmt: skip
_SPELLED = re.compile(r"\\(" + "|".join(name for name in _SPELLINGS if name.isalpha()) + r")(?![a-zA-Z])")
_FRACTION_DIGITS = re.compile(r"\\frac\s*(?:(\d)\s*(\d)|(\d)\s*(?=\{)|(?<=\\frac)\s+(?=\{))")
_FRACTION_SECOND = re.compile(r"(\\frac\{[^{}]*\})\s*(\d|[a-zA-Z])")
_FRACTION_LETTERS = re.compile(r"\\frac\s*([a-zA-Z\d])\s*([a-zA-Z\d])(?![a-zA-Z]*\{)")
_ROOT_BARE = re.compile(r"\\sqrt\s*(\d|[a-zA-Z])")
_THOUSANDS = re.compile(r"(?<![\d.,])(\d{1,3})((?:\{,\}\s?\d{3})+)(?!\d)")
_THIN_THOUSANDS = re.compile(r"(?<![\d.])(\d{1,3})((?:(?:,\s*\\!|(?<!\\)\\[,!;: ])\s*\d{3})+)(?!\d)")
_NOT_DIGIT = re.compile(r"\D+")
_CONJUNCTION = re.compile(
    r",?\s*\\(?:text|mathrm|textrm|mbox)\s*\{\s*,?\s*(?:and|or)\s*,?\s*\}|,?\s+(?:and|or)\s+(?!more|less|fewer|greater)|,?\s*\\(?:lor|land|vee|wedge)"
    r"(?![a-zA-Z])"
)
_BRACE_BLANKS = re.compile(r"(?<!\\)\s+(?=[{}])|(?<=[{}])\s+")
_MATHS_DELIMITERS = (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"))
_ONE_SIGN_SCRIPT = re.compile(r"([_^])\{(\w)\}")
_TEXT_COMMAND = re.compile(
    r"\\(?:text|mathrm|textrm|textbf|textit|mathbf|mathit|mathsf|operatorname|mbox|rm|textsf)\s*\{([^{}]*)\}"
)
_FRENCH = re.compile(r"([\[\]])([^\[\](){}]*[,;][^\[\](){}]*)([\[\]])")
_LEADING_SIGN = re.compile(r"^(?:=(?!=)|\\approx(?![a-zA-Z])|≈)\s*")
_NOT_EQUAL = re.compile(r"\\not\s*=")
_ROW_SPACE = re.compile(r"\\\\\s*\[-?\d+(?:\.\d+)?\s*(?:ex|em|pt|cm|mm)\]")
_ONE_SIGN_GROUP = re.compile(r"(?<![\^_}a-zA-Z\\])\{([:=+<>-])\}")
_ONE_LETTER_GROUP = re.compile(r"(?<![\^_}a-zA-Z\\\]*\s])\{([a-zA-Z])\}")
_PLAIN_TIMES = re.compile(r"(\d)\s*[xX]\s*(?=10\s*(?:\^|\*\*))")
_DOLLAR = re.compile(r"(?<!\\)\$")
_SPOKEN = re.compile(r"(?<![\\a-zA-Z])[a-zA-Z]?[a-z]{2,}(?![a-zA-Z])")
_WORD_BREAK = re.compile(r"[ '-]+")
_INVISIBLE = frozenset(("Cf", "Cc", "Mn"))


def clean(text: str) -> str:
    r"""The same LaTeX without layout: `\left`, thin spaces, `\dfrac`, `$`, a closing full stop, Unicode signs."""
    if text.isascii() and text.isalnum():
        return text
    if not text.isascii():
        text = _ascii(text)
    text = _LEADING_SIGN.sub("", _without_delimiters(text.strip()))
    if "$" in text and len(dollars := _DOLLAR.findall(text)) % 2 == 0 and dollars:
        text = _DOLLAR.sub("", text)
    if "\\" in text:
        text = _clean_commands(text)
    if "{" in text:
        text = _THOUSANDS.sub(lambda number: _NOT_DIGIT.sub("", number.group()), text).replace("{,}", ",")
        text = _ONE_LETTER_GROUP.sub(r" \1", _ONE_SIGN_GROUP.sub(r"\1", text))
        text = _BRACE_BLANKS.sub("", text).replace("{}", "")
    if "\\" in text:
        text = _clean_fractions(text)
    if "10" in text:
        text = _PLAIN_TIMES.sub(r"\1\\times ", text)
    if "..." in text:
        text = text.replace("...", "\\ldots ")
    text = _without_group(_without_delimiters(_CONJUNCTION.sub(", ", text)).strip())
    if text[:1] == "]" or text[-1:] == "[":
        text = _FRENCH.sub(_spell_interval, text)
    return text.rstrip(" .,;") if not text.endswith(r"\.") else text


def identity(cleaned: str) -> str:
    """A string equal for equal spellings: text commands opened, blanks gone, words in lower case."""
    if is_words(cleaned):
        return words(cleaned)
    return _ONE_SIGN_SCRIPT.sub(r"\1\2", "".join(opened(cleaned).split())).replace(r"^{\circ}", r"^\circ")


def is_words(cleaned: str) -> bool:
    r"""Prose such as `no solution`, `Evelyn` or a `\text{odd}`; the bare `x`, `ab`, `ABC` may be variables."""
    inner = opened(cleaned).strip()
    bare = inner.replace(" ", "").replace("'", "").replace("-", "")
    if not (bare.isascii() and bare.isalpha()):
        return False
    if inner != cleaned.strip():
        return len(bare) > 2
    # `a b - c d` and `sin x` are formulas: one word has to be neither letters side by side nor a name of mathematics.
    return len(bare) > 3 and any(
        len(word) > 2 and word.lower() not in SPOKEN_NAMES for word in _WORD_BREAK.split(inner)
    )


def is_prose(cleaned: str) -> bool:
    """Whether a text holds three words or more: no formula, whatever a parser would make of its letters."""
    found = (word.lower() for word in _SPOKEN.findall(cleaned))
    return sum(word not in SPOKEN_NAMES for word in found) >= 3


def opened(cleaned: str) -> str:
    """The text with the content of text commands in their place."""
    return _TEXT_COMMAND.sub(r"\1", cleaned) if "\\" in cleaned else cleaned


def words(cleaned: str) -> str:
    """The text of words, without text commands, in lower case."""
    return " ".join(opened(cleaned).split()).lower()


def _ascii(text: str) -> str:
    """Signs of Unicode as LaTeX; digits of every script are digits; marks that nobody sees are dropped."""
    text = _SUPERSCRIPT_RUN.sub(lambda run: "^{" + run.group().translate(_SUPERSCRIPTS) + "}", text)
    text = _SUBSCRIPT_RUN.sub(lambda run: "_{" + run.group().translate(_SUBSCRIPTS) + "}", text)
    text = _DEGREE_TEXT.sub(r"^{\\circ}\1", text)
    text = _ROOT_SIGN.sub(_spell_root, text).translate(_SYMBOL_TABLE)
    if text.isascii():
        return text
    return "".join(_plain(sign) for sign in unicodedata.normalize("NFKC", text).translate(_SYMBOL_TABLE))


def _plain(sign: str) -> str:
    if sign.isascii():
        return sign
    digit = unicodedata.decimal(sign, None)
    if digit is not None:
        return str(digit)
    if sign.isspace():
        return " "
    return "" if unicodedata.category(sign) in _INVISIBLE else sign


def _spell_root(match: re.Match[str]) -> str:
    command = "\\sqrt" if match.group(1) == "√" else "\\sqrt[3]"
    argument = match.group(2)
    return command + argument if argument in "{(" else f"{command}{{{argument}}}"


def _clean_commands(text: str) -> str:
    text = _THIN_THOUSANDS.sub(lambda number: _NOT_DIGIT.sub("", number.group()), text)
    text = _LAYOUT.sub("", text)
    text = _LOOKS.sub(" ", text)
    text = _SPACING.sub(lambda space: "" if space.group() == r"\!" else " ", text)
    text = _SPELLED.sub(lambda name: "\\" + _SPELLINGS[name.group(1)], text)
    text = _ROW_SPACE.sub(r"\\\\", _NOT_EQUAL.sub(r"\\ne ", text))
    return text.replace("\\colon", ":")


def _clean_fractions(text: str) -> str:
    if "\\frac" in text:
        text = _FRACTION_DIGITS.sub(_brace_fraction, text)
        text = _FRACTION_SECOND.sub(r"\1{\2}", text)
        text = _FRACTION_LETTERS.sub(r"\\frac{\1}{\2}", text)
    return _ROOT_BARE.sub(r"\\sqrt{\1}", text)


def _brace_fraction(match: re.Match[str]) -> str:
    numerator, denominator, alone = match.group(1), match.group(2), match.group(3)
    if numerator is not None:
        return f"\\frac{{{numerator}}}{{{denominator}}}"
    return f"\\frac{{{alone}}}" if alone is not None else ""


def _without_delimiters(text: str) -> str:
    for opening, closing in _MATHS_DELIMITERS:
        if len(text) >= len(opening) + len(closing) and text.startswith(opening) and text.endswith(closing):
            inner = text[len(opening) : -len(closing)]
            if opening not in inner.replace("\\$", "") and not inner.endswith("\\"):
                return inner.strip()
    return text


def _without_group(text: str) -> str:
    """`{Friday}` is Friday, and `{2,3}` a list; the braces of a set are escaped and stay."""
    if len(text) < 2 or text[0] != "{" or text[-1] != "}" or text.endswith("\\}"):
        return text
    depth = 0
    for position, sign in enumerate(text):
        depth += (sign == "{") - (sign == "}")
        if depth == 0 and position < len(text) - 1:
            return text
    return text[1:-1].strip()


def _spell_interval(match: re.Match[str]) -> str:
    """French brackets: `]a,b[` is the open interval."""
    left, inner, right = match.groups()
    return f"{'(' if left == ']' else '['}{inner}{')' if right == '[' else ']'}"
