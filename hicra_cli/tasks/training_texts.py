"""The problems of training data as they come: every row of every source, for checks that need no gold answer.

Any layout that training accepts, and conversations (`messages`, `conversations`): what users say is the problem.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from hicra_cli.config.task import TaskConfig
from hicra_cli.core.errors import ConfigError
from hicra_cli.tasks.instructions import without_instructions
from hicra_cli.tasks.overlap import TrainingText
from hicra_cli.tasks.problems import ID_FIELDS, PROBLEM_FIELDS
from hicra_cli.tasks.sources import source_rows

TEXT_FIELDS = (*PROBLEM_FIELDS, "query", "instruction", "messages", "conversations", "text")
USERS = ("user", "human")


def training_texts(source: str, task: TaskConfig, *, named_by: str) -> Iterator[TrainingText]:
    """One per row, with an empty text where the row has no problem. `named_by` is the option that named the source.

    Raises ConfigError for what names no source, DataError for malformed data, ServiceError where the hub is needed and
    cannot be reached.
    """
    fields = TEXT_FIELDS if task.problem_field == PROBLEM_FIELDS[0] else (task.problem_field,)
    try:
        rows = source_rows(source, split=task.split)
    except ConfigError as error:
        raise ConfigError(error.what, where=named_by, fix=error.fix) from error
    for place, row in rows:
        yield TrainingText(place, without_instructions(_problem(row, fields)), _id(row, task))


def _problem(row: Mapping[str, Any], fields: tuple[str, ...]) -> str:
    return next((text for name in fields if (text := _written(row.get(name)))), "")


def _written(value: object) -> str:
    """A text, or what users say in a conversation."""
    if isinstance(value, str):
        return value.strip()
    if not isinstance(value, list):
        return ""
    turns = [each for each in value if isinstance(each, Mapping) and each.get("role", each.get("from")) in USERS]
    said = [each.get("content", each.get("value")) for each in turns]
    return "\n".join(each.strip() for each in said if isinstance(each, str))


def _id(row: Mapping[str, Any], task: TaskConfig) -> str:
    names = (task.id_field, *ID_FIELDS) if task.id_field else ()
    found = next((row[name] for name in names if row.get(name) is not None), "")
    return str(found) if isinstance(found, (str, int)) else ""
