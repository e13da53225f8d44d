"""Reading a user's rollouts: field names, compression, and faults with file and line."""

import gzip
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from hicra_cli.config.collect import RolloutFields
from hicra_cli.core.errors import DataError
from hicra_cli.core.records import FinishReason, Outcome
from hicra_cli.grams.rollout_file import RolloutRow, read_rollouts, write_rollouts
from hicra_cli.grams.row_fields import Samples
from hicra_cli.grams.sources import problem_id, read_rows, source_files
from hicra_cli.grams.tables import parse_hub

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


def test_a_byte_order_mark_is_passed_over(tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(ROW).encode())
    assert [row.text for row in read_rows(path, RolloutFields())] == ["it is 2"]


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
        ('{"problem": "p", "response": "r", "step": Infinity}', "'step' is float"),
        ('{"problem": "p", "response": "r", "step": 10000000000000000000}', "'step' is int"),
        ('{"problem": "p", "response": null}', "'response' is null"),
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


def test_rollouts_can_be_read_without_their_arrays(tmp_path):
    write_rollouts(tmp_path / "a.parquet", [FULL])
    (row,) = read_rollouts(tmp_path / "a.parquet", with_tokens=False)
    assert (row.prompt_token_ids, row.token_ids, row.sampler_logprobs) == (None, None, None)
    assert (row.text, row.outcome, row.step) == (FULL.text, FULL.outcome, FULL.step)


@given(st.text(alphabet=st.characters(), max_size=20))
def test_any_text_can_be_written(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("any") / "r.parquet"
    write_rollouts(path, [RolloutRow("p", 0, text)])
    (back,) = read_rollouts(path)
    assert len(back.text) == len(text)


def test_a_parquet_of_something_else_is_refused_with_what_is_missing(tmp_path):
    pq.write_table(pa.table({"a": [1]}), tmp_path / "x.parquet")
    with pytest.raises(DataError, match="column 'prompt_id' is missing"):
        list(read_rollouts(tmp_path / "x.parquet"))
    (tmp_path / "y.parquet").write_bytes(b"PAR1 not")
    with pytest.raises(DataError, match="cannot be read"):
        list(read_rollouts(tmp_path / "y.parquet"))


def table(path, **columns):
    pq.write_table(pa.table(columns), path)
    return path


def test_parquet_with_any_columns_is_read_through_the_same_mapping(tmp_path):
    path = table(
        tmp_path / "x.parquet",
        id=pa.array([7, 8], pa.int32()), question=["q", "r"], answer=["so", "now"], ok=pa.array([1, None], pa.int8()),
        step=[10.0, float("nan")], tokens=[[1, 2], [3]],
    )  # fmt: skip
    fields = RolloutFields(problem_id="id", problem="question", response="answer", correct="ok")
    first, second = read_rows(path, fields)
    assert (first.prompt_id, first.problem, first.text, first.outcome, first.step) == (
        "7",
        "q",
        "so",
        Outcome.CORRECT,
        10,
    )
    assert (second.outcome, second.step, second.policy) == (None, None, None)


def test_a_parquet_without_the_response_names_the_columns_it_has(tmp_path):
    path = table(tmp_path / "x.parquet", problem=["p"], answers=["so"], other=[1])
    with pytest.raises(DataError, match=r"'response' is missing; found: problem, answers, other") as failure:
        list(read_rows(path, RolloutFields()))
    assert failure.value.where == f"{path}, row 0"
    with pytest.raises(DataError, match="'response' is missing; found: unrelated"):
        list(read_rows(table(tmp_path / "y.parquet", unrelated=[1]), RolloutFields()))


def test_a_wrong_type_in_parquet_is_named_with_its_row(tmp_path):
    path = table(tmp_path / "x.parquet", problem=["p", "p"], response=["a", "b"], step=[1.0, 1.5])
    with pytest.raises(DataError, match="'step' is float") as failure:
        list(read_rows(path, RolloutFields()))
    assert failure.value.where == f"{path}, row 1"


def test_bytes_that_are_no_utf8_in_parquet_are_named(tmp_path):
    broken = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(np.array([0, 2], np.int32).tobytes()), pa.py_buffer(b"\xff\xfe")]
    )
    path = table(tmp_path / "x.parquet", problem=["p"], response=broken)
    with pytest.raises(DataError, match="UTF-8") as failure:
        list(read_rows(path, RolloutFields()))
    assert str(path) in str(failure.value.where)


def test_a_column_of_a_rollouts_file_can_be_mapped_by_hand(tmp_path):
    write_rollouts(tmp_path / "r.parquet", [FULL])
    fields = RolloutFields(response="text", problem_id="prompt_id", correct="")
    (row,) = read_rows(tmp_path / "r.parquet", fields)
    assert (row.prompt_id, row.text, row.outcome, row.gold, row.sample) == ("p1", "so let me", None, "2", 0)


def test_samples_are_numbered_on_from_file_to_file(tmp_path):
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).write_text(json.dumps(ROW) + "\n")
    samples: Samples = Counter()
    assert [
        row.sample for name in ("a.jsonl", "b.jsonl") for row in read_rows(tmp_path / name, RolloutFields(), samples)
    ] == [0, 1]


def test_a_folder_is_its_rollout_files_in_the_order_of_their_paths(tmp_path):
    for name in ("b.jsonl", "a/z.parquet", "a/y.jsonl.gz", "c.ndjson.zst", "notes.txt", ".hidden/x.jsonl", ".y.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    names = [each.relative_to(tmp_path).as_posix() for each in source_files(tmp_path)]
    assert names == ["a/y.jsonl.gz", "a/z.parquet", "b.jsonl", "c.ndjson.zst"]
    assert source_files(tmp_path / "notes.txt") == [tmp_path / "notes.txt"]


def test_a_folder_without_rollouts_says_what_it_was_searched_for(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DataError, match=r"no rollouts.*\.jsonl\.zst"):
        source_files(tmp_path)


def test_a_saved_data_set_is_read_with_its_columns(tmp_path):
    rows = [{**ROW, "extra": [at]} for at in range(3)]
    datasets.Dataset.from_list(rows).save_to_disk(str(tmp_path / "set"))
    assert source_files(tmp_path / "set") == [tmp_path / "set"]
    assert [row.sample for row in read_rows(tmp_path / "set", RolloutFields())] == [0, 1, 2]
    with pytest.raises(DataError, match=r"'answer' is missing; found: .*extra") as failure:
        list(read_rows(tmp_path / "set", RolloutFields(response="answer")))
    assert failure.value.where == f"{tmp_path / 'set'}, row 0"


def test_a_saved_data_set_with_splits_asks_for_one_and_a_damaged_one_is_named(tmp_path):
    part = datasets.Dataset.from_list([ROW])
    datasets.DatasetDict({"test": part, "train": part}).save_to_disk(str(tmp_path / "set"))
    with pytest.raises(DataError, match=r"splits: test, train.*set/test"):
        list(read_rows(tmp_path / "set", RolloutFields()))
    assert len(list(read_rows(tmp_path / "set" / "train", RolloutFields()))) == 1
    for path in (tmp_path / "set" / "train").glob("*.arrow"):
        path.write_bytes(b"no arrow")
    with pytest.raises(DataError, match="cannot be read") as failure:
        list(read_rows(tmp_path / "set" / "train", RolloutFields()))
    assert failure.value.where == str(tmp_path / "set" / "train")


@pytest.mark.parametrize(
    ("reference", "parts"),
    [
        ("hf:owner/name", ("owner/name", None, None, "train")),
        ("hf:owner/na.me-x@v1.0:test", ("owner/na.me-x", None, "v1.0", "test")),
        ("hf:owner/name/main:train[:100]", ("owner/name", "main", None, "train[:100]")),
        ("hf:owner/name@refs/pr/1", ("owner/name", None, "refs/pr/1", "train")),
    ],
)
def test_a_hub_reference_is_taken_apart(reference, parts):
    found = parse_hub(reference)
    assert (found.name, found.subset, found.revision, found.split) == parts


@pytest.mark.parametrize("reference", ["hf:", "hf:name", "hf:/x", "hf:owner/", "hf:../etc/passwd/x/y"])
def test_what_names_no_data_set_is_refused(reference):
    with pytest.raises(DataError, match="names no data set"):
        parse_hub(reference)


OFFLINE = """
import sys
from pathlib import Path
from hicra_cli.config.collect import RolloutFields
from hicra_cli.core.errors import HicraError
from hicra_cli.grams.sources import read_rows
try:
    print([row.text for row in read_rows(Path(sys.argv[1]), RolloutFields())])
except HicraError as error:
    print(error.exit_code, error)
"""


def offline(cache: Path, reference: str) -> str:
    """What a fresh process without the hub reads, with `cache` as the place of loaded data sets."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(cache), "HF_DATASETS_CACHE": str(cache)}
    command = [sys.executable, "-c", OFFLINE, reference]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=120).stdout


def test_a_data_set_that_cannot_be_reached_is_one_clear_line(tmp_path):
    (line,) = offline(tmp_path, "hf:nobody/nothing").splitlines()
    assert line.startswith("3 hf:nobody/nothing: the data set cannot be loaded: ")
    assert "offline" in line


def test_a_data_set_of_the_hub_is_read_from_the_local_cache(tmp_path):
    # What loading from the hub leaves behind, made by the library's own builder from a local file.
    file = table(tmp_path / "data.parquet", problem=["p", "q"], response=["so", "now"])
    datasets.load_dataset("parquet", data_files={"train": str(file)}, cache_dir=str(tmp_path / "cache"))
    (built,) = (tmp_path / "cache" / "parquet").glob("*/*/*/dataset_info.json")
    place = tmp_path / "cache" / "someone___things" / "default" / "0.0.0" / ("0" * 40)
    place.parent.mkdir(parents=True)
    built.parent.rename(place)
    for path in place.glob("parquet-*"):
        path.rename(path.with_name(path.name.replace("parquet-", "things-")))
    assert offline(tmp_path / "cache", "hf:someone/things") == "['so', 'now']\n"
    assert "3 hf:someone/things:test: the data set cannot be loaded: " in offline(
        tmp_path / "cache", "hf:someone/things:test"
    )


@pytest.mark.slow
def test_every_real_rollout_file_is_read(rollouts_dir):
    for path in sorted(rollouts_dir.glob("*.jsonl.gz")):
        assert sum(1 for _ in read_rows(path, RolloutFields())) > 0, path.name
