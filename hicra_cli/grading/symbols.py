r"""Names that LaTeX gives to signs: Greek letters, constants, relations, functions, accents."""

from hicra_cli.grading.nodes import Unreadable

CONSTANTS = {"e": "e", "i": "i", "pi": "pi", "imath": "i"}
# fmt: off
GREEK = frozenset((
    "alpha", "beta", "gamma", "delta", "epsilon", "varepsilon", "zeta", "eta", "theta", "vartheta", "iota", "kappa",
    "lambda", "mu", "nu", "xi", "omicron", "rho", "varrho", "sigma", "varsigma", "tau", "upsilon", "phi", "varphi",
    "chi", "psi", "omega", "Gamma", "Delta", "Theta", "Lambda", "Xi", "Pi", "Sigma", "Upsilon", "Phi", "Psi", "Omega",
    "hbar", "ell", "partial", "nabla", "ldots", "odot",
))
FUNCTIONS = frozenset((
    "sin", "cos", "tan", "cot", "sec", "csc", "arcsin", "arccos", "arctan", "arccot", "arcsec", "arccsc", "sinh",
    "cosh", "tanh", "coth", "sech", "csch", "asin", "acos", "atan", "arcsinh", "arccosh", "arctanh", "asinh", "acosh",
    "atanh", "ln", "log", "lg", "exp", "sqrt", "abs", "floor", "ceil", "gcd", "lcm", "max", "min", "cbrt", "sgn",
))
RELATION_SIGNS = {
    "=": "=", "==": "=", "\\equiv": "=", "\\approx": "=", "!=": "!=", "\\ne": "!=", "<": "<", "\\lt": "<", ">": ">",
    "\\gt": ">", "<=": "<=", "\\le": "<=", ">=": ">=", "\\ge": ">=", "\\in": "in",
}
SET_SIGNS = {"\\cup": "union", "\\cap": "inter", "\\setminus": "minus", "\\backslash": "minus"}
INVERSES = {
    "sin": "arcsin", "cos": "arccos", "tan": "arctan", "cot": "arccot", "sec": "arcsec", "csc": "arccsc",
    "sinh": "arcsinh", "cosh": "arccosh", "tanh": "arctanh",
}
_SHORT = {
    "asin": "arcsin", "acos": "arccos", "atan": "arctan", "asinh": "arcsinh", "acosh": "arccosh", "atanh": "arctanh",
}
BASES = {
    "two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7", "eight": "8", "nine": "9",
    "ten": "10", "twelve": "12", "sixteen": "16",
}
# fmt: on
CURRENCIES = {"\\$": "dollar", "$": "dollar", "\\euro": "euro", "\\pounds": "pound sterling"}
# Names that stand in plain text for a command.
SPOKEN_NAMES = FUNCTIONS | {
    "pi",
    "infty",
    "alpha",
    "beta",
    "theta",
    "omega",
    "lambda",
    "sigma",
    "phi",
    "rho",
    "tau",
    "gamma",
    "delta",
    "epsilon",
    "union",
    "cup",
    "times",
    "factorial",
}
NAMED_SETS = frozenset("RQZNC")
ACCENTS = frozenset(("dot", "ddot", "bar", "hat", "tilde", "overline", "widehat", "widetilde"))
IGNORED_ACCENTS = frozenset(("vec", "overrightarrow", "underline", "boxed", "fbox", "ensuremath"))


def function_name(name: str) -> str:
    """The name in full: `asin` is `arcsin`."""
    return _SHORT.get(name, name)


def is_function(name: str) -> bool:
    """Whether a command without its backslash is a function that the reader knows; `\\sqrt` is read apart."""
    return name in FUNCTIONS and name != "sqrt"


def is_value_command(name: str) -> bool:
    """Whether a command without its backslash begins a value."""
    return name in GREEK or name in CONSTANTS or is_function(name) or name in ACCENTS or name in IGNORED_ACCENTS


def base_name(script: str) -> str:
    """The base of a numeral in digits. Raises Unreadable where a subscript is none."""
    name = BASES.get(script.lower(), script)
    if not name.isdecimal():
        raise Unreadable("a subscript behind a number")
    return name
