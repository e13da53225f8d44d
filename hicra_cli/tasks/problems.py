"""From a row of a data set to a problem with its gold answer. Every fault names the row's place.

The layout is recognised by the fields: {problem, answer} under several names, MATH ({problem, solution} with a box),
GSM8K (`answer` ends in "#### 72"), verl's and DAPO's ({prompt: messages, reward_model: {ground_truth}}). Where a layout
is none of these, fields and the rule that reads the gold (`GOLD_RULES`) are named.
"""

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hicra_cli.core.errors import ConfigError, DataError
from hicra_cli.core.records import Prompt
from hicra_cli.grading.boxed import last_box

PROBLEM_FIELDS = ("problem", "question", "Problem", "prompt")
ANSWER_FIELDS = ("answer", "final_answer", "Answer", "gold", "ground_truth")
ID_FIELDS = ("id", "unique_id", "ID", "problem_idx")
SOLUTION_FIELDS = ("solution", "Solution")
TOLERANCE_FIELDS = ("tolerance", "error")
GSM8K_MARK = "####"
ROW = "row"

_BARE_BOX = re.compile(r"\\boxed\s+([^$]*[^$.\s])")
_DOLLAR = re.compile(r"(?<!\\)\$")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")


@dataclass(frozen=True, slots=True)
class Fields:
    """Names to look for; of several the first one that a row has counts.

    context: a text before the question, on a line of its own. gold: a name of `GOLD_RULES`.
    """

    problem: tuple[str, ...] = PROBLEM_FIELDS
    answer: tuple[str, ...] = ANSWER_FIELDS
    id: tuple[str, ...] = ID_FIELDS
    context: tuple[str, ...] = ()
    gold: str = "auto"


def named_fields(names: Mapping[str, str], *, where: str, fallback: bool = False) -> Fields:
    """Fields from a mapping such as {problem: question, answer: solution, gold: boxed}; what it leaves out keeps its
    usual names. fallback: the usual names count too, before the given ones. Raises ConfigError for an unknown key or
    gold rule.
    """
    usual = Fields()
    unknown = sorted(set(names) - {"problem", "answer", "id", "context", "gold"})
    if unknown:
        raise ConfigError(
            f"there is no field {unknown[0]!r} to map", where=where, fix="Map problem, answer, id, context or gold"
        )
    if names.get("gold", usual.gold) not in GOLD_RULES:
        raise ConfigError(
            f"there is no rule {names['gold']!r} for gold answers", where=where, fix=f"Known: {', '.join(GOLD_RULES)}"
        )

    def places(key: str, usually: tuple[str, ...]) -> tuple[str, ...]:
        return (*(usually if fallback else ()), names[key]) if key in names else usually

    return Fields(
        problem=places("problem", usual.problem),
        answer=places("answer", usual.answer),
        id=places("id", usual.id),
        context=places("context", usual.context),
        gold=names.get("gold", usual.gold),
    )


@dataclass(frozen=True, slots=True)
class Problem:
    """What a row says. name: its id, None where it has none. rest: the row's other fields.

    facts: unit and tolerance of the answer, where the row tells them.
    """

    text: str
    gold: str
    name: str | None
    alternatives: dict[str, str]
    rest: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)


def read_problem(row: Mapping[str, Any], *, where: str, fields: Fields) -> Problem:
    """One row. Raises DataError for a row without problem or answer."""
    place = _first(row, fields.problem)
    text = "" if place is None else _text(row[place])
    if not text:
        raise DataError(f"the row has no problem (looked for {', '.join(fields.problem)})", where=where)
    context_place = _first(row, fields.context)
    context = "" if context_place is None else _text(row[context_place])
    answer_place = _first(row, fields.answer)
    written = "" if answer_place is None else GOLD_RULES[fields.gold](row[answer_place])
    gold = written or ((_verl_answer(row) or _boxed_solution(row)) if fields.gold == "auto" else "")
    if not gold:
        raise DataError(
            f"the row has no answer (looked for {', '.join(fields.answer)})",
            where=where,
            fix="Every problem needs a gold answer to be graded against",
        )
    id_place = _first(row, fields.id)
    name = _verl_index(row) if id_place is None else _text(row[id_place])
    rest = {key: value for key, value in row.items() if key not in (place, answer_place)}
    whole = f"{context}\n{text}" if context else text
    return Problem(whole, gold, name or None, _alternatives(row, where), rest, _facts(row))


def prompts_from(
    rows: Iterable[tuple[str, Mapping[str, Any]]],
    *,
    prefix: str,
    fields: Fields | None = None,
    rename: Callable[[str], str | None] = lambda text: None,
    qualified: bool = False,
) -> list[Prompt]:
    """One prompt per (place, row), in order: for benchmarks, where every row counts.

    A row without an id gets `prefix/number`, counted from 0. rename: the id that a problem's text has in every copy of
    the set, where one is known. qualified: a row's own id becomes `prefix/id`. Raises DataError as `read_problem`, and
    for a second row of the same id: ids name samples.
    """
    prompts: list[Prompt] = []
    names = Names()
    for number, (where, row) in enumerate(rows):
        problem = read_problem(row, where=where, fields=fields or Fields())
        own = problem.name or f"{number:05d}"
        name = rename(problem.text) or (own if problem.name and not qualified else f"{prefix}/{own}")
        names.take(name, where)
        prompts.append(Prompt(name, problem.text, problem.gold, {**problem.alternatives, **problem.facts}))
    return prompts


class Names:
    """The ids that are used, and where."""

    def __init__(self) -> None:
        self._places: dict[str, str] = {}

    def take(self, name: str, where: str) -> None:
        """Use an id. Raises DataError where it is used already."""
        if name in self._places:
            raise DataError(
                f"the id {name!r} was used already at {self._places[name]}", where=where, fix="Make ids unique"
            )
        self._places[name] = where


def golds(prompt: Prompt) -> tuple[str, ...]:
    """The gold answer and its alternatives: one match suffices."""
    listed = prompt.metadata.get("alternatives")
    return (prompt.answer, *json.loads(listed)) if listed else (prompt.answer,)


def row_fields(prompt: Prompt) -> dict[str, Any]:
    """The other fields of the row a prompt was read from, {} where they were not kept."""
    fields: dict[str, Any] = json.loads(prompt.metadata.get(ROW, "{}"))
    return fields


def gold_of(value: object) -> str:
    r"""A gold answer as text: numbers as written, several answers joined by commas, a solution by its `\boxed{}` or by
    what follows GSM8K's ####. Empty where there is none."""
    if isinstance(value, list):
        return ", ".join(gold_of(each) for each in value)
    text = _text(value)
    if GSM8K_MARK in text:
        return text.rpartition(GSM8K_MARK)[2].strip()
    return last_box(text) or text


def _gsm8k_gold(value: object) -> str:
    """What follows the last ####, else the whole text; separators of thousands dropped."""
    return _THOUSANDS.sub("", _text(value).rpartition(GSM8K_MARK)[2].strip())


def _boxed_gold(value: object) -> str:
    r"""The last box; a few of MATH's are written `\boxed 5`. Empty where there is none."""
    text = _text(value)
    bare = _BARE_BOX.findall(text)
    return last_box(text) or (bare[-1] if bare else "")


def _listed_gold(value: object) -> str:
    """OlympiadBench's `final_answer`: a list of formulas between dollar signs, often one that holds several answers."""
    parts = [_DOLLAR.sub("", _text(each)).strip().removesuffix(".") for each in _as_list(value)]
    return ", ".join(part for part in parts if part)


GOLD_RULES: Mapping[str, Callable[[object], str]] = {
    "auto": gold_of,
    "plain": lambda value: _text(value),
    "gsm8k": _gsm8k_gold,
    "boxed": _boxed_gold,
    "list": _listed_gold,
}


def _as_list(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def _first(row: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    return next((name for name in names if row.get(name) is not None), None)


def _text(value: object) -> str:
    """A field as text; '' for what is neither text nor a finite number. A conversation counts as its last user turn."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bool) or value is None:
        return ""
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            return ""
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, list):
        said = [turn.get("content") for turn in value if isinstance(turn, Mapping) and turn.get("role") == "user"]
        return said[-1].strip() if said and isinstance(said[-1], str) else ""
    return ""


def _verl_answer(row: Mapping[str, Any]) -> str:
    model = row.get("reward_model")
    return gold_of(model.get("ground_truth")) if isinstance(model, Mapping) else ""


def _verl_index(row: Mapping[str, Any]) -> str:
    """DAPO's own name of a problem. A number there counts rows of one preparation run and may come twice."""
    extra = row.get("extra_info")
    index = extra.get("index") if isinstance(extra, Mapping) and "reward_model" in row else None
    return index.strip() if isinstance(index, str) else ""


def _boxed_solution(row: Mapping[str, Any]) -> str:
    """MATH keeps the gold only in the box that ends the solution."""
    place = _first(row, SOLUTION_FIELDS)
    return "" if place is None else _boxed_gold(row[place])


def _alternatives(row: Mapping[str, Any], where: str) -> dict[str, str]:
    listed = row.get("alternatives")
    if listed is None:
        return {}
    if not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
        raise DataError("`alternatives` is not a list of texts", where=where)
    return {"alternatives": json.dumps(listed)} if listed else {}


def _facts(row: Mapping[str, Any]) -> dict[str, str]:
    """Unit and tolerance, in the spellings of OlympiadBench and of its copies."""
    unit = _text(row.get("unit"))
    place = _first(row, TOLERANCE_FIELDS)
    tolerance = "" if place is None else _text(row[place])
    return {name: value for name, value in (("unit", unit), ("tolerance", tolerance)) if value}
