"""`hicra curate --show N`: sampled rollouts with their strategic grams marked, on stdout.

A terminal shows a colour per move and underlines; elsewhere grams stand in ⟦…⟧. A raised letter names the move always.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hicra_cli.commands.review_text import move_style
from hicra_cli.core.errors import ArtifactError
from hicra_cli.core.output import Styled, View

if TYPE_CHECKING:
    from hicra_cli.core.registry import Artifact, Registry
    from hicra_cli.report.gram_review import SampledRollout

CHARACTERS = 8000
PROBLEM_CHARACTERS = 600
LETTERS = {"deduction": "ᵈ", "branching": "ᵇ", "backtracing": "ᵗ"}
Pieces = list[tuple[str, str]]


def shown_rollouts(registry: "Registry", gram_set: "Artifact", *, size: int, seed: int) -> "list[SampledRollout]":
    """`size` of the rollouts that the gram-set's candidates come from. ArtifactError where its lineage has none."""
    from hicra_cli.grams.gram_set import FILE_NAME, GramSet
    from hicra_cli.grams.rollout_file import FILE_NAME as ROLLOUTS_NAME
    from hicra_cli.grams.rollout_file import read_rollouts
    from hicra_cli.report.gram_review import sample_rollouts

    rows = read_rollouts(_rollouts_of(registry, gram_set).file(ROLLOUTS_NAME))
    return sample_rollouts(GramSet.load(gram_set.file(FILE_NAME)), rows, size=size, seed=seed)


def rollout_views(samples: "Sequence[SampledRollout]") -> list[View]:
    """A legend and the rollouts, for people."""
    legend: Pieces = [("Marked: ", "")]
    for move, letter in LETTERS.items():
        legend += [(move, move_style(move)), (f"{letter}  ", "")]
    legend += [("no move given", move_style(None)), ("\n", "")]
    views: list[View] = [_styled(legend)]
    for number, sample in enumerate(samples, start=1):
        views.append(_styled([*_title(sample, number, len(samples)), *_text(sample), ("\n", "")]))
    return views


def rollout_data(samples: "Sequence[SampledRollout]") -> list[dict[str, Any]]:
    """The same for machines."""
    return [
        {
            "prompt_id": each.prompt_id,
            "sample": each.sample,
            "policy": each.policy,
            "step": each.step,
            "outcome": each.outcome,
            "planning_fraction": each.planning_fraction,
            "text": each.text,
            "grams": [
                {"start": mark.start, "end": mark.end, "gram": mark.gram, "move": mark.move or None}
                for mark in each.marks
            ],
        }
        for each in samples
    ]


def _rollouts_of(registry: "Registry", gram_set: "Artifact") -> "Artifact":
    """The nearest rollouts in the lineage."""
    waiting, seen = [gram_set], {gram_set.id}
    while waiting:
        for parent, _ in registry.inputs(waiting.pop(0)):
            if parent.kind == "rollouts":
                return parent
            if parent.id not in seen:
                seen.add(parent.id)
                waiting.append(parent)
    raise ArtifactError(
        f"{gram_set.ref} was not made from rollouts, so there are none to show",
        fix="Curate with --candidates of `hicra collect-grams`",
    )


def _title(sample: "SampledRollout", number: int, total: int) -> Pieces:
    place = [sample.policy, None if sample.step is None else f"step {sample.step}", sample.prompt_id]
    facts = [f"rollout {number}/{total}", *(each for each in place if each), f"sample {sample.sample}"]
    facts += [sample.outcome] if sample.outcome else []
    facts.append(f"{100 * sample.planning_fraction:.1f} % of its characters plan")
    pieces = [(f"── {' · '.join(facts)}", "bold"), ("\n", "")]
    if sample.problem:
        cut = " …" if len(sample.problem) > PROBLEM_CHARACTERS else ""
        pieces += [(sample.problem[:PROBLEM_CHARACTERS].strip() + cut, "dim"), ("\n\n", "")]
    return pieces


def _text(sample: "SampledRollout") -> Pieces:
    from hicra_cli.report.visible import pieces

    found: Pieces = []
    for piece in pieces(sample.text, sample.marks, limit=CHARACTERS):
        if piece.grams:
            found += [(piece.text, move_style(piece.move)), (LETTERS.get(piece.move, ""), "")]
        else:
            found.append((piece.text, ""))
    if len(sample.text) > CHARACTERS:
        found.append((f"\n… {len(sample.text) - CHARACTERS:,} further characters are not shown", "dim"))
    return [*found, ("\n", "")]


def _styled(pieces: Pieces) -> Styled:
    """Without styles a gram would be invisible, so its plain form has brackets."""
    plain = "".join(f"⟦{text}⟧" if "underline" in style else text for text, style in pieces)
    return Styled(plain.removesuffix("\n"), pieces)
