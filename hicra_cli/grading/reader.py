r"""From tokens to a tree: precedence climbing over LaTeX and plain notation.

Lowest to highest: `,` `;` (a list) · relations · set operations · `+ - \pm` · products (also without a sign) ·
signs · powers, factorials, `%`, degrees. `a/bc` is (a/b)c as in programs; a function without brackets takes the product
that follows (`\sin 2x`, but `\sin x \cos y` is a product); `2\frac13` with a proper fraction is a mixed number.
"""

from hicra_cli.grading.atoms import negative, primed, quotient, read_function, read_letter, read_number, times
from hicra_cli.grading.commands import FACTOR_COMMANDS, read_bracket, read_command
from hicra_cli.grading.cursor import Cursor
from hicra_cli.grading.lexer import END, tokens
from hicra_cli.grading.nodes import Node, Num, Op, Sym, Text, Unreadable, number
from hicra_cli.grading.symbols import CURRENCIES, RELATION_SIGNS, SET_SIGNS, base_name, is_value_command
from hicra_cli.grading.units import is_unit, scale


def read_formula(cleaned: str) -> Node:
    """The tree of a cleaned text. Raises Unreadable; depth and length are limited, so it never recurses without end."""
    reader = _Reader(Cursor(tokens(cleaned)))
    node = reader.elements()
    if reader.cursor.peek() is not END:
        raise Unreadable(f"{reader.cursor.peek().value!r} is left over")
    return node


class _Reader:
    """The levels of the grammar over one cursor."""

    def __init__(self, cursor: Cursor) -> None:
        self.cursor = cursor

    def elements(self) -> Node:
        """A list without brackets, or its only element."""
        cursor = self.cursor
        cursor.enter()
        found = [self._relation()]
        if cursor.at("\\choose", "\\over"):
            name = "binom" if cursor.next().value == "\\choose" else "/"
            found = [Op(name, (found[0], self._relation()))]
        while cursor.take(",", ";"):
            if cursor.peek() is END or cursor.at(")", "]", "}", "\\}"):
                break
            found.append(self._relation())
        cursor.leave()
        return found[0] if len(found) == 1 else Op("list", tuple(found))

    def _relation(self) -> Node:
        """`a`, `a = b`, or a chain `a < b < c`."""
        sides, signs = [self._sets()], []
        while self.cursor.at(*RELATION_SIGNS):
            signs.append(RELATION_SIGNS[self.cursor.next().value])
            sides.append(self._sets())
        if self.cursor.take("\\pmod"):
            # The remainder of a congruence, with what it is a remainder by.
            return Op("congruence", (sides[-1], self.argument()))
        if not signs:
            return sides[0]
        parts = tuple(Op(sign, (sides[place], sides[place + 1])) for place, sign in enumerate(signs))
        return parts[0] if len(parts) == 1 else Op("chain", parts)

    def _sets(self) -> Node:
        left = self._ratio()
        while self.cursor.at(*SET_SIGNS):
            left = Op(SET_SIGNS[self.cursor.next().value], (left, self._ratio()))
        return left

    def _ratio(self) -> Node:
        """`a`, or `a : b : c`."""
        parts = [self.sum()]
        while self.cursor.take(":"):
            parts.append(self.sum())
        return parts[0] if len(parts) == 1 else Op("ratio", tuple(parts))

    def sum(self) -> Node:
        """Terms with plus and minus."""
        cursor = self.cursor
        cursor.enter()
        terms = [self.product()]
        while cursor.at("+", "-", "\\pm", "\\mp"):
            sign = cursor.next().value
            if sign == "+":
                terms.append(self.product())
            elif sign == "-":
                term = self.product()
                if isinstance(term, Op) and term.name == "set":
                    terms = [Op("minus", (terms[0] if len(terms) == 1 else Op("+", tuple(terms)), term))]
                else:
                    terms.append(negative(term))
            else:
                left = terms[0] if len(terms) == 1 else Op("+", tuple(terms))
                terms = [Op(sign[1:], (left, self.product()))]
        cursor.leave()
        return terms[0] if len(terms) == 1 else Op("+", tuple(terms))

    def product(self) -> Node:
        """Factors with `*`, `/` or nothing between them; a unit may end it."""
        cursor = self.cursor
        cursor.enter()
        left = self.signed()
        while True:
            if cursor.take("*", "\\cdot", "\\times", "\\ast"):
                left = times(left, self.signed())
            elif cursor.take("/", "\\div"):
                left = quotient(left, self.signed())
            elif cursor.take("\\bmod", "\\mod"):
                left = Op("mod", (left, self.signed()))
            elif cursor.peek().kind in ("text", "word"):
                left = self._with_words(left)
            elif self.starts_factor():
                if cursor.peek().kind == "num" and isinstance(left, Num):
                    raise Unreadable("two numbers side by side")
                left = times(left, self.power())
            else:
                break
        cursor.leave()
        return left

    def signed(self) -> Node:
        """Signs before a power: -2^2 is -(2^2)."""
        cursor = self.cursor
        minus, plus_minus = False, ""
        while cursor.at("-", "+", "\\pm", "\\mp"):
            sign = cursor.next().value
            minus ^= sign == "-"
            plus_minus = sign[1:] if sign.startswith("\\") else plus_minus
        value = self.power()
        if plus_minus:
            value = Op(plus_minus, (number(0), value))
        return negative(value) if minus else value

    def power(self) -> Node:
        """An atom with all that is behind or above it."""
        cursor = self.cursor
        base = self._atom()
        while True:
            if cursor.take("^"):
                base = self._raised(base)
            elif cursor.take("!"):
                base = Op("!", (base,))
            elif cursor.take("%"):
                base = Op("percent", (base,))
            elif cursor.take("\\degree"):
                base = Op("degree", (base,))
            elif cursor.at(*CURRENCIES):
                base = Op("unit", (base, Text(CURRENCIES[cursor.next().value])))
            elif cursor.at("'"):
                base = self._with_primes(base, self._primes())
            elif cursor.at("_") and isinstance(base, Sym) and "_" not in base.name:
                base = read_letter(self, base.name)
            elif cursor.at("_") and isinstance(base, Num):
                cursor.next()
                base = Op("numeral", (Text(str(base.value)), Text(base_name(cursor.script()))))
            else:
                return base

    def argument(self) -> Node:
        """What a command or `^` takes: a group, or one sign or number with its sign."""
        cursor = self.cursor
        if cursor.take("{"):
            node = self.elements()
            cursor.expect("}")
            return node
        minus = cursor.take("-")
        cursor.take("+")
        cursor.enter()
        node = self._atom()
        cursor.leave()
        return negative(node) if minus else node

    def starts_factor(self) -> bool:
        """Whether another factor of a product begins here."""
        token = self.cursor.peek()
        if token.kind == "cmd":
            return token.value in FACTOR_COMMANDS or is_value_command(token.value[1:])
        if token.kind == "op":
            return token.value in ("(", "{", "[") or (token.value == "|" and not self.cursor.open_bars)
        return token.kind in ("num", "sym", "fn")

    def _atom(self) -> Node:
        self.cursor.enter()
        token = self.cursor.next()
        if token.kind == "num":
            node = read_number(self.cursor, token.value)
        elif token.kind == "sym":
            node = read_letter(self, token.value)
        elif token.kind == "fn":
            node = read_function(self, token.value)
        elif token.kind in ("text", "word"):
            node = Text(" ".join(token.value.split()).lower())
        elif token.kind == "cmd":
            node = read_command(self, token.value)
        elif token.kind == "op":
            node = read_bracket(self, token.value)
        else:
            raise Unreadable("the end comes too early")
        self.cursor.leave()
        return node

    def _raised(self, base: Node) -> Node:
        """Degrees, primes, or a power."""
        cursor = self.cursor
        if cursor.at("\\circ", "\\degree") or (cursor.at("{") and cursor.at("\\circ", "\\degree", ahead=1)):
            if cursor.take("{"):
                cursor.next()
                cursor.expect("}")
            else:
                cursor.next()
            if cursor.peek().value in ("C", "F") and cursor.peek(1).value not in ("_", "("):
                cursor.next()  # the scale of a temperature
            return Op("degree", (base,))
        if primes := self._primes():
            return self._with_primes(base, primes)
        return Op("^", (base, self.argument()))

    def _primes(self) -> int:
        """How many primes an exponent is made of, stepped over; 0 where it is anything else."""
        cursor = self.cursor
        start = int(cursor.at("{"))
        ahead = start
        while cursor.at("\\prime", "'", ahead=ahead):
            ahead += 1
        if ahead == start or (start and not cursor.at("}", ahead=ahead)):
            return 0
        cursor.place += ahead + start
        return ahead - start

    def _with_primes(self, base: Node, primes: int) -> Node:
        """Derivatives of a letter; behind a number, minutes and seconds of arc."""
        if isinstance(base, Sym):
            return read_letter(self, base.name + "'" * primes)
        if isinstance(base, Num) and primes <= 2:
            return Op("unit", (base, Text("arcmin" if primes == 1 else "arcsec")))
        return primed(base, primes)

    def _with_words(self, value: Node) -> Node:
        """The value with the words that follow: a factor such as `million`, a unit, or nothing a formula has."""
        cursor = self.cursor
        factor, words = scale(cursor.next().value)
        if factor != 1:
            value = times(value, number(factor))
        while True:
            if cursor.at("^") and words:
                cursor.next()
                words += "^" + cursor.script()
            elif cursor.at("/") and cursor.peek(1).kind in ("text", "word", "sym") and words:
                cursor.next()
                words += "/" + cursor.next().value
            elif cursor.peek().kind in ("text", "word"):
                words += " " + cursor.next().value
            else:
                break
        words = words.strip(" .")
        if words in ("percent", "%", "\\%"):
            return Op("percent", (value,))
        if words in ("degrees", "degree"):
            return Op("degree", (value,))
        if words and not is_unit(words):
            raise Unreadable(f"words {words!r}")
        return Op("unit", (value, Text(words))) if words else value
