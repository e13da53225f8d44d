"""From one record of a log to what is graded: which field is the response, which the gold, for each known harness.

| layout    | response                            | gold                            | earlier verdict             |
| hicra     | `response`, or `answer` alone       | `gold` (a list: alternatives)   | `correct`, `reward`         |
| samples   | `text` (samples.jsonl of `eval`)    | `gold`                          | `reward`                    |
| lm-eval   | every text in `resps`               | `target`                        | the first of `metrics`      |
| lighteval | every text in `model_response.text` | `doc.choices` at `doc.gold_index` | the first of `metric`     |
|           | before 0.11: `predictions`          | `gold`                          | the first of `metrics`      |
| verl      | `output`                            | `gts`                           | `acc`, `score`              |

Harness golds that are whole solutions count as GSM8K's `####` or their last box say. Looked up in the sources of
lm-evaluation-harness (evaluator.py, evaluation_tracker.py), lighteval (info_loggers.py, model_output.py) and verl
(ray_trainer.py), 2026-11.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hicra_cli.core.errors import UsageError
from hicra_cli.grading.boxed import last_box

ROLES = ("id", "response", "answer", "gold", "truncated", "verdict")
FORMATS = ("auto", "hicra", "lm-eval", "lighteval", "verl")

Row = Mapping[str, Any]
Id = str | int | float | None


class NotGradable(ValueError):
    """Why a record cannot be graded, in its text."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What is graded. bare: `text` is an answer, not a response. listed: the gold came as a list of alternatives.

    before: the verdict that the log itself holds, where it does. place: more that names it (`sample`, `bench`).
    """

    id: Id
    text: str
    golds: tuple[str, ...]
    bare: bool = False
    listed: bool = False
    truncated: bool = False
    before: bool | None = None
    place: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths of each role, the first that a record has counts; `a.b.0` goes into objects and lists.

    solutions: golds may be whole solutions.
    """

    name: str
    id: tuple[str, ...] = ("id",)
    response: tuple[str, ...] = ("response",)
    answer: tuple[str, ...] = ()
    gold: tuple[str, ...] = ("gold",)
    truncated: tuple[str, ...] = ("truncated", "finish_reason")
    verdict: tuple[str, ...] = ("correct", "reward")
    solutions: bool = False


LAYOUTS = {
    each.name: each
    for each in (
        Layout("hicra", answer=("answer",)),
        Layout("samples", response=("text",), verdict=("reward",)),
        Layout(
            "lm-eval", ("doc_id",), ("resps",), gold=("target",), truncated=(), verdict=("metrics",), solutions=True,
        ),
        Layout(
            "lighteval", ("doc.id", "id"), ("model_response.text", "predictions"), gold=("doc.choices", "gold"),
            truncated=(), verdict=("metric", "metrics"), solutions=True,
        ),
        Layout(
            "verl", ("uid", "id"), ("output",), gold=("gts", "ground_truth"), verdict=("acc", "score"), solutions=True,
        ),
    )
}  # fmt: skip


def layout_for(row: Row, format_name: str, fields: Mapping[str, str]) -> Layout:
    """The layout that `row` shows, or the named one; `fields` replaces paths. Raises UsageError for an unknown role."""
    unknown = sorted(set(fields) - set(ROLES))
    if unknown:
        raise UsageError(f"--fields: there is no role {unknown[0]!r}", fix=f"Known: {', '.join(ROLES)}")
    name = format_name if format_name not in ("auto", "hicra") else _recognised(row, own=format_name == "hicra")
    changes: dict[str, Any] = {role: (path,) for role, path in fields.items()}
    if "answer" in fields and "response" not in fields:
        changes["response"] = ()
    return replace(LAYOUTS[name], **changes)


def samples_of(row: Row, layout: Layout) -> list[Sample]:
    """The samples of one record, at least one: a record of several responses has several. Raises NotGradable."""
    identity = _identity(row, layout)
    golds, listed = _golds(row, layout)
    texts, bare = _texts(row, layout)
    cut = _truncated(row, layout)
    before = _verdicts(row, layout, len(texts))
    places: Sequence[Mapping[str, Any]] = [{"sample": number} for number in range(len(texts))]
    if len(texts) == 1:
        places = [{name: row[name] for name in ("bench", "sample") if name in row} if layout.name == "samples" else {}]
    return [
        Sample(identity, text, golds, bare, listed, cut, verdict, place)
        for text, verdict, place in zip(texts, before, places, strict=True)
    ]


def identity_of(row: object, layout: Layout | None) -> Id:
    """The id of a record that cannot be graded, None where it has none that is a text or number."""
    try:
        return _identity(row, layout or LAYOUTS["hicra"]) if isinstance(row, Mapping) else None
    except NotGradable:
        return None


def _recognised(row: Row, *, own: bool) -> str:
    if {"bench", "question", "sample", "text"} <= row.keys():
        return "samples"
    if own:
        return "hicra"
    if {"doc_id", "resps"} <= row.keys():
        return "lm-eval"
    if "model_response" in row or {"predictions", "example"} <= row.keys():
        return "lighteval"
    if {"input", "output", "score"} <= row.keys():
        return "verl"
    return "hicra"


def _identity(row: Row, layout: Layout) -> Id:
    if layout.name == "samples" and layout.id == ("id",):
        question = row.get("question")
        return question if isinstance(question, str) else None
    value = _first(row, layout.id)
    if isinstance(value, bool) or not isinstance(value, str | int | float | None):
        raise NotGradable(f"the id is {_kind(value)}, not a text or a number")
    if isinstance(value, float) and not math.isfinite(value):
        raise NotGradable("the id is not a finite number")
    return value


def _golds(row: Row, layout: Layout) -> tuple[tuple[str, ...], bool]:
    value = _first(row, layout.gold)
    if layout.name == "lighteval" and isinstance(doc := row.get("doc"), Mapping) and layout.gold[0] == "doc.choices":
        value = _chosen(value, doc.get("gold_index"))
    if value is None:
        raise NotGradable(f"there is no gold (looked for {', '.join(layout.gold)})")
    listed = isinstance(value, list)
    golds = tuple(_gold_text(each, layout) for each in (value if listed else [value]))
    if not golds:
        raise NotGradable("gold is an empty list")
    return golds, listed and layout.name in ("hicra", "samples")


def _chosen(choices: object, index: object) -> object:
    """lighteval: the gold choice, or several."""
    if not isinstance(choices, list):
        return choices
    indices = index if isinstance(index, list) else [index]
    return [choices[each] for each in indices if isinstance(each, int) and 0 <= each < len(choices)] or None


def _gold_text(value: object, layout: Layout) -> str:
    text = _written(value, "gold").strip()
    if layout.solutions:
        text = text.rpartition("####")[2].strip() if "####" in text else last_box(text) or text
    if not text:
        raise NotGradable("gold is empty")
    return text


def _texts(row: Row, layout: Layout) -> tuple[list[str], bool]:
    """The responses, or the bare answer; and which of both."""
    response = _first(row, layout.response)
    if response is not None:
        texts = list(_flat(response)) if isinstance(response, list) else [_response_text(response)]
        if not texts:
            raise NotGradable("the list of responses is empty")
        return texts, False
    answer = _first(row, layout.answer)
    if answer is None:
        null = next((path for path in (*layout.response, *layout.answer) if path in row), None)
        if null is not None:
            raise NotGradable(f"{null} is null")
        raise NotGradable(f"there is no response (looked for {', '.join([*layout.response, *layout.answer])})")
    return [_written(answer, "answer")], True


def _flat(value: list[Any], depth: int = 0) -> list[str]:
    """lm-eval's `resps`: a list of requests, each a list of repeats."""
    if depth > 4:
        raise NotGradable("the responses are nested too deeply")
    return [
        text
        for each in value
        for text in (_flat(each, depth + 1) if isinstance(each, list) else [_response_text(each)])
    ]


def _response_text(value: object) -> str:
    if not isinstance(value, str):
        raise NotGradable(f"the response is {_kind(value)}, not a text")
    return value


def _written(value: object, role: str) -> str:
    """A text, or a number as it is written in the log."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise NotGradable(f"{role} is {_kind(value)}, not a text or a number")
    text = getattr(value, "written", None) or str(value)
    if isinstance(value, float) and not math.isfinite(value) and not text[-1:].isdigit():
        raise NotGradable(f"{role} is not a finite number")
    return str(text)


def _truncated(row: Row, layout: Layout) -> bool:
    value = _first(row, layout.truncated)
    if value is None or isinstance(value, bool):
        return bool(value)
    if isinstance(value, str):
        return value == "length"
    raise NotGradable(f"{layout.truncated[0]} is {_kind(value)}, not true or false")


def _verdicts(row: Row, layout: Layout, count: int) -> list[bool | None]:
    """What the log says of each response; None where it says nothing that belongs to one response."""
    value = _first(row, layout.verdict)
    if layout.name == "lm-eval" and isinstance(value, list):
        value = next((row[name] for name in value if isinstance(name, str) and name in row), None)
    if layout.name == "lighteval" and isinstance(value, Mapping):
        value = next(iter(value.values()), None)
    if isinstance(value, list):
        return [_as_verdict(each) for each in value] if len(value) == count else [None] * count
    return [_as_verdict(value)] if count == 1 else [None] * count


def _as_verdict(value: object) -> bool | None:
    if isinstance(value, bool):
        return value
    return value > 0.5 if isinstance(value, int | float) and math.isfinite(value) else None


def _first(row: Row, paths: Sequence[str]) -> Any:
    for path in paths:
        value = _at(row, path)
        if value is not None:
            return value
    return None


def _at(row: Any, path: str) -> Any:
    """The value at a path; a field whose own name holds dots counts first."""
    if isinstance(row, dict) and (path in row or "." not in path):
        return row.get(path)
    for part in path.split("."):
        if isinstance(row, dict):
            row = row.get(part)
        elif isinstance(row, list) and part.isdecimal() and int(part) < len(row):
            row = row[int(part)]
        else:
            return None
    return row


def _kind(value: object) -> str:
    names = {
        bool: "true or false",
        type(None): "null",
        list: "a list",
        dict: "an object",
        int: "a number",
        str: "a text",
    }
    return names.get(type(value), "a number" if isinstance(value, float) else type(value).__name__)
