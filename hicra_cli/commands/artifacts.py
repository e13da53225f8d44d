"""hicra artifacts list | show | path | lineage | alias | verify | gc | export | import | diff"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hicra_cli.commands.session import Report, Session, describe
from hicra_cli.commands.stage import group_app
from hicra_cli.core.errors import ArtifactError
from hicra_cli.core.output import Table, View

if TYPE_CHECKING:
    from hicra_cli.core.artifact import LineageNode

Ref = Annotated[str, typer.Argument(metavar="REF", help="kind:name, kind:name@vN or kind:name@alias.")]
Refs = Annotated[list[str], typer.Argument(metavar="REF...", help="One or several artifacts.")]
Kind = Annotated[str, typer.Argument(metavar="[KIND]", help="policy, rollouts, candidates, gram-set, training, …")]
NameFilter = Annotated[str, typer.Option("--name", help="Only this name.", show_default=False)]


def list_(session: Session, kind: Kind = "", name: NameFilter = "") -> Report:
    """What stages have published, newest first.

    \b
    Examples:
      hicra artifacts list
      hicra artifacts list training --json
    """
    with session.registry() as registry:
        found = registry.list(kind or None, name or None)
        aliases = {each.id: registry.aliases(each) for each in found}
    rows = [
        (each.ref, each.created[:19].replace("T", " "), size_text(each.bytes), " ".join(aliases[each.id]))
        for each in found
    ]
    return Report([Table(("artifact", "created (UTC)", "size", "aliases"), rows)], found)


def show(session: Session, reference: Ref) -> Report:
    """One artifact: files, summary, inputs, its run.

    \b
    Example:
      hicra artifacts show training:hicra
    """
    with session.registry() as registry:
        artifact = registry.resolve(reference)
        aliases = registry.aliases(artifact)
        inputs = [(role, each.ref) for each, role in registry.inputs(artifact)]
        runs = registry.runs(run_id=artifact.run_id) if artifact.run_id else []
    facts = [
        ("artifact", artifact.ref),
        ("aliases", " ".join(aliases) or "-"),
        ("created", artifact.created),
        ("digest", artifact.digest),
        ("size", size_text(artifact.bytes)),
        ("path", str(artifact.path)),
        *((f"input {role}", ref) for role, ref in inputs),
        *(("command", " ".join(run.argv)) for run in runs),
        *flat_summary(artifact.summary),
    ]
    files = Table(("file", "size"), [(each.path, size_text(each.bytes)) for each in artifact.files])
    data = {
        "summary": dict(artifact.summary),
        "aliases": aliases,
        "inputs": [{"role": role, "ref": ref} for role, ref in inputs],
        "files": [{"path": each.path, "bytes": each.bytes, "sha256": each.sha256} for each in artifact.files],
        "runs": [{"id": run.id, "argv": run.argv, "config": run.config, "status": run.status} for run in runs],
    }
    return Report([Table(("", ""), facts), "", files], [artifact], data=data, run_id=artifact.run_id)


def path(session: Session, reference: Ref) -> Report:
    """The folder of an artifact, for scripts.

    \b
    Example:
      open "$(hicra artifacts path diagnosis:default)/report.html"
    """
    with session.registry() as registry:
        artifact = registry.resolve(reference)
    return Report([str(artifact.path)], [artifact])


def lineage(session: Session, reference: Ref) -> Report:
    """What an artifact was made from, and what from it.

    \b
    Example:
      hicra artifacts lineage diagnosis:default
    """
    with session.registry() as registry:
        artifact = registry.resolve(reference)
        tree = registry.lineage(artifact)
    views: list[View] = [artifact.ref]
    for title, nodes in (("made from", tree.inputs), ("used by", tree.outputs)):
        views += [f"{title}:", *(_tree_lines(nodes) or ["  nothing"])]
    data = {"inputs": _tree_data(tree.inputs), "outputs": _tree_data(tree.outputs)}
    return Report(views, [artifact], data=data)


def alias(
    session: Session, reference: Ref, name: Annotated[str, typer.Argument(metavar="ALIAS", help="The alias.")]
) -> Report:
    """Point kind:name@ALIAS at an artifact.

    \b
    Example:
      hicra artifacts alias gram-set:default@v3 paper
    """
    with session.registry() as registry:
        artifact = registry.resolve(reference)
        registry.set_alias(artifact, name)
    return Report([f"{artifact.kind}:{artifact.name}@{name} is {artifact.ref}"], [artifact])


def verify(session: Session, reference: Annotated[str, typer.Argument(metavar="[REF]")] = "") -> Report:
    """Compare every byte with what was published.

    Damage is exit code 3. Intact artifacts stay usable.

    \b
    Examples:
      hicra artifacts verify
      hicra artifacts verify gram-set:default
    """
    with session.registry() as registry:
        artifact = registry.resolve(reference, check=False) if reference else None
        checked = [artifact] if artifact else registry.list()
        findings = registry.verify(artifact)
    damage = [each for each in findings if each.severity == "damage"]
    rows = [(each.severity, each.ref or "-", each.path, each.problem) for each in findings]
    summary = f"{len(checked)} artifacts read, {len(damage)} faults"
    failure = None
    if damage:
        failure = ArtifactError(
            f"{len(damage)} faults found",
            where=str(session.config.home),
            fix="Repeat the commands that made the damaged artifacts with --force; intact ones stay usable",
        )
    data = {"checked": len(checked), "findings": [dict(zip(_FINDING, row, strict=True)) for row in rows]}
    return Report([summary, *([Table(_FINDING, rows)] if rows else [])], data=data, failure=failure)


def gc(
    session: Session,
    delete: Annotated[bool, typer.Option("--delete", help="Really remove; without it the plan is shown.")] = False,
    drafts: Annotated[bool, typer.Option("--drafts", help="Unfinished runs that --resume could continue too.")] = False,
    older_than_hours: Annotated[float, typer.Option(min=0, help="With --drafts: only those at least this old.")] = 0,
) -> Report:
    """Remove what crashed processes left behind.

    Without --delete it only shows what it would do. Published artifacts and running work are never touched.

    \b
    Examples:
      hicra artifacts gc
      hicra artifacts gc --delete --drafts --older-than-hours 24
    """
    from datetime import timedelta

    keep = timedelta(hours=older_than_hours)
    with session.registry() as registry:
        report = registry.gc(dry_run=not delete, include_drafts=drafts, keep_drafts_newer_than=keep)
    groups = {
        "removed" if delete else "would remove": report.removed,
        "kept": report.kept,
        "could not remove": report.faults,
    }
    rows = [(done, size_text(each.bytes), each.path, each.reason) for done, all_ in groups.items() for each in all_]
    freed = f"{size_text(report.freed_bytes)} {'freed' if delete else 'would be freed; --delete does it'}"
    data = {
        "deleted": delete,
        "freed_bytes": report.freed_bytes,
        **{
            name: [{"path": each.path, "bytes": each.bytes, "reason": each.reason} for each in remains]
            for name, remains in (("removed", report.removed), ("kept", report.kept), ("faults", report.faults))
        },
    }
    return Report([*([Table(("", "size", "path", "reason"), rows)] if rows else []), freed], data=data)


def export(
    session: Session,
    references: Refs,
    output: Annotated[Path, typer.Option("--output", "-o", help="FILE.tar.zst or FILE.zip.")],
    with_lineage: Annotated[bool, typer.Option("--with-lineage", help="And all they were made from.")] = False,
) -> Report:
    """Write artifacts into one file for another registry.

    \b
    Example:
      hicra artifacts export gram-set:default -o grams.tar.zst
    """
    with session.registry() as registry:
        written = registry.export_bundle(
            [registry.resolve(each) for each in references], output, with_lineage=with_lineage
        )
    rows = [(each.ref, size_text(each.bytes)) for each in written]
    return Report([Table(("artifact", "size"), rows), str(output)], written, data={"path": str(output)})


def import_(
    session: Session, bundle: Annotated[Path, typer.Argument(metavar="FILE", help="A .tar.zst or .zip bundle.")]
) -> Report:
    """Publish what a bundle holds under new versions.

    Hashes and paths are checked first; a bundle with any fault is refused whole.

    \b
    Example:
      hicra artifacts import grams.tar.zst
    """
    with session.registry(create=True) as registry:
        imported = registry.import_bundle(bundle)
    return Report([Table(("artifact", "size"), [(each.ref, size_text(each.bytes)) for each in imported])], imported)


def diff(session: Session, first: Ref, second: Ref) -> Report:
    """Compare two gram-sets, or two runs' configurations.

    \b
    Examples:
      hicra artifacts diff gram-set:default@v1 gram-set:default@v2
      hicra artifacts diff training:grpo training:hicra
    """
    from dataclasses import asdict

    from hicra_cli.core.diff import diff_artifacts

    with session.registry() as registry:
        left, right = registry.resolve(first), registry.resolve(second)
        runs = [registry.runs(run_id=each.run_id) if each.run_id else [] for each in (left, right)]
        configs = [found[0].config if found else {} for found in runs]
        change = diff_artifacts(left, right, configs=configs)
    rows: list[tuple[str, ...]] = []
    if change.grams is not None:
        rows += [("-", gram, "") for gram in change.grams.removed] + [("+", gram, "") for gram in change.grams.added]
        rows += [("~", each.path, f"{each.before} → {each.after}") for each in change.grams.moved]
    rows += [("~", each.path, f"{_short(each.before)} → {_short(each.after)}") for each in change.config]
    same = "same content" if change.same_content else "different content"
    views: list[View] = [f"{left.ref} → {right.ref}: {same}", *([Table(("", "", ""), rows)] if rows else [])]
    return Report(views, [left, right], data={"diff": asdict(change)})


def size_text(size: int) -> str:
    """Bytes for people: 1023 B, 1.5 KiB, 20.3 MiB."""
    value, unit = float(size), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            break
        value /= 1024
    return f"{size} B" if unit == "B" else f"{value:.1f} {unit}"


def flat_summary(summary: Any, prefix: str = "") -> list[tuple[str, str]]:
    """A nested summary as (a/b, text) rows."""
    if isinstance(summary, dict):
        return [row for name, value in summary.items() for row in flat_summary(value, f"{prefix}{name}/")]
    return [(prefix.rstrip("/"), str(summary))]


_FINDING = ("severity", "artifact", "path", "problem")


def _tree_lines(nodes: "tuple[LineageNode, ...]", depth: int = 1) -> list[str]:
    lines: list[str] = []
    for node in nodes:
        seen = " (see above)" if node.repeated else ""
        lines.append(f"{'  ' * depth}{node.role}: {node.artifact.ref}{seen}")
        lines += _tree_lines(node.nodes, depth + 1)
    return lines


def _tree_data(nodes: "tuple[LineageNode, ...]") -> list[dict[str, Any]]:
    return [
        {
            "role": node.role,
            "artifact": describe(node.artifact),
            "repeated": node.repeated,
            "nodes": _tree_data(node.nodes),
        }
        for node in nodes
    ]


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 120 else text[:119] + "…"


app = group_app(
    "artifacts",
    "List, inspect, verify, move and compare what stages have published.",
    list_, show, path, lineage, alias, verify, gc, export, import_, diff,
)  # fmt: skip
