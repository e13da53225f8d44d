r"""Numbers, letters and functions: what a formula is made of, read from a cursor."""

from fractions import Fraction

from hicra_cli.grading.cursor import Cursor, Levels
from hicra_cli.grading.nodes import Const, Node, Num, Op, Sym, Unreadable, number
from hicra_cli.grading.symbols import CONSTANTS, INVERSES, function_name, is_function

MAX_EXPONENT = 10_000
MAX_DIGITS = 1200
_CLOSING = {"(": ")", "[": "]"}
_MAX_PERIOD = 50


def read_number(cursor: Cursor, digits: str) -> Node:
    """Digits, perhaps with a repeating part, or a mixed number."""
    if len(digits) > MAX_DIGITS:
        raise Unreadable("too many digits")
    if "e" in digits or "E" in digits:
        mantissa, _, exponent = digits.lower().partition("e")
        if len(exponent) > 7 or abs(int(exponent)) > MAX_EXPONENT:
            raise Unreadable("an exponent too large")
        return Num(Fraction(mantissa.rstrip(".")) * Fraction(10) ** int(exponent), decimal=True)
    if "." in digits:
        if cursor.take("\\overline", "\\bar", "\\dot"):
            return _repeating(digits, cursor.script())
        return Num(Fraction(digits.rstrip(".")), decimal=True)
    return _mixed(cursor, int(digits))


def read_letter(levels: Levels, name: str) -> Node:
    """A letter with subscript and primes; `e` and `i` are the constants; `f(x)` a call."""
    cursor = levels.cursor
    defined = cursor.begins_element(cursor.place - 1) and cursor.peek(1).kind == "sym" and cursor.at(")", ahead=2)
    if cursor.take("_"):
        bare = name.rstrip("'")
        name = f"{bare}_{cursor.script()}" + name[len(bare) :]
    while cursor.take("'"):
        name += "'"
    if name in CONSTANTS:
        return Const(CONSTANTS[name])
    is_definition = defined and cursor.at("=", ahead=3)  # `I(t) = …`
    if cursor.at("(") and (is_definition or _is_called(cursor, name)):
        cursor.next()
        argument = levels.elements()
        cursor.expect(")")
        return Op("call", (Sym(name), *listed(argument)))
    return Sym(name)


def read_function(levels: Levels, name: str) -> Node:
    r"""`\sin^2 x`, `\log_2 8`, `\sqrt{x}`, `\exp{x}`, `\ln 2`."""
    name = function_name(name)
    base: Node | None = None
    exponent: Node | None = None
    for _ in range(2):
        if levels.cursor.take("_"):
            base = levels.argument()
        elif levels.cursor.take("^"):
            exponent = levels.argument()
    arguments = _function_arguments(levels)
    if exponent == number(-1) and name in INVERSES:
        name, exponent = INVERSES[name], None
    node = _applied(name, base, arguments)
    return node if exponent is None else Op("^", (node, exponent))


def times(left: Node, right: Node) -> Node:
    """A product, flat as long as it grows to the right; a matrix or vector is multiplied entry by entry."""
    for factor, other in ((left, right), (right, left)):
        if is_vector(factor) and isinstance(factor, Op) and not is_vector(other):
            return Op(factor.name, tuple(times(entry, other) for entry in factor.args))
    if isinstance(left, Op) and left.name == "*":
        return Op("*", (*left.args, right))
    return Op("*", (left, right))


def quotient(left: Node, right: Node) -> Node:
    """A fraction; a matrix or vector is divided entry by entry."""
    if is_vector(left) and isinstance(left, Op) and not is_vector(right):
        return Op(left.name, tuple(quotient(entry, right) for entry in left.args))
    return Op("/", (left, right))


def is_vector(node: Node) -> bool:
    """Whether a tree is a matrix, a row of one, or a tuple in round brackets."""
    return isinstance(node, Op) and node.name in ("matrix", "row", "tuple()")


def negative(node: Node) -> Node:
    """The negative of a value; of a number, the negative number."""
    if is_vector(node) and isinstance(node, Op):
        return Op(node.name, tuple(negative(entry) for entry in node.args))
    if isinstance(node, Num):
        return Num(-node.value, node.decimal)
    return Op("neg", (node,))


def primed(node: Node, count: int) -> Node:
    """A letter or an unknown function with so many primes more. Raises Unreadable for anything else."""
    if isinstance(node, Sym):
        return Sym(node.name + "'" * count)
    if isinstance(node, Op) and node.name == "call" and isinstance(node.args[0], Sym):
        return Op("call", (Sym(node.args[0].name + "'" * count), *node.args[1:]))
    raise Unreadable("a prime behind no letter")


def listed(node: Node) -> tuple[Node, ...]:
    """The elements of a list without brackets; any other tree is the only one."""
    return node.args if isinstance(node, Op) and node.name == "list" else (node,)


def _repeating(digits: str, period: str) -> Num:
    """0.1 with period 6 is 1/10 + 6/90."""
    if not period.isdecimal() or len(period) > _MAX_PERIOD:
        raise Unreadable("a repeating part without digits")
    places = len(digits.partition(".")[2])
    return Num(Fraction(digits.rstrip(".") or "0") + Fraction(int(period), (10 ** len(period) - 1) * 10**places))


def _mixed(cursor: Cursor, whole: int) -> Num:
    r"""`2\frac13` and `2 1/3`, where the fraction is proper and made of digits; else the whole number alone."""
    if cursor.at("\\frac") and cursor.at("{", ahead=1) and cursor.at("}", ahead=3) and cursor.at("{", ahead=4):
        parts, length = (cursor.peek(2).value, cursor.peek(5).value), 7
        complete = cursor.at("}", ahead=6)
    else:
        parts, length = (cursor.peek().value, cursor.peek(2).value), 3
        complete = (
            cursor.peek().spaced and cursor.peek().kind == cursor.peek(2).kind == "num" and cursor.at("/", ahead=1)
        )
    if complete and all(part.isdecimal() and len(part) < 20 for part in parts) and 0 < int(parts[0]) < int(parts[1]):
        cursor.place += length
        return Num(whole + Fraction(int(parts[0]), int(parts[1])))
    return number(whole)


def _is_called(cursor: Cursor, name: str) -> bool:
    """Whether brackets behind a letter are a function's: f, g, h …; for others only `I(0)`, as `n(n+1)` multiplies."""
    return name[0] in "fghFGHP" or (cursor.peek(1).kind == "num" and cursor.at(")", ahead=2))


def _function_arguments(levels: Levels) -> tuple[Node, ...]:
    """What is in the brackets that follow, or the product that follows."""
    cursor = levels.cursor
    if cursor.at("(", "["):
        closing = _CLOSING[cursor.next().value]
        argument = levels.elements()
        cursor.expect(closing)
        return listed(argument)
    if cursor.at("{"):
        return (levels.argument(),)
    left = levels.signed()
    while levels.starts_factor() and not cursor.at("(", "[") and not _is_function_here(cursor):
        left = times(left, levels.power())
    return (left,)


def _is_function_here(cursor: Cursor) -> bool:
    token = cursor.peek()
    return token.kind == "fn" or (token.kind == "cmd" and is_function(token.value[1:]))


def _applied(name: str, base: Node | None, arguments: tuple[Node, ...]) -> Node:
    if name == "log" and base is not None:
        return Op("log", (base, *arguments))
    if name == "exp" and len(arguments) == 1:
        return Op("^", (Const("e"), arguments[0]))
    if name in ("sqrt", "cbrt") and len(arguments) == 1:
        return Op("root", (number(2 if name == "sqrt" else 3), arguments[0]))
    return Op(name, arguments)
