"""Mechanical spellings of a gold that equal it, and near misses that do not: rules over the gold's text alone.

`spellings` are guaranteed equal: layout, commands of the same meaning, exact changes of notation for plain numbers and
fractions, the order of a bare list. `near_misses` (its own file) are guaranteed different. Neither uses the grader.
Not covered: algebra; the corpus has that.
"""

import re
from collections.abc import Callable, Iterator
from fractions import Fraction

INTEGER = re.compile(r"-?\d+")
DECIMAL = re.compile(r"-?\d*\.\d+")
SCIENTIFIC = re.compile(r"(-?\d+(?:\.\d+)?)e(-?\d+)")
QUOTIENT = re.compile(r"(-?)\\d?frac\s*\{(-?\d+)\}\s*\{(\d+)\}")
TEXT = re.compile(r"\\(?:text|mbox|mathrm)\s*\{[^{}]*\}|\\begin\{\w+\}|\\end\{\w+\}")
TOKEN = re.compile(TEXT.pattern + r"|\\[a-zA-Z]+|\\.|[a-zA-Z]+|(?:\d+(?:[.,]\d+)*\.?|\.\d+)(?:e-?\d+)?|\S")
GROUPED = re.compile(r"(?:\\\$)?\d{1,3}(?:,(?:\\!)?\s*\d{3})+")
CODE = re.compile(r"\bnp\.|\*|exp\{")
PROSE = re.compile(r"[a-zA-Z]{3,} [a-zA-Z]{2,}")
FLOATING_DIGITS = 12

_UNICODE = {
    r"\pi": "π", r"\infty": "∞", r"\cup": "∪", r"\times": "×", r"\cdot": "⋅", r"\pm": "±", r"\le": "≤", r"\ge": "≥",
    r"\in": "∈", r"\alpha": "α", r"\omega": "ω", r"\theta": "θ",
}  # fmt: skip


def spellings(gold: str) -> dict[str, str]:
    """Other spellings of a gold by the name of their rule; every one differs from the gold as a text."""
    rules = (_layout, _commands, _numbers, _fractions, _lists)
    found = {name: text for rule in rules for name, text in rule(gold)}
    return {name: text for name, text in found.items() if text != gold}


def is_prose(gold: str) -> bool:
    """Whether the gold is a sentence; only its layout may change then."""
    return bool(PROSE.search(TEXT.sub("", gold)))


def is_list(gold: str) -> bool:
    """Whether the gold is several answers with commas between them."""
    return len(elements(gold)) > 1


def elements(gold: str) -> list[str]:
    """The answers of a bare list; a single answer is one of them, also where it is a number written as `58,500`."""
    if GROUPED.fullmatch(gold):
        return [gold]
    parts, depth, start = [], 0, 0
    for index, sign in enumerate(gold):
        depth += (sign in "([{") - (sign in ")]}")
        if sign == "," and depth == 0:
            parts.append(gold[start:index].strip())
            start = index + 1
    return [*parts, gold[start:].strip()]


def _layout(gold: str) -> Iterator[tuple[str, str]]:
    """What TeX does not print, or prints as empty room."""
    yield "blanks around", f"  {gold} "
    yield "lines around", f"\n{gold}\n"
    yield "dollars", f"${gold}$"
    yield "double dollars", f"$${gold}$$"
    yield "round delimiters", rf"\({gold}\)"
    yield "square delimiters", rf"\[{gold}\]"
    yield "full stop", f"{gold}."
    yield "thin space", rf"\,{gold}\,"
    yield "display style", rf"\displaystyle {gold}"
    yield "group", f"{{{gold}}}"
    yield "quad", rf"{gold}\quad"
    yield "semicolon space", rf"\;{gold}\;"
    if not is_prose(gold) and not CODE.search(gold) and not GROUPED.fullmatch(gold):
        yield "blanks between", " ".join(match.group() for match in TOKEN.finditer(gold))
        yield "no blanks", _outside_text(gold, lambda part: re.sub(r"(?<!\\)\s+(?![a-zA-Z])", "", part))


def _commands(gold: str) -> Iterator[tuple[str, str]]:
    """Commands and characters of the same meaning."""
    yield "dfrac", re.sub(r"\\[dt]?frac(?![a-zA-Z])", r"\\dfrac", gold)
    yield "tfrac", re.sub(r"\\[dt]?frac(?![a-zA-Z])", r"\\tfrac", gold)
    yield "left and right", _with_left_right(gold)
    yield "no left and right", re.sub(r"\\(?:left|right)(?![a-zA-Z])\s*(?!\.)", "", gold)
    yield "times", re.sub(r"\\cdot(?![a-zA-Z])", r"\\times", gold)
    yield "cdot", re.sub(r"\\times(?![a-zA-Z])", r"\\cdot", gold)
    yield "braced scripts", re.sub(r"([\^_])\s*([a-zA-Z0-9])(?!\d)", r"\1{\2}", gold)
    yield "braced roots", re.sub(r"\\sqrt\s*(\d)", r"\\sqrt{\1}", gold)
    yield "unicode", _with_unicode(gold)
    yield "unicode minus", _outside_text(gold, lambda part: re.sub(r"(?<![eE])-", "−", part))
    yield "unicode root", re.sub(r"\\sqrt\s*\{(\d+)\}", r"√\1", gold)
    yield "text as mathrm", re.sub(r"\\(?:text|mbox)\s*(?=\{)", r"\\mathrm", gold)
    yield "bold text", re.sub(r"\\text\s*(?=\{[A-Za-z]+\}$)", r"\\textbf", gold)
    for sign in (r"^{\circ}", "°", r"\text{ degrees}", r"^{ \circ }", r"\degree"):
        yield f"degrees {sign}", re.sub(r"\s*\^\s*(?:\{\s*)?\\circ\s*\}?", lambda _: sign, gold)  # noqa: B023
    yield "percent", re.sub(r"\s*\\?%$", r" \\%", gold)
    yield "matrix brackets", gold.replace("{pmatrix}", "{bmatrix}")
    if re.fullmatch(r"[A-Za-z]+", TEXT.sub("", gold) or "x") and gold.startswith(r"\text") and len(gold) > 9:
        yield "capitals", re.sub(r"\{(.*)\}", lambda word: f"{{{word.group(1).upper()}}}", gold)


def _numbers(gold: str) -> Iterator[tuple[str, str]]:
    """Exact changes of notation for plain numbers."""
    if INTEGER.fullmatch(gold):
        number = int(gold)
        yield "decimal point", f"{gold}.0"
        yield "fraction", rf"\frac{{{2 * number}}}{{2}}"
        yield "sum", f"{number - 1}+1"
        yield "plus sign", gold if number < 0 else f"+{gold}"
        yield "leading zero", gold if number < 0 else f"0{gold}"
        yield "unit", rf"{gold}\text{{ units}}"
        yield "named", f"x = {gold}"
        for name, separator in (("comma", ","), ("braced comma", "{,}"), ("thin", r"\,"), ("comma thin", r",\!")):
            yield f"thousands by {name}", f"{number:,}".replace(",", separator)
    if DECIMAL.fullmatch(gold):
        value = Fraction(gold)
        yield "exact fraction", rf"\frac{{{value.numerator}}}{{{value.denominator}}}"
        yield "trailing zero", f"{gold}0"
        yield "no leading zero", re.sub(r"^(-?)0\.", r"\1.", gold)
        yield "leading zero", re.sub(r"^(-?)\.", r"\g<1>0.", gold)
        yield "unit", rf"{gold}\text{{ m}}"
    if match := SCIENTIFIC.fullmatch(gold):
        mantissa, exponent = match.group(1), int(match.group(2))
        yield "times ten to the", rf"{mantissa}\times10^{{{exponent}}}"
        yield "times ten to the, blanks", rf"{mantissa} \times 10^{{{exponent}}}"
        yield "dot ten to the", rf"{mantissa} \cdot 10^{{{exponent}}}"
        yield "times of unicode", f"{mantissa} × 10^{{{exponent}}}"
        yield "capital E", f"{mantissa}E{exponent}"
        yield "unit", rf"{mantissa}\times 10^{{{exponent}}}\,\text{{J}}"


def _fractions(gold: str) -> Iterator[tuple[str, str]]:
    """A fraction of two integers."""
    match = QUOTIENT.fullmatch(gold)
    if match is None:
        return
    sign, top, bottom = match.groups()
    value = Fraction(int(f"{sign}{top}" if not top.startswith("-") or not sign else top.lstrip("-")), int(bottom))
    yield "slash", f"{sign}{top}/{bottom}"
    yield "sign inside", rf"\frac{{{sign}{top}}}{{{bottom}}}"
    yield "larger terms", rf"{sign}\frac{{{3 * int(top)}}}{{{3 * int(bottom)}}}"
    yield "brackets", rf"\left({gold}\right)"
    if (decimal := _exact_decimal(value)) is not None:
        yield "exact decimal", decimal
    if value > 1:
        whole, rest = divmod(value.numerator, value.denominator)
        yield "mixed number", rf"{whole}\frac{{{rest}}}{{{value.denominator}}}" if rest else str(whole)


def _lists(gold: str) -> Iterator[tuple[str, str]]:
    """A bare list has no order and may stand in the braces of a set."""
    parts = elements(gold)
    if len(parts) < 2 or is_prose(gold) or "dots" in gold or "=" in gold:
        return
    yield "reversed", ", ".join(reversed(parts))
    yield "rotated", ", ".join([*parts[1:], parts[0]])
    yield "blanks after commas", r",\ ".join(parts)
    if len(set(parts)) == len(parts):
        yield "braces of a set", rf"\{{{', '.join(parts)}\}}"
        yield "and", rf"{', '.join(parts[:-1])} \text{{ and }} {parts[-1]}"


def _exact_decimal(value: Fraction) -> str | None:
    """The finite decimal that a fraction is, None where it has none of a few digits."""
    for digits in range(1, FLOATING_DIGITS):
        scaled = value * 10**digits
        if scaled.denominator == 1:
            text = f"{abs(scaled.numerator):0{digits + 1}d}"
            return f"{'-' if value < 0 else ''}{text[:-digits]}.{text[-digits:]}"
    return None


def _outside_text(gold: str, change: Callable[[str], str]) -> str:
    """The gold with everything changed but text commands and environments."""
    parts, start = [], 0
    for match in TEXT.finditer(gold):
        parts += [change(gold[start : match.start()]), match.group()]
        start = match.end()
    return "".join([*parts, change(gold[start:])])


def _with_left_right(gold: str) -> str:
    r"""Plain round and square brackets with \left and \right, where there are as many to the left as to the right."""
    if r"\left" in gold or re.search(r"\\[a-zA-Z]+\s*\[|\\[()\[\]]", gold) or is_prose(gold):
        return gold
    bare = TEXT.sub("", gold)
    if bare != gold or sum(map(bare.count, "([")) != sum(map(bare.count, ")]")):
        return gold
    return re.sub(r"[)\]]", r"\\right\g<0>", re.sub(r"[(\[]", r"\\left\g<0>", gold))


def _with_unicode(gold: str) -> str:
    for command, sign in _UNICODE.items():
        gold = re.sub(re.escape(command) + r"(?![a-zA-Z])", sign, gold)
    return gold
