r"""LaTeX commands and brackets: fractions, roots, sets, matrices, absolute values, accents."""

from collections.abc import Callable, Sequence

from hicra_cli.grading.atoms import listed, primed, read_function, read_letter
from hicra_cli.grading.cursor import Levels
from hicra_cli.grading.nodes import EMPTY_SET, INFINITY, Const, Node, Num, Op, Sym, Text, Unreadable, number
from hicra_cli.grading.symbols import ACCENTS, CONSTANTS, CURRENCIES, GREEK, IGNORED_ACCENTS, NAMED_SETS, is_function

_CLOSING = {"(": ")", "[": "]"}
_MATRICES = frozenset(("pmatrix", "bmatrix", "matrix", "Bmatrix", "vmatrix", "array", "smallmatrix"))
_MAX_ROWS = 4


def read_command(levels: Levels, name: str) -> Node:
    """What follows a command that has just been stepped over. Raises Unreadable for commands without a meaning here."""
    reader = _COMMANDS.get(name)
    if reader is not None:
        return reader(levels)
    bare = name[1:]
    if bare in CONSTANTS:
        return Const(CONSTANTS[bare])
    if bare in GREEK:
        return read_letter(levels, bare)
    if is_function(bare):
        return read_function(levels, bare)
    if bare in ACCENTS or bare in IGNORED_ACCENTS:
        return _accented(levels, bare)
    raise Unreadable(f"command {name!r}")


def read_bracket(levels: Levels, sign: str) -> Node:
    """What follows an opening sign that has just been stepped over."""
    cursor = levels.cursor
    if sign in _CLOSING:
        return _bracketed(levels, sign)
    if sign == "{":
        if cursor.take("}"):
            return Text("")
        node = levels.elements()
        cursor.expect("}")
        return Op("set", node.args) if isinstance(node, Op) and node.name == "list" else node
    if sign == "|":
        cursor.open_bars += 1
        node = levels.elements()
        cursor.open_bars -= 1
        cursor.expect("|")
        return Op("abs", (node,))
    if sign in CURRENCIES:
        return _money(sign)(levels)
    raise Unreadable(f"sign {sign!r}")


def _bracketed(levels: Levels, opening: str) -> Node:
    """A group, or a tuple or interval with the brackets that it has."""
    cursor = levels.cursor
    bars, cursor.open_bars = cursor.open_bars, 0
    node = levels.elements()
    cursor.open_bars = bars
    if not cursor.at(")", "]"):
        raise Unreadable("a bracket does not close")
    closing = cursor.next().value
    if isinstance(node, Op) and node.name == "list":
        return Op(f"tuple{opening}{closing}", node.args)
    if _CLOSING[opening] != closing:
        raise Unreadable("brackets do not match")
    return node


def _accented(levels: Levels, accent: str) -> Node:
    inner = levels.argument()
    if accent in IGNORED_ACCENTS:
        return inner
    if isinstance(inner, Sym):
        name = (
            inner.name + {"dot": "'", "ddot": "''"}[accent] if accent in ("dot", "ddot") else f"{accent}:{inner.name}"
        )
        return read_letter(levels, name)
    if accent in ("overline", "widehat") and isinstance(inner, Op):
        # A segment or an arc by its end points, in either order.
        return Sym(f"{accent}:{'.'.join(sorted(part.name for part in inner.args if isinstance(part, Sym)))}")
    raise Unreadable(f"accent {accent!r}")


def _fraction(levels: Levels) -> Node:
    top, bottom = _short_argument(levels), _short_argument(levels)
    return _derivative(top, bottom) or Op("/", (top, bottom))


def _derivative(top: Node, bottom: Node) -> Node | None:
    r"""`\frac{d^n x}{d t^n}` as x with n primes, whatever the variable."""
    above = top.args if isinstance(top, Op) and top.name == "*" else ()
    below = bottom.args if isinstance(bottom, Op) and bottom.name == "*" else ()
    if len(above) != 2 or len(below) != 2 or below[0] != Sym("d") or not isinstance(above[1], Sym):
        return None
    if above[0] == Sym("d"):
        return primed(above[1], 1) if isinstance(below[1], Sym) else None
    if not isinstance(below[1], Op) or below[1].name != "^" or above[0] != Op("^", (Sym("d"), below[1].args[1])):
        return None
    order = below[1].args[1]
    is_order = isinstance(order, Num) and order.value in (1, 2, 3, 4)
    return primed(above[1], int(order.value)) if is_order and isinstance(order, Num) else None


def _root(levels: Levels) -> Node:
    degree: Node = number(2)
    if levels.cursor.take("["):
        degree = levels.sum()
        levels.cursor.expect("]")
    return Op("root", (degree, levels.argument()))


def _binomial(levels: Levels) -> Node:
    return Op("binom", (_short_argument(levels), _short_argument(levels)))


def _short_argument(levels: Levels) -> Node:
    levels.cursor.split_number()
    return levels.argument()


def _between(closing: str, name: str) -> Callable[[Levels], Node]:
    def read(levels: Levels) -> Node:
        node = levels.elements()
        levels.cursor.expect(closing)
        return Op(name, (node,))

    return read


def _escaped_set(levels: Levels) -> Node:
    r"""Elements, or a condition on one letter: `\{x : x > 3\}` is the set of that condition."""
    cursor = levels.cursor
    if cursor.take("\\}", "\\rbrace"):
        return EMPTY_SET
    condition = _condition(levels)
    node = condition or Op("set", listed(levels.elements()))
    if not cursor.take("\\}", "\\rbrace"):
        raise Unreadable("a set does not close")
    return node


def _condition(levels: Levels) -> Node | None:
    r"""What comes behind `x :` or `x \in \mathbb{R} \mid`; None, and nothing read, where there is no such bar."""
    cursor = levels.cursor
    start = cursor.place
    if cursor.next().kind == "sym":
        if cursor.take("\\in") and cursor.take("\\mathbb"):
            cursor.script()
        if cursor.take(":", "|", "\\vert"):
            return levels.elements()
    cursor.place = start
    return None


def _angle_tuple(levels: Levels) -> Node:
    node = levels.elements()
    levels.cursor.expect("\\rangle")
    return Op("tuple()", listed(node))


def _environment(levels: Levels) -> Node:
    r"""`\begin{pmatrix} … \end{pmatrix}` and its like; the columns of an array need no reading."""
    cursor = levels.cursor
    name = cursor.script()
    if name not in _MATRICES:
        raise Unreadable(f"environment {name!r}")
    if name == "array" and cursor.at("{"):
        cursor.script()
    rows: list[Node] = []
    row: list[Node] = []
    while not cursor.at("\\end"):
        row.append(levels.elements())
        if cursor.take("\\\\"):
            rows.append(Op("row", tuple(row)))
            row = []
        elif not cursor.take("&") and not cursor.at("\\end"):
            raise Unreadable("a matrix does not end")
    if row:
        rows.append(Op("row", tuple(row)))
    cursor.next()
    cursor.script()
    if name == "vmatrix":
        return _determinant([row.args for row in rows if isinstance(row, Op)])
    return Op("matrix", tuple(rows))


def _determinant(rows: Sequence[Sequence[Node]]) -> Node:
    """By the first row; up to four rows."""
    if not 1 <= len(rows) <= _MAX_ROWS or any(len(row) != len(rows) for row in rows):
        raise Unreadable("a determinant that is not square, or too large")
    if len(rows) == 1:
        return rows[0][0]
    terms = []
    for column, entry in enumerate(rows[0]):
        minor = _determinant([[*row[:column], *row[column + 1 :]] for row in rows[1:]])
        term = Op("*", (entry, minor))
        terms.append(Op("neg", (term,)) if column % 2 else term)
    return Op("+", tuple(terms))


def _named_set(levels: Levels) -> Node:
    name = levels.cursor.script()
    if name not in NAMED_SETS:
        raise Unreadable(f"set {name!r}")
    return Const(name)


def _money(sign: str) -> Callable[[Levels], Node]:
    return lambda levels: Op("unit", (levels.power(), Text(CURRENCIES[sign])))


def _series(name: str) -> Callable[[Levels], Node]:
    r"""`\sum_{k=1}^{n}` and what it is over: the product that follows."""

    def read(levels: Levels) -> Node:
        levels.cursor.expect("_")
        start = levels.argument()
        levels.cursor.expect("^")
        end = levels.argument()
        if not isinstance(start, Op) or start.name != "=" or not isinstance(start.args[0], Sym | Const):
            raise Unreadable(f"a {name} without a first index")
        return Op(name, (start.args[0], start.args[1], end, levels.product()))

    return read


def _figure(name: str) -> Callable[[Levels], Node]:
    """An angle, a triangle … by its letters is one name."""

    def read(levels: Levels) -> Node:
        names = []
        while levels.cursor.peek().kind == "sym":
            letter = levels.cursor.next().value
            names.append(letter + ("_" + levels.cursor.script() if levels.cursor.take("_") else ""))
        if not names:
            raise Unreadable(f"{name} without letters")
        return Sym(f"{name}:{'.'.join(names)}")

    return read


_COMMANDS: dict[str, Callable[[Levels], Node]] = {
    "\\frac": _fraction,
    "\\sqrt": _root,
    "\\binom": _binomial,
    "\\lfloor": _between("\\rfloor", "floor"),
    "\\lceil": _between("\\rceil", "ceil"),
    "\\lvert": _between("\\rvert", "abs"),
    "\\{": _escaped_set,
    "\\lbrace": _escaped_set,
    "\\langle": _angle_tuple,
    "\\begin": _environment,
    "\\mathbb": _named_set,
    "\\emptyset": lambda _: EMPTY_SET,
    "\\infty": lambda _: INFINITY,
    **{sign: _money(sign) for sign in CURRENCIES},
    "\\sum": _series("sum"),
    "\\prod": _series("prod"),
    "\\angle": _figure("angle"),
    "\\triangle": _figure("triangle"),
}
# Commands that may follow a factor without a sign between.
FACTOR_COMMANDS = frozenset(
    (
        "\\frac",
        "\\sqrt",
        "\\binom",
        "\\lfloor",
        "\\lceil",
        "\\lvert",
        "\\langle",
        "\\begin",
        "\\infty",
        "\\angle",
        "\\{",
        "\\sum",
        "\\prod",
    )
)
