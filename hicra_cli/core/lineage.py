"""The lineage of an artifact as trees: what it was made from and what was made from it."""

from collections.abc import Callable

from hicra_cli.core.artifact import Artifact, Lineage, LineageNode

Links = Callable[[Artifact], list[tuple[Artifact, str]]]


def trace_lineage(artifact: Artifact, *, inputs: Links, outputs: Links) -> Lineage:
    """Both trees. inputs, outputs: the direct neighbours of an artifact with their roles."""
    return Lineage(artifact, _nodes(artifact, inputs, {artifact.id}), _nodes(artifact, outputs, {artifact.id}))


def ancestors(artifacts: list[Artifact], *, inputs: Links) -> list[Artifact]:
    """The given artifacts and everything they were made from, each once, made-from before made."""
    ordered: list[Artifact] = []
    seen: set[str] = set()

    def visit(artifact: Artifact) -> None:
        if artifact.id not in seen:
            seen.add(artifact.id)
            for source, _ in inputs(artifact):
                visit(source)
            ordered.append(artifact)

    for artifact in artifacts:
        visit(artifact)
    return ordered


def _nodes(artifact: Artifact, links: Links, seen: set[str]) -> tuple[LineageNode, ...]:
    """One level and, below it, everything not shown yet: a diamond would otherwise double at each level."""
    nodes = []
    for neighbour, role in links(artifact):
        if neighbour.id in seen:
            nodes.append(LineageNode(neighbour, role, repeated=True))
        else:
            seen.add(neighbour.id)
            nodes.append(LineageNode(neighbour, role, _nodes(neighbour, links, seen)))
    return tuple(nodes)
