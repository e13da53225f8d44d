r"""Names before values: `x = 5`, `f(x) = x + 1`, `(x, y) = (1, 2)`, `AB = 5`, `x \in S`."""

from hicra_cli.grading.nodes import RELATIONS, Node, Op, Sym, Text, is_tuple, letters, replaced


def without_names(answer: Node, gold: Node) -> tuple[Node, Node]:
    """`x = 5` answers a gold `5`, and the other way round; where both are relations, all of them is compared."""
    if _is_relation(answer) and _is_relation(gold):
        return answer, gold
    left, right = assigned(answer), assigned(gold)
    if (left is None) == (right is None):
        return answer, gold
    return left or answer, right or gold


def assigned(node: Node) -> Node | None:
    """The value that a tree gives a name to; None for any other tree. A product of letters names only a constant."""
    if not isinstance(node, Op) or node.name not in ("=", "in"):
        return None
    left, right = node.args
    if isinstance(left, Sym | Text):
        return right
    if node.name == "in" or not isinstance(left, Op) or not all(isinstance(part, Sym) for part in left.args):
        return None
    if left.name == "call" or is_tuple(left):
        return right
    return right if left.name == "*" and not letters(right) else None


def assignments(node: Node) -> tuple[Node, ...] | None:
    """The values of `x = 1, y = 2`, where all elements of a list name something, and each something else."""
    if not isinstance(node, Op) or node.name != "list":
        return None
    names = [part.args[0] for part in node.args if isinstance(part, Op) and part.name == "="]
    values = [value for part in node.args if (value := assigned(part)) is not None]
    if len(names) != len(node.args) or len(values) != len(names) or len(set(names)) != len(names):
        return None
    return tuple(values)


def with_constants_of(gold: Node, answer: Node) -> Node | None:
    """The answer with constants of integration written as in the gold: c and C are one where no side holds both.

    None where nothing is to be renamed, or where the gold has no other letter that it could be a function of.
    """
    names, others = letters(answer), letters(gold)
    for mine, theirs in (("C", "c"), ("c", "C")):
        ours = [name for name in names if name.partition("_")[0] == mine]
        if ours and not any(name.partition("_")[0] == theirs for name in names) and len(others) > 1:
            if any(name.partition("_")[0] == mine for name in others):
                return None
            for name in ours:
                answer = replaced(answer, Sym(name), Sym(theirs + name[1:]))
            return answer
    return None


def _is_relation(node: Node) -> bool:
    return isinstance(node, Op) and (node.name in RELATIONS or node.name == "chain")
