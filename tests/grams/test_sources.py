"""Reading a user's rollouts: field names, compression, and faults with file and line."""

import gzip
import json

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from hicra_cli.config.collect import RolloutFields
from hicra_cli.core.errors import DataError
from hicra_cli.core.records import FinishReason, Outcome
from hicra_cli.grams.rollout_file import RolloutRow, read_rollouts, write_rollouts
from hicra_cli.grams.sources import problem_id, read_rows

ROW = {"problem": "1+1?", "response": "it is 2", "correct": True, "gold": "2", "model": "m", "step": 4}


def read(tmp_path, *rows, name="rollouts.jsonl", **fields) -> list[RolloutRow]:
    path = tmp_path / name
    text = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows).encode()
    if name.endswith(".gz"):
        text = gzip.compress(text)
    if name.endswith(".zst"):
        text = zstandard.compress(text)
    path.write_bytes(text)
    return list(read_rows(path, RolloutFields(**fields)))


def test_the_default_fields_are_read(tmp_path):
    (row,) = read(tmp_path, ROW)
    assert (row.problem, row.text, row.policy, row.step, row.sample) == ("1+1?", "it is 2", "m", 4, 0)
    assert (row.outcome, row.reward, row.is_correct) == (Outcome.CORRECT, 1.0, True)
    assert row.prompt_id == problem_id(" 1+1?\n")


@pytest.mark.parametrize("name", ["r.jsonl", "r.jsonl.gz", "r.jsonl.zst"])
def test_compressed_files_are_read(tmp_path, name):
    assert len(read(tmp_path, ROW, ROW, name=name)) == 2


def test_own_field_names_are_mapped(tmp_path):
    row = {"question": "q", "text": "so", "ok": False, "id": 17, "who": "me"}
    names = {"problem_id": "id", "problem": "question", "response": "text", "correct": "ok", "policy": "who"}
    (found,) = read(tmp_path, row, **names)
    assert (found.prompt_id, found.problem, found.outcome, found.policy, found.step) == (
        "17",
        "q",
        Outcome.WRONG,
        "me",
        None,
    )


def test_equal_problems_are_one_problem_and_their_samples_are_numbered(tmp_path):
    rows = read(tmp_path, ROW, {**ROW, "response": "other"}, {**ROW, "step": 8}, {**ROW, "problem": "1 + 1?"})
    assert [row.sample for row in rows] == [0, 1, 0, 0]
    assert len({row.prompt_id for row in rows}) == 2


def test_unknown_correctness_stays_unknown_and_absent_correctness_leaves_the_gold_to_be_graded(tmp_path):
    unknown, absent = read(tmp_path, {**ROW, "correct": None}, {k: v for k, v in ROW.items() if k != "correct"})
    assert (unknown.outcome, unknown.gold) == (None, None)
    assert (absent.outcome, absent.gold) == (None, "2")
    (ignored,) = read(tmp_path, ROW, correct="")
    assert (ignored.outcome, ignored.gold) == (None, "2")


def test_lines_end_at_line_feeds_only(tmp_path):
    (row,) = read(tmp_path, json.dumps({**ROW, "response": "a\u2028b\x85c"}, ensure_ascii=False))
    assert row.text == "a\u2028b\x85c"


def test_half_a_surrogate_pair_is_replaced(tmp_path):
    (row,) = read(tmp_path, '{"problem": "p", "response": "a\\ud800b \\ud83d\\ude00", "correct": true}')
    assert row.text == "a\ufffdb 😀"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "no JSON"),
        ("[]", "a JSON object is needed"),
        ('{"problem": "p"}', "'response' is missing"),
        ('{"response": "r"}', "'problem' is missing"),
        ('{"problem": "p", "response": 3}', "'response' is int"),
        ('{"problem": "p", "response": "r", "correct": "yes"}', "'correct' is str"),
        ('{"problem": "p", "response": "r", "step": 1.5}', "'step' is float"),
        ('{"problem": "p", "response": "r", "step": true}', "'step' is bool"),
        ('{"problem": "p", "response": "r", "model": []}', "'model' is list"),
        ("[" * 100_000, "JSON"),
    ],
)
def test_a_malformed_line_is_named_with_file_and_number(tmp_path, line, message):
    with pytest.raises(DataError, match=message) as failure:
        read(tmp_path, ROW, line)
    assert failure.value.where == f"{tmp_path / 'rollouts.jsonl'}:2"


def test_a_missing_field_names_the_nearest_existing_one(tmp_path):
    with pytest.raises(DataError, match=r"'respons' is missing.*Did you mean 'response'") as failure:
        read(tmp_path, ROW, response="respons")
    assert "--field" in str(failure.value)


def test_an_optional_field_under_another_name_must_be_there(tmp_path):
    with pytest.raises(DataError, match="'modell' is missing"):
        read(tmp_path, ROW, policy="modell")


def test_bytes_that_are_no_utf8_and_cut_archives_are_named(tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_bytes(json.dumps(ROW).encode() + b"\n\xff\n")
    with pytest.raises(DataError, match="not UTF-8") as failure:
        list(read_rows(path, RolloutFields()))
    assert failure.value.where == f"{path}:2"
    for name, data in (
        ("r.jsonl.gz", gzip.compress(b"{}\n" * 9999)),
        ("x.jsonl.gz", b"no gzip"),
        ("y.jsonl.zst", b"no"),
    ):
        cut = tmp_path / name
        cut.write_bytes(data[:20])
        with pytest.raises(DataError, match=name):
            list(read_rows(cut, RolloutFields()))


def test_a_missing_file_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match="No such file"):
        list(read_rows(tmp_path / "none.jsonl", RolloutFields()))


FULL = RolloutRow(
    "p1", 2, "so let me", "1+1?", "2", 1.0, Outcome.CORRECT, FinishReason.STOP, "policy:x@v1", 40,
    np.array([1, 2], np.int32), np.array([3], np.int32), np.array([-0.1], np.float32),
)  # fmt: skip


def same(first: RolloutRow, second: RolloutRow) -> bool:
    return all(np.array_equal(getattr(first, name), getattr(second, name)) for name in RolloutRow.__dataclass_fields__)


def test_rollouts_are_read_back_as_written_and_equal_rows_are_equal_bytes(tmp_path):
    rows = [FULL, RolloutRow("p2", 0, "")]
    for name in ("a.parquet", "b.parquet"):
        assert write_rollouts(tmp_path / name, rows) == 2
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    back = list(read_rows(tmp_path / "a.parquet", RolloutFields()))
    assert all(same(*pair) for pair in zip(rows, back, strict=True))


@given(st.text(alphabet=st.characters(), max_size=20))
def test_any_text_can_be_written(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("any") / "r.parquet"
    write_rollouts(path, [RolloutRow("p", 0, text)])
    (back,) = read_rollouts(path)
    assert len(back.text) == len(text)


def test_a_parquet_of_something_else_is_refused_with_what_is_missing(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"a": [1]}), tmp_path / "x.parquet")
    with pytest.raises(DataError, match="column 'prompt_id' is missing"):
        list(read_rollouts(tmp_path / "x.parquet"))
    (tmp_path / "y.parquet").write_bytes(b"PAR1 not")
    with pytest.raises(DataError, match="cannot be read"):
        list(read_rollouts(tmp_path / "y.parquet"))


@pytest.mark.slow
def test_every_real_rollout_file_is_read(rollouts_dir):
    for path in sorted(rollouts_dir.glob("*.jsonl.gz")):
        assert sum(1 for _ in read_rows(path, RolloutFields())) > 0, path.name
