r"""One spelling for one answer: cleaning LaTeX, and reading plain numbers exactly.

`clean` keeps the text valid LaTeX (math-verify reads it); `identity` goes on to a string that is only compared. The
text is a model's: every rule here is linear in its length, and numbers are read only up to `MAX_DIGITS`.
"""

import re
from dataclasses import dataclass
from fractions import Fraction

MAX_DIGITS = 1000
MAX_EXPONENT = 1000

_SYMBOLS = {
    "−": "-", "–": "-", "×": r"\times ", "·": r"\cdot ", "⋅": r"\cdot ", "÷": "/", "±": r"\pm ", "∞": r"\infty ",
    "π": r"\pi ", "θ": r"\theta ", "α": r"\alpha ", "β": r"\beta ", "°": r"^{\circ}", "≤": r"\le ", "≥": r"\ge ",
    "≠": r"\ne ", "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ", "∅": r"\emptyset ", "½": r"\frac{1}{2}",
    "¼": r"\frac{1}{4}", "¾": r"\frac{3}{4}", "\u00a0": " ", "\u2009": " ", "\u202f": " ", "’": "'", "′": "'",
}  # fmt: skip
_SYMBOL_TABLE = str.maketrans(_SYMBOLS)
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻ⁿ", "0123456789-n")
_SUPERSCRIPT_RUN = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻ⁿ]+")
_DEGREE_TEXT = re.compile(r"\\(?:text|mathrm|textrm)\s*\{\s*°\s*([CF]?)\s*\}")
_ROOT_SIGN = re.compile(r"√\s*(\{|\(|\d+(?:\.\d+)?|[a-zA-Z])")

_LAYOUT = re.compile(
    r"\\(?:left|right|bigl|bigr|Bigl|Bigr|big|Big|bigg|Bigg|displaystyle|textstyle|limits|nolimits)(?![a-zA-Z])"
)
_SPACING = re.compile(r"\\[,;:! ]|\\(?:quad|qquad|thinspace|enspace|hfill)(?![a-zA-Z])|(?<!\\)~")
_FRACTION_NAME = re.compile(r"\\[dtc]frac(?![a-zA-Z])")
_FRACTION_DIGITS = re.compile(r"\\frac\s*(?:(\d)\s*(\d)|(\d)\s*(?=\{)|(?<=\\frac)\s+(?=\{))")
_FRACTION_SECOND = re.compile(r"(\\frac\{[^{}]*\})\s*(\d|[a-zA-Z])")
_ROOT_BARE = re.compile(r"\\sqrt\s*(\d|[a-zA-Z])")
_THOUSANDS = re.compile(r"(?<![\d.,])(\d{1,3})((?:\{,\}\d{3})+)(?!\d)")
_CONJUNCTION = re.compile(r",?\s*\\(?:text|mathrm|textrm)\s*\{\s*,?\s*(?:and|or)\s*,?\s*\}|,?\s+(?:and|or)\s+")
_BRACE_BLANKS = re.compile(r"(?<!\\)\s+(?=[{}])|(?<=[{}])\s+")
_MATHS_DELIMITERS = (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"))
_ONE_SIGN_SCRIPT = re.compile(r"([_^])\{(\w)\}")
_TEXT_COMMAND = re.compile(
    r"\\(?:text|mathrm|textrm|textbf|textit|mathbf|mathit|mathsf|operatorname|mbox|rm)\s*\{([^{}]*)\}"
)


def clean(text: str) -> str:
    r"""The same LaTeX without layout: `\left`, thin spaces, `\dfrac`, `$`, a closing full stop, Unicode signs."""
    text = _SUPERSCRIPT_RUN.sub(lambda run: "^{" + run.group().translate(_SUPERSCRIPTS) + "}", text)
    text = _DEGREE_TEXT.sub(r"°\1", text)
    text = _ROOT_SIGN.sub(_spell_root, text).translate(_SYMBOL_TABLE).strip()
    text = _without_delimiters(text)
    text = _THOUSANDS.sub(lambda number: number.group().replace("{,}", ""), text).replace("{,}", ",")
    text = _LAYOUT.sub("", text)
    text = _SPACING.sub(lambda space: "" if space.group() == r"\!" else " ", text)
    text = _BRACE_BLANKS.sub("", text).replace("{}", "")
    text = _FRACTION_NAME.sub(r"\\frac", text)
    text = _FRACTION_DIGITS.sub(_brace_fraction, text)
    text = _FRACTION_SECOND.sub(r"\1{\2}", text)
    text = _ROOT_BARE.sub(r"\\sqrt{\1}", text)
    text = text.replace(r"\leq", r"\le").replace(r"\geq", r"\ge").replace(r"\neq", r"\ne")
    text = _without_group(_without_delimiters(_CONJUNCTION.sub(", ", text)))
    return text.rstrip(" .,;") if not text.endswith(r"\.") else text


def identity(cleaned: str) -> str:
    """A string equal for equal spellings: text commands opened, blanks gone, words in lower case."""
    opened = _TEXT_COMMAND.sub(r"\1", cleaned)
    if is_words(cleaned):
        return " ".join(opened.split()).lower()
    return _ONE_SIGN_SCRIPT.sub(r"\1\2", "".join(opened.split())).replace(r"^{\circ}", r"^\circ")


def is_words(cleaned: str) -> bool:
    r"""Prose such as `no solution`, `Evelyn` or a `\text{odd}`; the bare `x`, `ab`, `ABC` may be variables."""
    opened = _TEXT_COMMAND.sub(r"\1", cleaned).strip()
    letters = re.sub(r"[ '-]", "", opened)
    if not (letters.isascii() and letters.isalpha()):
        return False
    return len(letters) > (2 if opened != cleaned.strip() else 3)


def _spell_root(match: re.Match[str]) -> str:
    argument = match.group(1)
    return "\\sqrt" + argument if argument in "{(" else f"\\sqrt{{{argument}}}"


def _without_delimiters(text: str) -> str:
    for opening, closing in _MATHS_DELIMITERS:
        if len(text) >= len(opening) + len(closing) and text.startswith(opening) and text.endswith(closing):
            inner = text[len(opening) : -len(closing)]
            if opening not in inner and not inner.endswith("\\"):
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


def _brace_fraction(match: re.Match[str]) -> str:
    numerator, denominator, alone = match.group(1), match.group(2), match.group(3)
    if numerator is not None:
        return f"\\frac{{{numerator}}}{{{denominator}}}"
    return f"\\frac{{{alone}}}" if alone is not None else ""


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number read exactly. `rounded`: written with a decimal point or an exponent. `unit`: '' where none."""

    value: Fraction
    rounded: bool = False
    percent: bool = False
    unit: str = ""


_UNITS = (
    "cm|mm|km|m|dm|in|inch|inches|ft|foot|feet|yd|yard|yards|mi|mile|miles|meter|meters|metre|metres|centimeter|"
    "centimeters|kilometer|kilometers|unit|units|square units|cubic units|square unit|cubic unit|square inches|"
    "square feet|square meters|square centimeters|sq units|degree|degrees|deg|radian|radians|rad|dollar|dollars|"
    "usd|cent|cents|euro|euros|pound|pounds|lb|lbs|ounce|ounces|oz|g|gram|grams|kg|kilogram|kilograms|mg|s|sec|"
    "second|seconds|min|minute|minutes|h|hr|hour|hours|day|days|week|weeks|month|months|year|years|mph|miles per hour|"
    "m/s|km/h|liter|liters|litre|litres|ml|l|gallon|gallons|student|students|people|person|persons|ways|apples|books|"
    "pages|points|times|square cm|cm^2|m^2|ft^2|in^2|cm^3|m^3|ft^3|in^3"
)
# In a text command any words are a unit, but for those that change the number or are part of the answer.
_NO_UNIT = (
    "thousand|million|billion|trillion|hundred|dozen|pair|percent|and|or|to|than|more|less|least|most|not|no|mod|base"
)
_TEXT_UNIT = rf"(?!(?:i|e|j|k|x|n)\b)(?!.*\b(?:{_NO_UNIT})s?\b)[a-zA-Z][a-zA-Z/. ^0-9]{{0,30}}?"
_UNIT = re.compile(
    rf"\s*(?:\\(?:text|mathrm|textrm|mbox)\s*\{{\s*(?P<text>{_TEXT_UNIT})\.?\s*\}}|(?<=[\d\s}}])(?P<bare>{_UNITS}))"
    r"(?P<power>\^\{?[23]\}?)?$"
)
_DEGREES = re.compile(r"\s*\^\s*(?:\{\s*\\circ\s*\}|\\circ)\s*(?:[CF]|\\(?:text|mathrm|textrm)\s*\{\s*[CF]\s*\})?$")
_PERCENT = re.compile(r"\s*(?:\\?%|\\(?:text|mathrm)\s*\{\s*(?:\\?%|percent)\s*\}|\s+percent)$")
_CURRENCY = re.compile(r"^(-?)\s*(?:\\?\$|\\(?:text|mathrm)\{\s*\\?\$\s*\}|£|€)\s*")
_PLAIN = re.compile(r"([+-]?)(\d+|\d{1,3}(?:[, ]\d{3})+)?(\.\d*)?")
_POWER_OF_TEN = re.compile(
    r"(?P<mantissa>[+-]?\d*\.?\d+|[+-]?\d+\.)"
    r"(?:[eE]|\s*(?:\\times|\\cdot|\*)\s*10\s*(?:\^|\*\*)\s*)\{?\s*(?P<exponent>[+-]?\d+)\s*\}?"
)
_FRACTION = re.compile(r"(?P<sign>[+-]?)\s*(?P<whole>\d+)?\s*\\frac\{\s*(?P<top>[^{}]+)\}\{(?P<bottom>[^{}]+)\}")
_SLASH = re.compile(r"(?P<top>[+-]?\s*[\d.,]+)\s*/\s*(?P<bottom>[\d.,]+)")


def quantity(cleaned: str) -> Quantity | None:
    """The number that a cleaned text is, with percent sign and unit apart; None where it is anything else."""
    if len(cleaned) > MAX_DIGITS:
        return None
    text = _CURRENCY.sub(r"\1", cleaned.strip())
    percent = unit = ""
    if text != (shorter := _PERCENT.sub("", text)):
        text, percent = shorter, "%"
    elif text != (shorter := _DEGREES.sub("", text)):
        text, unit = shorter, "degree"
    elif match := _UNIT.search(text):
        text, unit = text[: match.start()], _unit_name(match)
    read = _read_number(_unwrapped(text.strip()))
    if read is None:
        return None
    return Quantity(value=read[0], rounded=read[1], percent=bool(percent), unit=unit)


def split_unit(cleaned: str) -> tuple[str, str]:
    r"""A formula and the unit that follows it in a text command (`6\pi\text{ cm}`); the unit is '' without one."""
    match = _UNIT.search(cleaned) if len(cleaned) <= MAX_DIGITS else None
    if match is None or match.group("text") is None or match.start() == 0:
        return cleaned, ""
    return cleaned[: match.start()].strip(), _unit_name(match)


def _unit_name(match: re.Match[str]) -> str:
    name = match.group("text") or match.group("bare")
    power = (match.group("power") or "").translate(str.maketrans("", "", "{}"))
    return _SINGULAR.get(name, name.removesuffix("s") if len(name) > 3 else name) + power


_SINGULAR = {
    "inches": "in", "inch": "in", "feet": "ft", "foot": "ft", "yards": "yd", "yard": "yd", "miles": "mi", "mile": "mi",
    "meter": "m", "meters": "m", "metre": "m", "metres": "m", "centimeter": "cm", "centimeters": "cm",
    "kilometer": "km", "kilometers": "km", "units": "unit", "square units": "square unit", "sq units": "square unit",
    "cubic units": "cubic unit", "degrees": "degree", "deg": "degree", "radians": "rad", "radian": "rad",
    "dollars": "dollar", "usd": "dollar", "cents": "cent", "pounds": "lb", "pound": "lb", "lbs": "lb",
    "ounces": "oz", "ounce": "oz", "grams": "g", "gram": "g", "kilograms": "kg", "kilogram": "kg", "seconds": "s",
    "second": "s", "sec": "s", "minutes": "min", "minute": "min", "hours": "h", "hour": "h", "hr": "h",
    "days": "day", "weeks": "week", "months": "month", "years": "year", "mph": "miles per hour", "liters": "l",
    "liter": "l", "litres": "l", "litre": "l", "gallons": "gallon", "students": "student", "people": "person",
    "persons": "person", "square inches": "in^2", "square feet": "ft^2", "square meters": "m^2",
    "square centimeters": "cm^2", "square cm": "cm^2",
}  # fmt: skip


def _unwrapped(text: str) -> str:
    r"""A number in braces or a text command is that number: `{5}`, `\text{5}`, `\mathbf{5}`."""
    text = _TEXT_COMMAND.sub(r"\1", text).strip() if text.startswith("\\") else text
    return text[1:-1].strip() if text.startswith("{") and text.endswith("}") and text.count("{") == 1 else text


def _read_number(text: str) -> tuple[Fraction, bool] | None:
    """The exact value and whether it is written as a decimal."""
    if plain := _read_plain(text):
        return plain
    if match := _POWER_OF_TEN.fullmatch(text):
        exponent = match.group("exponent")
        if len(exponent) > 6 or abs(int(exponent)) > MAX_EXPONENT:
            return None
        return Fraction(match.group("mantissa")) * Fraction(10) ** int(exponent), True
    match = _FRACTION.fullmatch(text) or _SLASH.fullmatch(text)
    if match is None:
        return None
    top, bottom = _read_plain(match.group("top").strip()), _read_plain(match.group("bottom").strip())
    if top is None or bottom is None or bottom[0] == 0:
        return None
    value = top[0] / bottom[0]
    groups = match.groupdict()
    if groups.get("whole") is not None:
        if top[0] < 0 or bottom[0] < 0:
            return None
        value += int(groups["whole"])
    return (-value if groups.get("sign") == "-" else value), False


def _read_plain(text: str) -> tuple[Fraction, bool] | None:
    match = _PLAIN.fullmatch(text)
    if match is None or (match.group(2) is None and len(match.group(3) or "") < 2):
        return None
    whole = (match.group(2) or "0").replace(",", "").replace(" ", "")
    decimals = match.group(3) or ""
    value = Fraction(f"{match.group(1)}{whole}{decimals if len(decimals) > 1 else ''}")
    return value, bool(decimals)
