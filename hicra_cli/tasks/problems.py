"""From a row of a data set to a prompt with its gold answer. Every fault names the row's place."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from hicra_cli.core.errors import DataError
from hicra_cli.core.records import Prompt
from hicra_cli.grading.boxed import last_box

PROBLEM_FIELDS = ("problem", "question", "Problem", "prompt")
ANSWER_FIELDS = ("answer", "final_answer", "Answer", "gold", "ground_truth")
ID_FIELDS = ("id", "unique_id", "ID", "problem_idx")
GSM8K_MARK = "####"


def prompts_from(
    rows: Iterable[tuple[str, Mapping[str, Any]]],
    *,
    prefix: str,
    problem_fields: tuple[str, ...] = PROBLEM_FIELDS,
    answer_fields: tuple[str, ...] = ANSWER_FIELDS,
    id_fields: tuple[str, ...] = ID_FIELDS,
) -> list[Prompt]:
    """One prompt per (place, row), in order. Of several field names the first one a row has counts.

    A row without an id gets `prefix/number`, counted from 0. Rows in verl's layout (`prompt` as messages,
    `reward_model.ground_truth`) are read too. Raises DataError for a row without problem or answer, or a second row of
    the same id: ids name samples.
    """
    prompts: list[Prompt] = []
    places: dict[str, str] = {}
    for number, (where, row) in enumerate(rows):
        problem = _text(_first(row, problem_fields))
        if not problem:
            raise DataError(f"the row has no problem (looked for {', '.join(problem_fields)})", where=where)
        gold = gold_of(_first(row, answer_fields) if _has(row, answer_fields) else _verl_answer(row))
        if not gold:
            raise DataError(
                f"the row has no answer (looked for {', '.join(answer_fields)})",
                where=where,
                fix="Every problem needs a gold answer to be graded against",
            )
        name = _text(_first(row, id_fields)) or f"{prefix}/{number:05d}"
        if name in places:
            raise DataError(f"the id {name!r} was used already at {places[name]}", where=where, fix="Make ids unique")
        places[name] = where
        prompts.append(Prompt(name, problem, gold, _alternatives(row, where)))
    return prompts


def golds(prompt: Prompt) -> tuple[str, ...]:
    """The gold answer and its alternatives: one match suffices."""
    listed = prompt.metadata.get("alternatives")
    return (prompt.answer, *json.loads(listed)) if listed else (prompt.answer,)


def gold_of(value: object) -> str:
    r"""A gold answer as text: numbers as written, several answers joined by commas, a solution by its `\boxed{}` or by
    what follows GSM8K's ####. Empty where there is none."""
    if isinstance(value, list):
        return ", ".join(gold_of(each) for each in value)
    text = _text(value)
    if GSM8K_MARK in text:
        return text.rpartition(GSM8K_MARK)[2].strip()
    return last_box(text) or text


def _first(row: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((row[name] for name in names if row.get(name) is not None), None)


def _has(row: Mapping[str, Any], names: tuple[str, ...]) -> bool:
    return _first(row, names) is not None


def _text(value: object) -> str:
    """A field as text; '' for what is neither text nor a number. A conversation counts as its last user turn."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bool) or value is None:
        return ""
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, list):
        said = [turn.get("content") for turn in value if isinstance(turn, Mapping) and turn.get("role") == "user"]
        return said[-1].strip() if said and isinstance(said[-1], str) else ""
    return ""


def _verl_answer(row: Mapping[str, Any]) -> object:
    model = row.get("reward_model")
    return model.get("ground_truth") if isinstance(model, Mapping) else None


def _alternatives(row: Mapping[str, Any], where: str) -> dict[str, str]:
    listed = row.get("alternatives")
    if listed is None:
        return {}
    if not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
        raise DataError("`alternatives` is not a list of texts", where=where)
    return {"alternatives": json.dumps(listed)} if listed else {}
