r"""Sets of real numbers: intervals, unions, inequalities in one letter and `\mathbb{R}`, brought to one form.

The form is a list of disjoint segments from left to right. `x > 3`, `3 < x`, `(3,\infty)` and `x \in (3,\infty)` are
one set. Several inequalities hold together where that is possible (`x > 1, x < 5`), else they are alternatives
(`x < -1, x > 3`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from hicra_cli.grading.expressions import real_number
from hicra_cli.grading.nodes import INFINITY, Const, Node, Op, Sym, contains, is_tuple

_MAX_SEGMENTS = 64
_FLIPPED = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "!=": "!="}
_NEGATIVE_INFINITY = Op("neg", (INFINITY,))


@dataclass(frozen=True, slots=True)
class Bound:
    """An end of a segment: its value, how it is written, and whether it belongs to the set."""

    value: Any
    node: Node
    closed: bool


@dataclass(frozen=True, slots=True)
class Segment:
    """All numbers between two bounds; a single number where they are equal and closed."""

    low: Bound
    high: Bound


def real_set(node: Node) -> tuple[Segment, ...] | None:
    """The segments of a tree that is a set of reals, None for any other. A pair in brackets is taken as an interval."""
    if node == Const("R"):
        return (_everything(),)
    if not isinstance(node, Op):
        return None
    if is_tuple(node) and len(node.args) == 2 and len(node.name) == 7:
        return _interval(node)
    if node.name == "set":
        return _points(node.args)
    if node.name in _COMBINATIONS:
        left, right = real_set(node.args[0]), real_set(node.args[1])
        return None if left is None or right is None else _COMBINATIONS[node.name](left, right)
    if node.name == "in":
        return real_set(node.args[1]) if isinstance(node.args[0], Sym) else None
    if node.name in _FLIPPED:
        return _inequality(node)
    if node.name == "chain":
        return _all_of([real_set(part) for part in node.args], variable(node))
    if node.name == "list" and variable(node) is not None and contains(node, *_FLIPPED, "in"):
        return _all_of([_condition(part) for part in node.args], variable(node))
    return None


def variable(node: Node) -> str | None:
    """The one letter that a relation, or every relation of a list or chain, is about."""
    if not isinstance(node, Op):
        return None
    if node.name in _FLIPPED or node.name in ("in", "="):
        names = {side.name for side in map(_without_bars, node.args) if isinstance(side, Sym)}
        return names.pop() if len(names) == 1 else None
    if node.name in ("list", "chain"):
        found = {variable(part) for part in node.args}
        return found.pop() if len(found) == 1 else None
    return None


def _without_bars(node: Node) -> Node:
    return node.args[0] if isinstance(node, Op) and node.name == "abs" else node


def same_segments(
    answer: Sequence[Segment], gold: Sequence[Segment], same: Callable[[Node, Node], bool | None]
) -> bool | None:
    """Segment by segment, with `same` for the ends."""
    if len(answer) != len(gold):
        return False
    verdicts: list[bool | None] = []
    for one, other in zip(answer, gold, strict=True):
        for left, right in ((one.low, other.low), (one.high, other.high)):
            if left.closed != right.closed:
                return False
            verdicts.append(same(left.node, right.node))
    if False in verdicts:
        return False
    return None if None in verdicts else True


def _condition(node: Node) -> tuple[Segment, ...] | None:
    """A relation of a list; there an equation is a single number."""
    if isinstance(node, Op) and node.name == "=":
        return _points([side for side in node.args if not isinstance(side, Sym)])
    return real_set(node)


def _everything() -> Segment:
    low, high = real_number(_NEGATIVE_INFINITY), real_number(INFINITY)
    return Segment(Bound(low, _NEGATIVE_INFINITY, False), Bound(high, INFINITY, False))


def _interval(node: Op) -> tuple[Segment, ...] | None:
    low, high = (real_number(end) for end in node.args)
    if low is None or high is None or low > high:
        return None
    brackets = node.name.removeprefix("tuple")
    segment = Segment(
        Bound(low, node.args[0], brackets[0] == "[" and _finite(low)),
        Bound(high, node.args[1], brackets[1] == "]" and _finite(high)),
    )
    return (segment,) if _holds_something(segment) else ()


def _finite(value: Any) -> bool:
    return bool(abs(value) < float("inf"))


def _points(elements: Sequence[Node]) -> tuple[Segment, ...] | None:
    found = []
    for element in elements[:_MAX_SEGMENTS]:
        value = real_number(element)
        if value is None or not _finite(value):
            return None
        bound = Bound(value, element, True)
        found.append(Segment(bound, bound))
    return _merged(found)


def _inequality(node: Op) -> tuple[Segment, ...] | None:
    """`letter sign constant`, either way round."""
    left, right = node.args
    sign = node.name
    if isinstance(left, Op) and left.name == "abs" and isinstance(left.args[0], Sym):
        return _distance(left.args[0], sign, right)
    if not isinstance(left, Sym):
        left, right, sign = right, left, _FLIPPED[sign]
    value = real_number(right)
    if not isinstance(left, Sym) or value is None:
        return None
    everything, bound = _everything(), Bound(value, right, sign in ("<=", ">="))
    if sign == "!=":
        return _without((everything,), (Segment(Bound(value, right, True), Bound(value, right, True)),))
    return (Segment(everything.low, bound) if sign in ("<", "<=") else Segment(bound, everything.high),)


def _distance(letter: Sym, sign: str, radius: Node) -> tuple[Segment, ...] | None:
    """`|x| < r` lies between -r and r, `|x| > r` outside."""
    value = real_number(radius)
    if value is None or value < 0 or sign == "!=":
        return None
    above = _inequality(Op(sign, (letter, radius)))
    below = _inequality(Op(_FLIPPED[sign], (letter, Op("neg", (radius,)))))
    if above is None or below is None:
        return None
    return _meet(above, below) if sign in ("<", "<=") else _merged([*above, *below])


def _all_of(parts: Sequence[tuple[Segment, ...] | None], name: str | None) -> tuple[Segment, ...] | None:
    """What holds together, or, where nothing does, what holds in any."""
    if name is None or not parts:
        return None
    together: tuple[Segment, ...] = (_everything(),)
    either: tuple[Segment, ...] = ()
    for part in parts:
        if part is None:
            return None
        together, either = _meet(together, part), _merged([*either, *part])
    return together or either


def _meet(left: Sequence[Segment], right: Sequence[Segment]) -> tuple[Segment, ...]:
    found = [
        Segment(max(one.low, other.low, key=_start), min(one.high, other.high, key=_end))
        for one in left
        for other in right
    ]
    return _merged([segment for segment in found if _holds_something(segment)])


def _without(left: Sequence[Segment], right: Sequence[Segment]) -> tuple[Segment, ...]:
    everything = _everything()
    rest: tuple[Segment, ...] = tuple(left)
    for gap in right:
        before = Segment(everything.low, Bound(gap.low.value, gap.low.node, not gap.low.closed))
        after = Segment(Bound(gap.high.value, gap.high.node, not gap.high.closed), everything.high)
        rest = _meet(rest, [side for side in (before, after) if _holds_something(side)])
    return rest


def _merged(segments: Sequence[Segment]) -> tuple[Segment, ...]:
    """Disjoint segments in order; those that touch become one."""
    result: list[Segment] = []
    for segment in sorted(segments, key=lambda one: _start(one.low)):
        last = result[-1] if result else None
        if last is not None and _touch(last.high, segment.low):
            result[-1] = Segment(last.low, max(last.high, segment.high, key=_end))
        else:
            result.append(segment)
    return tuple(result)


def _touch(high: Bound, low: Bound) -> bool:
    return bool(low.value < high.value) or (bool(low.value == high.value) and (low.closed or high.closed))


def _start(bound: Bound) -> tuple[Any, int]:
    return bound.value, 0 if bound.closed else 1


def _end(bound: Bound) -> tuple[Any, int]:
    return bound.value, 1 if bound.closed else 0


def _holds_something(segment: Segment) -> bool:
    low, high = segment.low, segment.high
    return bool(low.value < high.value) or (bool(low.value == high.value) and low.closed and high.closed)


_COMBINATIONS: dict[str, Callable[[Sequence[Segment], Sequence[Segment]], tuple[Segment, ...]]] = {
    "union": lambda left, right: _merged([*left, *right]),
    "inter": _meet,
    "minus": _without,
}
