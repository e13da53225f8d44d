"""Logs of several harnesses as entries to grade, and lines however they arrive."""

import io
import json
from contextlib import suppress
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hicra_cli.core.errors import UsageError
from hicra_cli.grading.log_layouts import LAYOUTS, NotGradable, Sample, layout_for, samples_of
from hicra_cli.grading.log_lines import RawLine, line_batches
from hicra_cli.grading.log_reader import Fault, LogReader


def read(path, **options):
    return [entry.content for batch in LogReader(path, **options).batches() for entry in batch]


def write(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def one(row, format_name="auto", **fields):
    (sample,) = samples_of(row, layout_for(row, format_name, fields))
    return sample


def test_our_own_lines():
    assert one({"id": 1, "gold": " 7 ", "response": "r", "correct": False}) == Sample(1, "r", ("7",), before=False)
    assert one({"gold": ["7", 8], "answer": "a"}) == Sample(None, "a", ("7", "8"), bare=True, listed=True)
    assert one({"gold": "7", "response": "r", "answer": "a", "finish_reason": "length"}).truncated
    assert one({"gold": "7", "response": "r", "finish_reason": "stop"}).text == "r"


def test_samples_of_an_evaluation():
    row = {
        "bench": "aime24", "question": "aime24/I-01", "sample": 3, "seed": 9, "prompt": "p", "num_tokens": 5,
        "finish_reason": "length", "text": "t", "reward": 1.0, "outcome": "correct", "answer": "204", "gold": "204",
    }  # fmt: skip
    expected = Sample("aime24/I-01", "t", ("204",), truncated=True, before=True, place={"bench": "aime24", "sample": 3})
    assert one(row) == one(row, "hicra") == expected


LM_EVAL = {
    "doc_id": 4, "doc": {"question": "q", "answer": "6*12=72\n#### 72"}, "target": "6*12=72\n#### 72",
    "arguments": {"gen_args_0": {"arg_0": "q", "arg_1": {"until": ["Question:"]}}}, "resps": [["a", "b"]],
    "filtered_resps": ["72"], "filter": "strict-match", "metrics": ["exact_match"], "doc_hash": "d",
    "prompt_hash": "p", "target_hash": "t", "exact_match": 1.0,
}  # fmt: skip


def test_a_log_of_lm_eval_has_an_entry_for_each_repeat():
    layout = layout_for(LM_EVAL, "auto", {})
    assert [(each.id, each.text, each.golds, each.before, each.place) for each in samples_of(LM_EVAL, layout)] == [
        (4, "a", ("72",), None, {"sample": 0}),
        (4, "b", ("72",), None, {"sample": 1}),
    ]
    assert one(LM_EVAL | {"resps": [["a"]]}).before is True
    assert one(LM_EVAL | {"resps": [["a"]], "target": "so $\\boxed{5}$."}).golds == ("5",)


def test_details_of_lighteval_are_read_from_parquet(tmp_path):
    rows: list[dict[str, Any]] = [
        {
            "doc": {"query": "q", "choices": ["1", "204"], "gold_index": 1, "id": "7", "task_name": "aime24"},
            "metric": {"extractive_match": 0},
            "model_response": {"text": ["x \\boxed{204}"], "truncated_tokens_count": 0},
        },
        {
            "doc": {"query": "q", "choices": ["A: so \\boxed{5}"], "gold_index": [0], "id": "8", "task_name": "aime24"},
            "metric": {"extractive_match": 1},
            "model_response": {"text": ["y", "z"], "truncated_tokens_count": 0},
        },
    ]
    rows[0]["doc"]["gold_index"] = [1]  # a column has one type; both spellings are read
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "details.parquet")
    first, second, third = read(tmp_path / "details.parquet")
    assert first == Sample("7", "x \\boxed{204}", ("204",), before=False)
    assert (second.golds, second.text, second.before, third.text) == (("5",), "y", None, "z")
    assert one({**rows[0], "doc": {**rows[0]["doc"], "gold_index": 1}}).golds == ("204",)


def test_older_details_of_lighteval():
    row = {"example": "q", "predictions": ["p"], "gold": ["204"], "metrics": {"qem": 1.0}, "truncated": [0]}
    assert one(row) == Sample(None, "p", ("204",), before=True)


def test_a_dump_of_verl():
    row = {"input": "q", "output": "o", "gts": "204", "score": -1.0, "step": 5, "acc": False}
    assert one(row) == Sample(None, "o", ("204",), before=False)
    assert one({"input": "q", "output": "o", "gts": "204", "score": 1.0}).before is True
    with pytest.raises(NotGradable, match="no gold"):
        one({"input": "q", "output": "o", "score": 1.0})
    assert one({"input": "q", "output": "o", "score": 1.0, "gt": "3"}, gold="gt").golds == ("3",)


def test_fields_can_be_named_in_any_log():
    row = {"uid": "u", "out": [{"text": "t"}], "a.b": "7"}
    assert one(row, id="uid", response="out.0.text", gold="a.b") == Sample("u", "t", ("7",))
    assert one({"gold": "7", "response": "r", "mine": "8"}, answer="mine") == Sample(None, "8", ("7",), bare=True)
    inspect_ai = {"id": 3, "epoch": 1, "target": "7", "output": {"choices": [{"message": {"content": "t"}}]}}
    assert one(inspect_ai, response="output.choices.0.message.content", gold="target") == Sample(3, "t", ("7",))
    with pytest.raises(UsageError, match="no role 'colour'"):
        layout_for(row, "auto", {"colour": "red"})


def test_the_first_record_decides_the_layout(tmp_path):
    path = write(tmp_path / "log.jsonl", "text", LM_EVAL, {"gold": "7", "response": "r"})
    assert [type(each) for each in read(path)] == [Fault, Sample, Sample, Fault]
    path = write(tmp_path / "log.jsonl", {"gold": "7", "response": "r"}, LM_EVAL)
    assert [type(each) for each in read(path)] == [Sample, Fault]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
KEYS = ["id", "gold", "response", "answer", "doc_id", "resps", "target", "metrics", "doc", "model_response", "metric",
        "predictions", "example", "input", "output", "score", "gts", "acc", "truncated", "bench", "question", "sample",
        "text", "finish_reason"]  # fmt: skip


@given(st.dictionaries(st.sampled_from(KEYS), JSON, max_size=8), st.sampled_from(list(LAYOUTS)))
def test_a_record_of_any_shape_is_samples_or_not_gradable(row, name):
    for layout in (LAYOUTS[name], layout_for(row, "auto", {})):
        with suppress(NotGradable):  # and nothing else
            assert samples_of(row, layout)


@given(st.lists(st.binary(max_size=12).map(lambda line: line.replace(b"\n", b"")), max_size=8), st.integers(1, 9))
def test_lines_are_the_same_however_they_arrive(content, size):
    data = b"".join(line + b"\n" for line in content)
    stream = io.BytesIO(data)
    found = [line for batch in line_batches(lambda _: stream.read(size), most=3) for line in batch]
    assert [line.number for line in found] == list(range(1, len(content) + 1))
    whole = [line for batch in line_batches(io.BytesIO(data).read, most=3) for line in batch]
    assert found == whole
    assert [line.content for line in found[1:]] == [line.removesuffix(b"\r") for line in content[1:]]


def test_a_line_that_is_too_long_is_passed_over_and_the_next_is_whole():
    stream = io.BytesIO(b"short\n" + b"x" * 100 + b"\nnext\nlast")
    (lines,) = [batch for batch in line_batches(lambda _: stream.read(1000), most=9, longest=10) if batch][:1]
    assert lines[0] == RawLine(1, b"short")
    assert "100 bytes" in lines[1].fault
    assert lines[2] == RawLine(3, b"next")


def test_a_source_that_breaks_ends_with_its_fault():
    parts = iter([b"one\ntwo", OSError("gone")])

    def read_part(_):
        part = next(parts)
        if isinstance(part, OSError):
            raise part
        return part

    batches = list(line_batches(read_part, most=9))
    assert batches[0] == [RawLine(1, b"one")]
    assert "gone" in batches[1][0].fault
