"""One spelling for equal answers, as far as exact forms can say: for display, and to count votes.

Names before a value, units, percent signs and brackets around a list are left out, as an answer may leave them out;
lists are sorted, sets of reals are unions of intervals. Where an answer cannot be read, it is its own text without
layout.
"""

from functools import lru_cache

from hicra_cli.grading.canonical import NoCanonicalForm, canonical, printed
from hicra_cli.grading.exact import exact
from hicra_cli.grading.limits import over_limit
from hicra_cli.grading.naming import assigned
from hicra_cli.grading.nodes import RELATIONS, Const, Node, Op, Sym, Text, is_tuple
from hicra_cli.grading.normal import clean, identity
from hicra_cli.grading.plusminus import expanded
from hicra_cli.grading.quantities import is_infinite, quantity
from hicra_cli.grading.readings import readings
from hicra_cli.grading.realsets import Segment, real_set

_MAX_SHOWN = 2000
_UNREADABLE_SHOWN = 500


def normal_form(text: str) -> str:
    """The spelling of a text; equal spellings are equal answers. Never fails and never takes long."""
    return text[:_UNREADABLE_SHOWN].strip() if over_limit(text) is not None else _normal_form(text)


@lru_cache(maxsize=8192)
def _normal_form(text: str) -> str:
    cleaned = clean(text)
    found = readings(cleaned)
    if not found:
        return identity(cleaned)
    try:
        shown = _shown(expanded(found[0]))
    except (NoCanonicalForm, RecursionError):
        return identity(cleaned)
    return shown if len(shown) <= _MAX_SHOWN else identity(cleaned)


def _shown(node: Node) -> str:
    value = assigned(node)
    if value is not None:
        return _shown(value)
    if isinstance(node, Text):
        return node.words
    if is_infinite(node):
        return "\\infty" if isinstance(node, Const) else "-\\infty"
    if isinstance(node, Op) and (shown := _shown_structure(node)) is not None:
        return shown
    if node == Const("R"):
        return "(-\\infty, \\infty)"
    if isinstance(node, Const) and node.name in ("Q", "Z", "N", "C"):
        return f"\\mathbb{{{node.name}}}"
    return _shown_value(node)


def _shown_structure(node: Op) -> str | None:
    """Lists, sets, tuples, intervals, relations, matrices; None for a formula."""
    if node.name in ("list", "set"):
        segments = real_set(node) if node.name == "list" else None
        if segments is not None:
            return _shown_segments(segments)
        parts = sorted(map(_shown, node.args), key=lambda part: (len(part), part))
        parts = list(dict.fromkeys(parts)) if node.name == "set" else parts
        return ", ".join(parts) or "\\emptyset"
    if is_tuple(node):
        return f"{node.name[5]}{', '.join(map(_shown, node.args))}{node.name[6]}"
    if node.name in ("union", "inter", "minus", "in", "chain") or node.name in RELATIONS:
        segments = real_set(node)
        if segments is not None:
            return _shown_segments(segments)
        if node.name in RELATIONS:
            return f"{_shown_value(Op('+', (node.args[0], Op('neg', (node.args[1],)))))} {node.name} 0"
        raise NoCanonicalForm
    if node.name == "clock":
        return " ".join(part.words for part in node.args if isinstance(part, Text)).strip()
    if node.name == "numeral":
        return "_".join(part.words for part in node.args if isinstance(part, Text))
    if node.name == "choice":
        return _shown(node.args[0])
    if node.name == "ratio":
        return _shown(Op("/", node.args)) if len(node.args) == 2 else ":".join(map(_shown, node.args))
    if node.name == "matrix":
        rows = [" & ".join(map(_shown, row.args)) for row in node.args if isinstance(row, Op)]
        return "\\begin{pmatrix} " + " \\\\ ".join(rows) + " \\end{pmatrix}"
    return None


def _shown_value(node: Node) -> str:
    """A formula without its unit, multiplied out; a fraction of numbers as one fraction."""
    value = quantity(node).value
    if isinstance(value, Sym):
        return value.name
    number = exact(value)
    return printed({(): number} if number else {}) if number is not None else printed(canonical(value))


def _shown_segments(segments: tuple[Segment, ...]) -> str:
    """A union of intervals and single numbers."""
    if not segments:
        return "\\emptyset"
    shown = []
    for segment in segments:
        if segment.low.closed and segment.high.closed and segment.low.value == segment.high.value:
            shown.append(f"\\{{{_shown(segment.low.node)}\\}}")
            continue
        brackets = "[" if segment.low.closed else "(", "]" if segment.high.closed else ")"
        shown.append(f"{brackets[0]}{_shown(segment.low.node)}, {_shown(segment.high.node)}{brackets[1]}")
    return " \\cup ".join(shown)
