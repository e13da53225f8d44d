r"""The policies `hendrycks` and `verl`: the last box, cleaned by replacements, compared as a string."""

import re

_REPLACED = (
    ("\n", ""), ("\\!", ""), ("\\\\", "\\"), ("tfrac", "frac"), ("dfrac", "frac"), ("\\left", ""), ("\\right", ""),
    ("^{\\circ}", ""), ("^\\circ", ""), ("\\$", ""),
)  # fmt: skip
_UNIT = "\\text{ "
_BARE_ROOT = re.compile(r"\\sqrt(?!\{)(.)")
_ROOT_OF_NOTHING = re.compile(r"\\sqrt(?=\\sqrt|$)")
_FRACTION_OF_NOTHING = re.compile(r"\\frac(?=\\frac|$)")
_FRACTION_TOO_SHORT = re.compile(r"\\frac(?!\{).?$")
_BARE_FRACTION = re.compile(r"\\frac(?:([^{])(?=\{)|([^{])([^{]))")
_SLASH = re.compile(r"(-?\d+)/(-?\d+)")


def hendrycks(response: str, gold: str) -> bool:
    """Equal strings after cleaning, the answer being the last box of the response."""
    answer = _last_box(response)
    return answer is not None and same_strings(answer, gold)


def verl(response: str, gold: str) -> bool:
    """Like `hendrycks`, but a box with a blank instead of braces goes first and reaches to the next dollar sign."""
    _, blank, rest = response.rpartition("\\boxed ")
    return same_strings(rest.partition("$")[0], gold) if blank else hendrycks(response, gold)


def same_strings(answer: str, gold: str) -> bool:
    """Equality after cleaning; where the cleaning gives up on one of both, the raw texts are compared."""
    clean_answer, clean_gold = cleaned(answer), cleaned(gold)
    return answer == gold if clean_answer is None or clean_gold is None else clean_answer == clean_gold


def cleaned(text: str) -> str | None:
    """The replacements of the MATH release, in their order; None for two units, or a root or fraction of nothing."""
    for old, new in _REPLACED:
        text = text.replace(old, new)
    if text.count(_UNIT) > 1:
        return None
    text = text.partition(_UNIT)[0].replace("\\\\%", "").replace("\\%", "")
    text = text.replace(" .", " 0.").replace("{.", "{0.")
    text = "0" + text if text.startswith(".") else text
    left, equals, right = text.partition("=")
    if equals and len(left) <= 2 and "=" not in right:
        text = right
    if _ROOT_OF_NOTHING.search(text):
        return None
    text = _BARE_ROOT.sub(r"\\sqrt{\1}", text).replace(" ", "")
    if _FRACTION_OF_NOTHING.search(text):
        return None
    if not _FRACTION_TOO_SHORT.search(text):
        text = _BARE_FRACTION.sub(_brace_fraction, text)
    if text == "0.5":
        text = "\\frac{1}{2}"
    return _slash_fraction(text)


def _brace_fraction(match: re.Match[str]) -> str:
    alone, top, bottom = match.groups()
    return f"\\frac{{{alone}}}" if alone is not None else f"\\frac{{{top}}}{{{bottom}}}"


def _slash_fraction(text: str) -> str:
    """`3/4` of two integers as they would be written again, so not `03/4`."""
    match = _SLASH.fullmatch(text)
    if match is None or len(text) > 4000 or any(str(int(part)) != part for part in match.groups()):
        return text
    return f"\\frac{{{match.group(1)}}}{{{match.group(2)}}}"


def _last_box(response: str) -> str | None:
    r"""The content of the last `\boxed{`, else of the last `\fbox{`; None where it never closes."""
    start = max(response.rfind("\\boxed"), -1)
    if start < 0:
        start = response.rfind("\\fbox")
    opening = response.find("{", start)
    if start < 0 or opening < 0:
        return None
    depth = 0
    for place in re.finditer(r"[{}]", response[opening:]):
        depth += 1 if place.group() == "{" else -1
        if depth == 0:
            return response[opening + 1 : opening + place.start()]
    return None
