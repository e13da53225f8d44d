"""The policy `qwen`: generous extraction, much dropped, numbers equal within 1e-4, also by a factor of 100."""

import math
import re
from typing import Any

TOLERANCE = 1e-4

_NUMBER = re.compile(r"-?\d*\.?\d+")
_SPELLINGS = (
    ("\\!", ""), ("tfrac", "frac"), ("dfrac", "frac"), ("\\neq", "\\ne"), ("\\leq", "\\le"), ("\\geq", "\\ge"),
    ("\\left", ""), ("\\right", ""), ("\\{", "{"), ("\\}", "}"), ("bmatrix", "pmatrix"),
)  # fmt: skip
_UNITS = (
    "degree|deg|mph|kmph|feet|ft|foot|mile|inch|inches|yard|yd|meter|metre|cm|mm|km|m|kg|gram|gm|g|lb|pound|liter|litre|"
    "l|gallon|gal|hour|hr|minute|min|second|sec|day|week|month|year|yr|percent|unit|square|sq|cubic|cc|dollar|cent|rs|"
    "rupee|men|man|women|woman|way|apple|toy|coin|acre|hectare|ohm|pm|am|east|west|point|mark"
)
_UNIT = re.compile(rf"(?:^|\W)(?:{_UNITS})s?(?=$|\W)")
_TEXT_AT_END = re.compile(r"\\text\{[^{}]*\}$")
_TEXT = re.compile(r"\\(?:text|mathbf|mathrm)\{([^{}]*)\}")
_DROPPED = re.compile(r"\^\{\\circ\}|\^\\circ|\\?\$|\\\(|\\\)|\\?%|(?<![a-zA-Z])[xyz](?:=|\\in|\\to)|\band\b")
_TRAILING_ZEROS = re.compile(r"(\d+)\.0*(?=\D|$)")
_BARE_ROOT = re.compile(r"\\sqrt(\w+)")
_CHOICE = re.compile(r"\b([A-E])\b")
_LIST = re.compile(r"[(\[].+[)\]]")


def qwen(response: str, gold: str) -> bool:
    """Whether Qwen2.5-Math's rule takes the response for right."""
    answer = extracted(response)
    return bool(answer) and equal_as_qwen(answer, stripped(gold))


def extracted(response: str) -> str:
    """What follows the last `boxed`, else "he answer is", "final answer is", else the last number."""
    if "boxed" in response:
        found = _after_box(response.rpartition("boxed")[2])
    elif "he answer is" in response:
        found = response.rpartition("he answer is")[2].strip()
    else:
        numbers = _NUMBER.findall(response.replace(",", ""))
        found = numbers[-1] if numbers else ""
    found = re.sub(r"\n\s*", "", found).removeprefix(":").removesuffix(".").removesuffix("/")
    return stripped(found)


def stripped(text: str) -> str:
    """A text without layout, units, percent and dollar signs, text commands and a short left side."""
    text = text.strip().replace("\n", "").rstrip(".")
    for spelling, plain in _SPELLINGS:
        text = text.replace(spelling, plain)
    text = _TEXT_AT_END.sub("", text).strip() or text
    text = _UNIT.sub("", text).strip() or text
    text = _TEXT.sub(r"\1", _DROPPED.sub("", text)).replace("infinity", "\\infty")
    text = _TRAILING_ZEROS.sub(r"\1", text.replace(" .", " 0.").replace("{.", "{0."))
    text = "0" + text if text.startswith(".") else text
    left, equals, right = text.partition("=")
    if equals and "=" not in right and len(left) <= 2:
        text = right
    return _BARE_ROOT.sub(r"\\sqrt{\1}", text).replace(" ", "")


def equal_as_qwen(answer: str, gold: str, *, depth: int = 3) -> bool:
    """Equal as texts, as numbers by the generous rule, element by element, or by algebra."""
    if answer.lower() == gold.lower() or (
        len(gold) == 1 and gold in "ABCDE" and _CHOICE.findall(answer)[-1:] == [gold]
    ):
        return True
    numbers = _as_number(answer), _as_number(gold)
    if numbers[0] is not None and numbers[1] is not None:
        return _close_by_some_factor(numbers[0], numbers[1])
    bare = [re.sub(r"[{}()\[\]]", "", side).lower() for side in (answer, gold)]
    if bare[0] == bare[1] and answer[:1] + gold[:1] not in ("([", "[("):
        return True
    if _LIST.fullmatch(answer) and _LIST.fullmatch(gold):
        parts = answer[1:-1].split(","), gold[1:-1].split(",")
        return (
            depth > 0
            and len(parts[0]) == len(parts[1])
            and all(equal_as_qwen(*pair, depth=depth - 1) for pair in zip(*parts, strict=True))
        )
    sides = [side.partition("=")[2] if "=" in side[:3] and side.count("=") == 1 else side for side in (answer, gold)]
    return _equal_by_algebra(*sides)


def _after_box(rest: str) -> str:
    """The balanced braces, or all there is where they never close; without braces up to the next dollar sign."""
    if not rest.startswith("{"):
        return rest.partition("$")[0].strip()
    depth = 0
    for sign in re.finditer(r"[{}]", rest):
        depth += 1 if sign.group() == "{" else -1
        if depth == 0:
            return rest[1 : sign.start()]
    return rest[1:]


def _as_number(text: str) -> float | None:
    text = text.replace(",", "")
    try:
        return float(text)
    except ValueError:
        return None


def _close_by_some_factor(answer: float, gold: float) -> bool:
    return any(math.isclose(answer, target, rel_tol=TOLERANCE) for target in (gold / 100, gold, gold * 100))


def _equal_by_algebra(answer: str, gold: str) -> bool:
    """By sympy: equal after simplifying, or as numbers within the tolerance. Unreadable is not equal."""
    import sympy
    from latex2sympy2_extended import latex2sympy

    try:
        left, right = latex2sympy(answer), latex2sympy(gold)
        if left == right or sympy.simplify(left - right) == 0:
            return True
        return math.isclose(float(sympy.N(left)), float(sympy.N(right)), rel_tol=TOLERANCE)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - the rule: whatever cannot be read, subtracted or computed is not equal
        return _float_equal(answer, gold)


def _float_equal(answer: Any, gold: Any) -> bool:
    return bool(str(answer) == str(gold))
