"""What a curation leaves in its artifact: the rows of `grams.jsonl` and of `history.jsonl`, and the gram-set itself."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from hicra_cli.core.records import StrategicGram
from hicra_cli.grams.curation import Considered, Curated, annotator_of, decided_by
from hicra_cli.grams.gram_set import GramSet

HISTORY_NAME = "history.jsonl"


def gram_set_of(curated: Curated) -> GramSet:
    """The accepted grams."""
    return GramSet(
        tuple(
            StrategicGram(
                tuple(each.gram.split()),
                move=curated.ruling(each.gram).move,
                cluster=each.cluster,
                source=_source(each, curated),
                document_frequency=each.document_frequency or None,
            )
            for each in curated.accepted
        )
    )


def gram_rows(curated: Curated) -> list[dict[str, Any]]:
    """`grams.jsonl`, the most widespread gram first. Figures that no corpus gives are null."""
    rows = []
    for each in curated.accepted:
        move = curated.ruling(each.gram).move
        rows.append(
            {
                "gram": each.gram,
                "move": move.value if move else None,
                "cluster": each.cluster,
                "document_frequency": each.document_frequency or None,
                "count": each.count or None,
                "confidence": each.annotation.confidence if each.annotation else None,
                "source": _source(each, curated),
            }
        )
    return rows


def history_rows(curated: Curated, considered: Sequence[Considered]) -> list[dict[str, Any]]:
    """One row per considered gram. by: who or what decided (`rule`, an annotator, `person`, `import:FILE`, a gram-set);
    rule: which rule, `decision` or `missed` of a person, `listed`.
    """
    by_gram: Mapping[str, Considered] = {each.gram: each for each in considered}
    rows = []
    for ruling in curated.rulings:
        known = by_gram.get(ruling.gram)
        annotation = known.annotation if known else None
        rows.append(
            {
                "gram": ruling.gram,
                "verdict": ruling.verdict,
                "move": ruling.move.value if ruling.move else None,
                "by": decided_by(ruling, known),
                "rule": ruling.rule,
                "reason": ruling.reason,
                "annotator": annotation.annotator if annotation else None,
                "model": annotation.model if annotation else None,
                "confidence": annotation.confidence if annotation else None,
                "cluster": known.cluster if known else None,
                "document_frequency": known.document_frequency if known else None,
                "count": known.count if known else None,
            }
        )
    return rows


def curation_summary(curated: Curated, considered: Sequence[Considered]) -> dict[str, Any]:
    """How many grams, by move, by what fell them, and by whom the accepted ones were accepted."""
    by_gram = {each.gram: each for each in considered}
    moves = Counter(str(curated.ruling(each.gram).move or "none") for each in curated.accepted)
    rejected = Counter(each.rule for each in curated.rulings if each.verdict == "reject")
    accepted_by = Counter(
        decided_by(curated.ruling(each.gram), by_gram.get(each.gram)).partition(":")[0] for each in curated.accepted
    )
    return {
        "grams": len(curated.accepted),
        "moves": dict(sorted(moves.items())),
        "rejected": dict(sorted(rejected.items())),
        "accepted_by": dict(sorted(accepted_by.items())),
        "by_person": sum(each.by == "person" for each in curated.rulings),
    }


def _source(each: Considered, curated: Curated) -> str:
    """Who brought the gram: the annotator (with its model), a list, or a person who accepted it."""
    if curated.ruling(each.gram).by == "person" or (each.annotation is None and each.listed is None):
        return "person"
    return each.listed.source if each.listed else annotator_of(each.annotation) if each.annotation else "person"
