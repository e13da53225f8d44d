r"""Plus-minus: one text that stands for several values."""

from hicra_cli.grading.nodes import RELATIONS, Node, Op, contains, is_tuple, number

_MAX_TUPLE = 4


def has_alternatives(node: Node) -> bool:
    """Whether a plus-minus is anywhere in the tree."""
    return contains(node, "pm", "mp")


def expanded(node: Node) -> Node:
    """Every plus-minus as two alternatives, in the list or set where it stands; a value becomes a list of two."""
    if not has_alternatives(node):
        return node
    if isinstance(node, Op) and node.name in ("list", "set"):
        return Op(node.name, tuple(one for part in node.args for one in _alternatives(part)))
    return Op("list", tuple(_alternatives(node)))


def _alternatives(node: Node) -> list[Node]:
    """What a tree with plus-minus stands for. Its signs vary together; in a tuple without minus-plus, each alone."""
    if not has_alternatives(node) or not isinstance(node, Op):
        return [node]
    if node.name in RELATIONS and not has_alternatives(node.args[0]):
        return [Op(node.name, (node.args[0], side)) for side in _alternatives(node.args[1])]
    if is_tuple(node) and not contains(node, "mp") and len(node.args) <= _MAX_TUPLE:
        found: list[tuple[Node, ...]] = [()]
        for part in node.args:
            found = [(*start, one) for start in found for one in _alternatives(part)]
        return [Op(node.name, parts) for parts in found]
    return [_signed(node, 1), _signed(node, -1)]


def _signed(node: Node, sign: int) -> Node:
    if not isinstance(node, Op):
        return node
    args = tuple(_signed(part, sign) for part in node.args)
    if node.name not in ("pm", "mp"):
        return Op(node.name, args)
    second = args[1] if (sign > 0) == (node.name == "pm") else Op("neg", (args[1],))
    return second if args[0] == number(0) else Op("+", (args[0], second))
