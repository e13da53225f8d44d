r"""Units: which words are one, what they are worth, and when two of them agree.

Units of one dimension are converted by their exact factor (1 m is 100 cm, a right angle 90 degrees); units that the
table does not know are names, equal in singular and plural. A text such as `million` or `dozen` is no unit but a
factor; `or more` changes the answer and is neither.
"""

import re
from dataclasses import dataclass
from fractions import Fraction

# name: (dimension, factor, other spellings). Factors are exact by definition.
_TABLE: dict[str, tuple[str, Fraction, str]] = {
    "m": ("length", Fraction(1), "meter metre"),
    "cm": ("length", Fraction(1, 100), "centimeter centimetre"),
    "mm": ("length", Fraction(1, 1000), "millimeter millimetre"),
    "dm": ("length", Fraction(1, 10), "decimeter"),
    "km": ("length", Fraction(1000), "kilometer kilometre"),
    "nm": ("length", Fraction(1, 10**9), "nanometer"),
    "in": ("length", Fraction(254, 10_000), "inch inches"),
    "ft": ("length", Fraction(3048, 10_000), "foot feet"),
    "yd": ("length", Fraction(9144, 10_000), "yard"),
    "mi": ("length", Fraction(1_609_344, 1000), "mile"),
    "s": ("time", Fraction(1), "sec second"),
    "ms": ("time", Fraction(1, 1000), "millisecond"),
    "min": ("time", Fraction(60), "minute"),
    "h": ("time", Fraction(3600), "hr hour"),
    "day": ("time", Fraction(86_400), ""),
    "week": ("time", Fraction(604_800), ""),
    "month": ("months", Fraction(1), ""),
    "year": ("months", Fraction(12), "yr"),
    "g": ("mass", Fraction(1), "gram"),
    "mg": ("mass", Fraction(1, 1000), "milligram"),
    "kg": ("mass", Fraction(1000), "kilogram"),
    "lb": ("mass", Fraction(45_359_237, 100_000), "pound"),
    "oz": ("mass", Fraction(45_359_237, 1_600_000), "ounce"),
    "l": ("volume", Fraction(1), "liter litre L"),
    "ml": ("volume", Fraction(1, 1000), "milliliter mL"),
    "gallon": ("gallon", Fraction(1), "gal"),
    "dollar": ("money", Fraction(1), "usd USD bucks buck"),
    "cent": ("money", Fraction(1, 100), ""),
    "euro": ("euro", Fraction(1), "EUR"),
    "degree": ("angle", Fraction(1), "deg"),
    "arcmin": ("angle", Fraction(1, 60), "arcminute"),
    "arcsec": ("angle", Fraction(1, 3600), "arcsecond"),
    "rad": ("radian", Fraction(1), "radian"),
    "unit": ("unit", Fraction(1), ""),
    "mph": ("length/time", Fraction(1_609_344, 3_600_000), ""),
    "Hz": ("1/time", Fraction(1), "hertz"),
    "N": ("newton", Fraction(1), "newton"),
    "J": ("joule", Fraction(1), "joule"),
    "kJ": ("joule", Fraction(1000), ""),
    "W": ("watt", Fraction(1), "watt"),
    "kW": ("watt", Fraction(1000), ""),
    "Pa": ("pascal", Fraction(1), "pascal"),
    "V": ("volt", Fraction(1), "volt"),
    "K": ("kelvin", Fraction(1), "kelvin"),
    "eV": ("electronvolt", Fraction(1), ""),
    "mol": ("mole", Fraction(1), "mole"),
}
_KNOWN = {name: (dimension, factor) for name, (dimension, factor, _) in _TABLE.items()}
_KNOWN |= {other: _KNOWN[name] for name, (_, _, others) in _TABLE.items() for other in others.split()}
# Words that name no unit of measure but what is counted; spelled without a text command they need a table.
# fmt: off
_COUNTED = frozenset((
    "student", "people", "person", "way", "apple", "book", "page", "point", "time", "game", "ticket", "boy", "girl",
    "marble", "ball", "car", "worker", "child", "children", "coin", "card", "piece", "egg", "bag", "box", "boxes",
    "item", "question", "problem", "percent", "sq", "square", "cubic", "per", "bit", "byte",
))
# fmt: on
_NO_UNIT = re.compile(
    r"\b(?:and|or|to|than|more|less|least|most|not|no|mod|modulo|base|if|when|where|for|is|are|with|times|all|any|"
    r"only|pair|between|approximately|about)s?\b",
    re.IGNORECASE,
)
_SCALES = {
    "hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12,
}  # fmt: skip
_POWERS = {"square": 2, "sq": 2, "cubic": 3, "cu": 3}
_FACTOR = re.compile(r"(?P<name>[a-zA-Z]+)\.?(?:\s*\^?\s*\{?\s*(?P<power>-?[1-4])\s*\}?)?")


@dataclass(frozen=True, slots=True)
class Unit:
    """`dimension` compares equal where conversion is possible; a quantity is its number times `factor`."""

    dimension: str
    factor: Fraction


def is_unit_name(word: str) -> bool:
    """Whether bare letters after a number are a unit rather than a product: two letters or more, and known."""
    return len(word) > 1 and (word in _KNOWN or _singular(word) in _KNOWN or _singular(word.lower()) in _COUNTED)


def scale(words: str) -> tuple[int, str]:
    """The factor that number words are (`million` is 1,000,000), and the unit that remains."""
    first, _, rest = words.strip().partition(" ")
    factor = _SCALES.get(first.lower().rstrip("s"))
    return (factor, rest.strip()) if factor is not None else (1, words.strip())


def is_unit(words: str) -> bool:
    """Whether a text after a number only says what is counted or measured."""
    return 0 < len(words) <= 40 and _NO_UNIT.search(words) is None and not re.search(r"[^a-zA-Z0-9/. ^{}°%'*-]", words)


def read_unit(words: str) -> Unit:
    """`km/h`, `square feet`, `cm^2`, `miles per hour`, or any name: what is unknown is its own dimension."""
    text = re.sub(r"\bper\b", "/", words.strip())
    parts: dict[str, int] = {}
    factor = Fraction(1)
    sign = power_ahead = 1
    for piece in re.findall(r"/|[a-zA-Z]+\.?(?:\s*\^?\s*\{?\s*-?[1-4]\s*\}?)?", text):
        if piece == "/":
            sign = -1
            continue
        match = _FACTOR.fullmatch(piece)
        if match is None:
            continue
        name = match.group("name")
        if name.lower() in _POWERS:
            power_ahead = _POWERS[name.lower()]
            continue
        power = sign * power_ahead * int(match.group("power") or 1)
        dimension, worth = (
            _KNOWN.get(name)
            or _KNOWN.get(_singular(name))
            or _KNOWN.get(_singular(name.lower()))
            or (_singular(name.lower()), Fraction(1))
        )
        power_ahead = 1
        for one in dimension.split("/"):
            parts[one] = parts.get(one, 0) + (power if one == dimension.split("/")[0] else -power)
        factor *= worth**power
    return Unit("*".join(f"{name}^{power}" for name, power in sorted(parts.items()) if power and name != "1"), factor)


def _singular(word: str) -> str:
    if word in _KNOWN:
        return word
    if word.endswith("s") and word[:-1] in _KNOWN:
        return word[:-1]
    if len(word) <= 3:
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    return word.removesuffix("s")
