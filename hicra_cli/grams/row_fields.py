"""From a record of a user's file to a rollout: field names are the user's, faults are named with field and place."""

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from math import isnan
from typing import Any

from hicra_cli.config.collect import RolloutFields
from hicra_cli.core.errors import DataError
from hicra_cli.core.records import Outcome
from hicra_cli.grams.rollout_file import RolloutRow, whole_text

Samples = Counter[tuple[str, str | None, int | None]]
"""How many rollouts of each (problem, policy, step) were read before."""

_LARGEST_STEP = 2**63


def row_from_record(
    record: Mapping[str, Any], fields: RolloutFields, samples: Samples, *, where: str, known: Collection[str] = ()
) -> RolloutRow:
    """The rollout of one record; it is counted in `samples`. Raises DataError at `where`.

    known: the fields that the whole file has, where the record holds a part of them. `correct` true or false becomes
    outcome correct or wrong; null, or neither `correct` nor a gold answer, leaves the outcome None. Where a gold answer
    but no `correct` is given the outcome is None too, for the caller to grade.
    """
    reader = _Record(record, where, known or record.keys())
    response = reader.text(fields.response, needed=True)
    problem = reader.text(fields.problem, needed=fields.problem_id is None)
    prompt_id = reader.identity(fields.problem_id) if fields.problem_id else problem_id(problem or "")
    policy, step = reader.label(fields.policy, "policy"), reader.number(fields.step, "step")
    outcome, judged = reader.outcome(fields.correct)
    # A null in `correct` says that nobody knows: such a row is not graded behind its author's back.
    gold = None if judged else reader.label(fields.gold, "gold")
    samples[prompt_id, policy, step] += 1
    return RolloutRow(
        prompt_id=prompt_id,
        sample=samples[prompt_id, policy, step] - 1,
        text=response or "",
        problem=problem,
        gold=gold,
        reward=None if outcome is None else float(outcome is Outcome.CORRECT),
        outcome=outcome,
        policy=policy,
        step=step,
    )


def wanted_fields(fields: RolloutFields, known: Collection[str]) -> list[str]:
    """Which of a file's fields a rollout is made of, in the file's order; never none, so that each row is seen."""
    names = {name for name in fields.model_dump().values() if name}
    return [name for name in known if name in names] or list(known)[:1]


def problem_id(problem: str) -> str:
    """Names a problem by its text: equal texts, white space aside, are one problem."""
    return hashlib.blake2b(" ".join(problem.split()).encode(), digest_size=8).hexdigest()


class _Record:
    """The fields of one record.

    A field that is named otherwise than by default is one the user has told us of: it must be there. The default
    names of optional fields may be absent. A number that is none (NaN), which tables use for null, is null.
    """

    def __init__(self, record: Mapping[str, Any], where: str, known: Collection[str]) -> None:
        self._record = record
        self._where = where
        self._known = known

    def text(self, name: str, *, needed: bool) -> str | None:
        """A text; with `needed` it must be there."""
        if name not in self._record and not needed:
            return None
        value = self._get(name)
        if not isinstance(value, str):
            raise self._wrong(name, value, "a text")
        return whole_text(value)

    def identity(self, name: str) -> str:
        """A text or a whole number that names something."""
        value = self._get(name)
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            raise self._wrong(name, value, "a text or a number")
        return whole_text(str(value))

    def label(self, name: str | None, default: str) -> str | None:
        """An optional text or number; None where it is null or absent."""
        value = self._optional(name, default)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise self._wrong(str(name), value, "a text, a number or null")
        return whole_text(str(value))

    def number(self, name: str | None, default: str) -> int | None:
        """An optional whole number that 64 bits can hold."""
        value = self._optional(name, default)
        if value is None:
            return None
        whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        if isinstance(value, bool) or not whole or not -_LARGEST_STEP <= value < _LARGEST_STEP:
            raise self._wrong(str(name), value, "a whole number or null")
        return int(value)

    def outcome(self, name: str | None) -> tuple[Outcome | None, bool]:
        """What `correct` says, and whether the record has such a field at all."""
        if not name or (name not in self._record and name == _DEFAULTS["correct"]):
            return None, False
        value = self._get(name)
        if value is None:
            return None, True
        if value not in (True, False):
            raise self._wrong(name, value, "true, false or null")
        return (Outcome.CORRECT if value else Outcome.WRONG), True

    def _optional(self, name: str | None, field: str) -> Any:
        if not name or (name not in self._record and name == _DEFAULTS[field]):
            return None
        return self._get(name)

    def _get(self, name: str) -> Any:
        if name in self._record:
            value = self._record[name]
            return None if isinstance(value, float) and isnan(value) else value
        known = [str(each) for each in self._known]
        near = get_close_matches(name, known, n=1, cutoff=0.5) or known[:1]
        hint = f"Did you mean {near[0]!r}? " if near else ""
        raise DataError(
            f"field {name!r} is missing; found: {', '.join(known[:12]) or 'none'}",
            where=self._where,
            fix=f"{hint}Name the fields with --field, for example --field response=TEXT_FIELD",
        )

    def _wrong(self, name: str, value: Any, wanted: str) -> DataError:
        kind = "null" if value is None else type(value).__name__
        return DataError(f"field {name!r} is {kind}, {wanted} is needed", where=self._where)


_DEFAULTS = {name: field.default for name, field in RolloutFields.model_fields.items()}
