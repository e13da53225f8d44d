r"""Tokens of a cleaned LaTeX (or plain) formula.

Kinds: `num` (digits, point, exponent), `sym` (one letter), `fn` (a function's name), `word` (a run of letters that is
neither: a unit or prose), `text` (content of a text command), `cmd` (`\frac` …), `op` (a sign). Letters that touch are
single letters (`ab` is a times b) unless they spell a function, a unit after a number, or a word of four letters.
"""

import re
from dataclasses import dataclass

from hicra_cli.grading.nodes import Unreadable
from hicra_cli.grading.symbols import FUNCTIONS
from hicra_cli.grading.units import is_unit_name

MAX_TOKENS = 1500

_NAMES = {
    "pi": "\\pi", "infinity": "\\infty", "infty": "\\infty", "inf": "\\infty", "alpha": "\\alpha", "beta": "\\beta",
    "theta": "\\theta", "omega": "\\omega", "lambda": "\\lambda", "union": "\\cup", "cup": "\\cup", "sigma": "\\sigma",
    "times": "\\times", "factorial": "!", "degrees": "\\degree", "degree": "\\degree", "deg": "\\degree", "mu": "\\mu",
    "phi": "\\phi", "rho": "\\rho", "tau": "\\tau", "gamma": "\\gamma", "delta": "\\delta", "epsilon": "\\epsilon",
}  # fmt: skip
_MODULE = re.compile(r"(?:np|numpy|math|sp|sympy|cmath)\.(?=[a-z])")

_TOKEN = re.compile(
    r"(?P<blank>\s+)"
    r"|(?P<num>(?:\d+(?:\.(?!\.)\d*)?|\.\d+)(?:[eE][+-]?\d+(?![\d.]))?)"
    r"|\\(?:text|mathrm|textrm|textbf|textit|mathbf|mathit|mathsf|mathcal|operatorname\*?|mbox|boldsymbol|bf|rm)"
    r"(?![a-zA-Z])\s*(?:\{(?P<text>(?:[^{}]|\{[^{}]*\})*)\}|(?P<short>[a-zA-Z]))"
    r"|(?P<cmd>\\[a-zA-Z]+|\\.)"
    r"|(?P<letters>[a-zA-Z]+)"
    r"|(?P<op>\*\*|<=|>=|!=|==|[-+*/^_()\[\]{}|!',;:=<>&%$?@])",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Token:
    """One sign or name. `spaced`: blanks stand before it."""

    kind: str
    value: str
    spaced: bool = False


END = Token("end", "")
_SIGNS = {"**": Token("op", "^"), "\\vert": Token("op", "|"), "\\slash": Token("op", "/"), "\\%": Token("op", "%")}


def tokens(cleaned: str) -> list[Token]:
    """Everything up to an END token. Raises Unreadable for signs that no formula has."""
    text = _MODULE.sub("", cleaned) if "." in cleaned else cleaned
    found: list[Token] = []
    position, spaced = 0, False
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise Unreadable(f"sign {text[position]!r}")
        position = match.end()
        kind = match.lastgroup or ""
        value = match.group(kind)
        if kind == "blank":
            spaced = True
            continue
        if kind in ("text", "short"):
            _add_text(found, value.strip(), spaced, is_roman=not match.group().startswith(("\\t", "\\mb", "\\o")))
        elif kind == "letters":
            _add_letters(found, value, spaced)
        else:
            found.append(_SIGNS.get(value) or Token(kind, value, spaced))
        spaced = False
        if len(found) > MAX_TOKENS:
            raise Unreadable("too many signs")
    found.append(END)
    return found


def _add_text(found: list[Token], content: str, spaced: bool, *, is_roman: bool) -> None:
    """A text command: a letter or a number is itself, a function's name is the function, all else is words."""
    if len(content) == 1 and content.isalpha():
        # \text{ m} after a number is a unit, \mathrm{e} a letter; after an operator both are letters.
        after_value = bool(found) and (found[-1].kind == "num" or found[-1].value in ")}")
        found.append(Token("text" if after_value and content not in "ije" else "sym", content, spaced))
    elif content in FUNCTIONS and not (content == "min" and found and found[-1].kind == "num"):
        found.append(Token("fn", content, spaced))
    elif re.fullmatch(r"[-+]?\d+(?:\.\d+)?", content):
        found.extend(tokens(content)[:-1])
    elif is_roman and content.isalpha() and content.isupper() and not is_unit_name(content):
        _add_letters(found, content, spaced)
    elif content:
        found.append(Token("text", content, spaced))


def _add_letters(found: list[Token], run: str, spaced: bool) -> None:
    """A run of letters as a function, a name, a unit, a word or single letters."""
    if len(run) == 1:
        found.append(Token("sym", run, spaced))
        return
    lower = run.lower()
    if run == "min" and found and found[-1].kind == "num":
        found.append(Token("word", run, spaced))  # minutes, not a minimum
        return
    if run in FUNCTIONS or (lower in FUNCTIONS and len(run) > 2):
        found.append(Token("fn", lower, spaced))
    elif lower in _NAMES and not run.isupper():
        spelling = _NAMES[lower]
        found.append(Token("op" if spelling == "!" else "cmd", spelling, spaced))
    elif is_unit_name(run) and found and (found[-1].kind in ("num", "word") or found[-1].value in ")}/\\pi"):
        found.append(Token("word", run, spaced))
    elif (prefix := _function_prefix(run)) is not None:
        found.append(Token("fn", prefix, spaced))
        _add_letters(found, run[len(prefix) :], False)
    elif run.startswith("pi") and len(run) <= 4:
        found.append(Token("cmd", "\\pi", spaced))
        _add_letters(found, run[2:], False)
    elif len(run) >= 4 and not run.isupper():
        found.append(Token("word", run, spaced))
    else:
        found.extend(Token("sym", letter, spaced and index == 0) for index, letter in enumerate(run))


def _function_prefix(run: str) -> str | None:
    for length in (6, 4, 3, 2):
        if run[:length] in FUNCTIONS and 0 < len(run) - length <= 2 and run[:length] not in ("min", "max", "sec", "lg"):
            return run[:length]
    return None
