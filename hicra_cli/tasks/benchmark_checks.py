"""Whether a copy of a benchmark is the published set, and which of its golds are in doubt.

A copy is read as prompts; `pinned` says that it is a commit of the hub, which cannot change.
"""

from collections.abc import Iterator, Sequence

from hicra_cli.core.records import Prompt
from hicra_cli.tasks.benchmark_rows import KnownRows, difference, gold_key, known_rows, question_key, rows_sha256
from hicra_cli.tasks.benchmark_specs import BenchmarkSpec, Doubt

_SHOWN = 3  # questions that a message names


def faults_of(spec: BenchmarkSpec, prompts: Sequence[Prompt], *, pinned: bool) -> list[str]:
    """What makes scores over this copy those of another benchmark. Of a commit only the count can be at fault."""
    faults = []
    if spec.questions and len(prompts) not in spec.questions:
        published = " or ".join(str(count) for count in spec.questions)
        faults.append(f"it has {len(prompts)} questions, the published set has {published}")
    if not pinned and not is_published(spec, prompts):
        faults += _strangers(spec, prompts)
    return faults


def remarks_on(spec: BenchmarkSpec, prompts: Sequence[Prompt], *, pinned: bool) -> list[str]:
    """What a reader of the score should know of a copy that is no exact one."""
    known = known_rows(spec.name)
    return [] if not known.golds or is_published(spec, prompts) else list(_differences(prompts, known, pinned=pinned))


def is_published(spec: BenchmarkSpec, prompts: Sequence[Prompt]) -> bool:
    """Whether questions and golds are exactly those of a whole copy that is known."""
    return rows_sha256(prompts) in spec.rows_sha256.values()


def doubts_of(spec: BenchmarkSpec, prompts: Sequence[Prompt]) -> dict[str, Doubt]:
    """The doubts about golds that this copy has, by question id: another copy may have corrected some."""
    doubts, known = {each.id: each for each in spec.doubtful}, known_rows(spec.name)
    asked = [(prompt, doubts[prompt.id]) for prompt in prompts if prompt.id in doubts]
    return {doubt.id: doubt for prompt, doubt in asked if _is_doubted(prompt, doubt, known)}


def _strangers(spec: BenchmarkSpec, prompts: Sequence[Prompt]) -> list[str]:
    """Questions that no wording of the set explains; where only a digest is known, that it is another one."""
    known = known_rows(spec.name)
    if not known.golds:
        return ["its digest is another one"] if spec.rows_sha256 else []
    others = difference(prompts, known).other_golds
    return [f"{_some(others)} of another set or with another gold"] if others else []


def _differences(prompts: Sequence[Prompt], known: KnownRows, *, pinned: bool) -> Iterator[str]:
    found = difference(prompts, known)
    if found.reworded and len(found.reworded) < len(prompts):
        yield f"{_some(found.reworded)} worded otherwise than in the published set"
    if found.other_golds and pinned:
        yield f"{_some(found.other_golds)} with another gold than in the copy this was checked with"
    if found.missing:
        yield f"without {_some(found.missing)}"


def _some(ids: Sequence[str]) -> str:
    shown = ", ".join(ids[:_SHOWN])
    return f"{len(ids)} question{'s' * (len(ids) > 1)} ({shown}{', …' * (len(ids) > _SHOWN)})"


def _is_doubted(prompt: Prompt, doubt: Doubt, known: KnownRows) -> bool:
    gold = gold_key(prompt.answer)
    if doubt.gold is not None:
        return gold == gold_key(doubt.gold)
    return known.golds.get(question_key(prompt.text), gold) == gold
