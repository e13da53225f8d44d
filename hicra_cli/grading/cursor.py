"""A place in a list of tokens, and the levels of a grammar that read on from it."""

from typing import Protocol

from hicra_cli.grading.lexer import END, Token
from hicra_cli.grading.nodes import Node, Unreadable

MAX_DEPTH = 170  # of nested levels, some three frames of the interpreter each; a pair of brackets costs four


class Cursor:
    """The tokens and the place reached. `open_bars` tells whether a `|` closes an absolute value here."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self.place = 0
        self._depth = 0
        self.open_bars = 0

    def peek(self, ahead: int = 0) -> Token:
        """The token `ahead` places from here; END behind the last."""
        return self._tokens[min(self.place + ahead, len(self._tokens) - 1)]

    def next(self) -> Token:
        """The token here, stepped over."""
        token = self.peek()
        if token is not END:
            self.place += 1
        return token

    def at(self, *signs: str, ahead: int = 0) -> bool:
        """Whether one of these signs or commands stands here."""
        token = self.peek(ahead)
        return token.kind in ("op", "cmd") and token.value in signs

    def take(self, *signs: str) -> bool:
        """Step over one of these signs, if it stands here."""
        found = self.at(*signs)
        self.place += found
        return found

    def expect(self, sign: str) -> None:
        """Step over this sign. Raises Unreadable where another stands."""
        if not self.take(sign):
            raise Unreadable(f"{sign!r} is missing")

    def enter(self) -> None:
        """One level deeper; `leave` comes back. Raises Unreadable where it gets too deep for the interpreter."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise Unreadable("nested too deeply")

    def leave(self) -> None:
        """One level back."""
        self._depth -= 1

    def begins_element(self, place: int) -> bool:
        """Whether the token at a place begins the formula or an element of a list."""
        return place == 0 or self._tokens[place - 1].value in (",", ";")

    def split_number(self) -> None:
        r"""Make a number here two tokens, its first digit and the rest: `\binom53` takes 5 and 3."""
        token = self.peek()
        if token.kind == "num" and len(token.value) > 1 and token.value.isdecimal():
            digits = (Token("num", token.value[0], token.spaced), Token("num", token.value[1:]))
            self._tokens[self.place : self.place + 1] = digits

    def script(self) -> str:
        """A group or a single sign as plain text, without blanks and braces: a subscript, the name of a set."""
        token = self.next()
        if token is END:
            raise Unreadable("a subscript is missing")
        if token.value != "{":
            return token.value.removeprefix("\\")
        depth, parts = 1, []
        while depth:
            token = self.next()
            if token is END:
                raise Unreadable("a subscript does not close")
            depth += (token.value == "{") - (token.value == "}")
            parts.append(token.value.removeprefix("\\"))
        return "".join(part for part in parts if part not in ("{", "}")).replace(" ", "")


class Levels(Protocol):
    """What the readers of single constructs need of the grammar; each reads on from the cursor."""

    cursor: Cursor

    def elements(self) -> Node:
        """A list without brackets, or its only element."""

    def sum(self) -> Node:
        """Terms with plus and minus."""

    def product(self) -> Node:
        """Factors."""

    def power(self) -> Node:
        """An atom with all that is behind or above it."""

    def signed(self) -> Node:
        """The same with signs before it."""

    def argument(self) -> Node:
        """What a command or `^` takes: a group, or one sign or number."""

    def starts_factor(self) -> bool:
        """Whether another factor of a product begins here."""
