"""Benchmarks: where they are found, what a malformed or another one says, and what the shipped ones are."""

import gzip
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset, DatasetDict

from hicra_cli.core.errors import ConfigError, DataError
from hicra_cli.tasks.benchmark_rows import known_rows, parsed, row_lines
from hicra_cli.tasks.benchmark_specs import known_names, known_spec
from hicra_cli.tasks.benchmarks import expand, load_benchmark
from hicra_cli.tasks.problems import gold_of, golds

ROWS: list[dict[str, Any]] = [
    {"id": "a", "problem": "1 + 1?", "answer": "2"},
    {"id": "b", "problem": "2 + 2?", "answer": 4},
]


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def test_a_known_name_is_found_in_the_data_folder_or_its_bench(tmp_path):
    write(tmp_path / "bench" / "aime24.jsonl", ROWS)
    bench = load_benchmark("aime24", data_dir=tmp_path, accept_other_data=True)
    assert [(each.id, each.text, each.answer) for each in bench.prompts] == [("a", "1 + 1?", "2"), ("b", "2 + 2?", "4")]
    assert (bench.default_samples, bench.revision) == (32, None)
    write(tmp_path / "aime24.jsonl", ROWS[:1])
    assert len(load_benchmark("aime24", data_dir=tmp_path, accept_other_data=True).prompts) == 1


def test_a_known_name_over_other_questions_is_refused_or_told(tmp_path):
    path = write(tmp_path / "bench" / "aime24.jsonl", ROWS)
    with pytest.raises(DataError, match="2 questions, the published set has 30") as failure:
        load_benchmark("aime24", data_dir=tmp_path, limit=1)
    assert failure.value.where == str(path)
    assert "eval.accept_other_data" in (failure.value.fix or "")
    # 2 and 4 are golds of no question of AIME 2024, so both rows are strangers
    assert "2 questions (a, b) of another set or with another gold" in failure.value.what
    bench = load_benchmark("aime24", data_dir=tmp_path, accept_other_data=True)
    assert len(bench.warnings) == 3  # count, strangers, what is missing
    assert all(str(path) in warning for warning in bench.warnings)


def test_a_file_is_a_benchmark_too_compressed_or_not(tmp_path):
    path = write(tmp_path / "My Questions.v2.jsonl", ROWS)
    packed = tmp_path / "packed.jsonl.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    bench = load_benchmark(str(path), data_dir=None)
    assert (bench.name, bench.label, bench.default_samples) == ("my-questions.v2", path.name, 1)
    assert load_benchmark(str(packed), data_dir=None).prompts == bench.prompts


@pytest.mark.parametrize("kind", ["parquet", "folder", "saved"])
def test_parquet_and_folders_are_benchmarks_with_the_users_field_names(tmp_path, kind, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    rows = [{"q": "1 + 1?", "worked": r"It is $\\boxed{2}$.", "key": "a"}]
    place = tmp_path / ("My Set.parquet" if kind == "parquet" else "My Set")
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), place)
    elif kind == "folder":
        place.mkdir()
        pq.write_table(pa.Table.from_pylist(rows), place / "test.parquet")
    else:
        DatasetDict(test=Dataset.from_list(rows)).save_to_disk(str(place))
    fields = {"problem": "q", "answer": "worked", "id": "key", "gold": "boxed"}
    bench = load_benchmark(str(place), data_dir=None, fields=fields, split="test")
    assert bench.name == "my-set"
    assert [(each.id, each.text, each.answer) for each in bench.prompts] == [("a", "1 + 1?", "2")]


def test_a_missing_split_of_a_folder_names_the_setting(tmp_path):
    DatasetDict(dev=Dataset.from_list(ROWS[:1])).save_to_disk(str(tmp_path / "saved"))
    with pytest.raises(DataError, match="no split 'test'") as failure:
        load_benchmark(str(tmp_path / "saved"), data_dir=None)
    assert failure.value.fix == "Set eval.split to one of dev"


@pytest.mark.parametrize(
    ("fields", "what"),
    [({"question": "q"}, "no field 'question'"), ({"gold": "regex"}, "no rule 'regex'")],
)
def test_a_mapping_that_maps_nothing_is_refused(tmp_path, fields, what):
    path = write(tmp_path / "q.jsonl", ROWS)
    with pytest.raises(ConfigError, match=what) as failure:
        load_benchmark(str(path), data_dir=None, fields=fields)
    assert failure.value.where == "eval.fields"


def test_groups_stand_for_several_benchmarks_each_once():
    paper = ["aime24", "aime25", "math500", "amc23", "minerva", "olympiad"]  # Table 1, from left to right
    assert expand(["paper-text", "gsm8k"]) == [*paper, "gsm8k"]
    assert expand(["math500", "aime", "aime24", "q.jsonl", "q.jsonl"]) == ["math500", "aime24", "aime25", "q.jsonl"]
    assert expand(["all"]) == known_names()


SPEC = """\
name: mine
path: q.jsonl
samples: 8
instruction: Answer in a box.
questions: [2]
licence: CC0-1.0
doubtful:
  - {id: b, reason: 2 + 2 is 4 whatever the row says, corrected: "4"}
notes: [made up]
"""


def test_a_users_own_yaml_is_a_benchmark(tmp_path):
    write(tmp_path / "q.jsonl", ROWS)
    path = write(tmp_path / "mine.yaml", [SPEC])
    bench = load_benchmark(str(path), data_dir=None)
    assert (bench.name, bench.default_samples, bench.licence) == ("mine", 8, "CC0-1.0")
    assert (bench.instruction, bench.notes, bench.warnings) == ("Answer in a box.", ("made up",), ())
    assert bench.doubtful["b"].corrected == "4"
    assert load_benchmark(str(path), data_dir=None, limit=1).doubtful == {}
    write(tmp_path / "q.jsonl", ROWS[:1])
    with pytest.raises(DataError, match="1 questions, the published set has 2"):
        load_benchmark(str(path), data_dir=None)


@pytest.mark.parametrize(
    ("line", "place", "what"),
    [
        ("samples: 0", ":3", "samples: input should be greater"),
        ("sample: 8", ":3", "sample: extra inputs"),
        ("samples: 8\ndoubtful: [{id: b}]", ":4", "doubtful.0.reason"),
        ("hub: {dataset: x}", ":3", "hub.dataset"),
    ],
)
def test_a_malformed_yaml_names_its_line(tmp_path, line, place, what):
    path = write(tmp_path / "mine.yaml", [f"name: mine\npath: q.jsonl\n{line}"])
    with pytest.raises(ConfigError, match=what) as failure:
        load_benchmark(str(path), data_dir=None)
    assert failure.value.where == f"{path}{place}"


@pytest.mark.parametrize("name", ["gsm8k", "countdown", "paper-text"])
def test_a_users_yaml_cannot_pass_for_a_shipped_benchmark(tmp_path, name):
    path = write(tmp_path / "mine.yaml", [f"name: {name}\npath: q.jsonl"])
    with pytest.raises(ConfigError, match="name of a shipped benchmark"):
        load_benchmark(str(path), data_dir=None)


def test_a_file_named_like_a_shipped_benchmark_is_told_apart(tmp_path):
    path = write(tmp_path / "gsm8k.jsonl", ROWS)
    [warning] = load_benchmark(str(path), data_dir=None).warnings
    assert "named like a shipped benchmark" in warning


def test_a_yaml_without_a_source_is_refused(tmp_path):
    path = write(tmp_path / "mine.yaml", ["name: mine"])
    with pytest.raises(ConfigError, match="neither path nor hub"):
        load_benchmark(str(path), data_dir=None)


def test_limit_keeps_the_first_questions(tmp_path):
    path = write(tmp_path / "q.jsonl", ROWS)
    assert [each.id for each in load_benchmark(str(path), data_dir=None, limit=1).prompts] == ["a"]


def test_countdown_is_built_in():
    bench = load_benchmark("countdown", data_dir=None, countdown_questions=20)
    assert (bench.kind, len(bench.prompts), bench.default_samples) == ("countdown", 20, 4)
    assert bench.sha256 == load_benchmark("countdown", data_dir=None, countdown_questions=20).sha256


@pytest.mark.parametrize(
    ("rows", "place", "what"),
    [
        ([ROWS[0], {"id": "b", "problem": "2 + 2?"}], ":2", "no answer"),
        ([ROWS[0], {"id": "b", "problem": "2 + 2?", "answer": " "}], ":2", "no answer"),
        ([ROWS[0], {"id": "b", "problem": "2 + 2?", "answer": True}], ":2", "no answer"),
        ([{"id": "a", "answer": "2"}], ":1", "no problem"),
        ([ROWS[0], ROWS[0]], ":2", "used already"),
        ([ROWS[0], "{not json"], ":2", "no JSON"),
        ([ROWS[0], "[1]"], ":2", "JSON object"),
        ([{**ROWS[0], "alternatives": "two"}], ":1", "alternatives"),
        ([], "q.jsonl", "no question"),
    ],
)
def test_a_malformed_benchmark_names_file_and_line(tmp_path, rows, place, what):
    path = write(tmp_path / "q.jsonl", rows)
    with pytest.raises(DataError, match=what) as failure:
        load_benchmark(str(path), data_dir=None)
    assert place in (failure.value.where or "")
    assert failure.value.exit_code == 2


def test_an_unknown_name_gets_the_nearest_one():
    with pytest.raises(ConfigError, match="Did you mean aime2"):
        load_benchmark("aime42", data_dir=None)
    with pytest.raises(ConfigError, match="jsonl"):
        load_benchmark("something else", data_dir=None)
    with pytest.raises(ConfigError, match="no source on the hub"):
        load_benchmark("hmmt_24_25", data_dir=None)


def test_golds_are_read_from_the_spellings_of_data_sets():
    assert gold_of("3 + 3 = 6\n#### 6") == "6"
    assert gold_of(r"so \boxed{\frac12}") == r"\frac12"
    assert gold_of([1, "2"]) == "1, 2"
    assert gold_of(27.0) == "27"
    assert gold_of(None) == ""


def test_alternatives_are_golds_too(tmp_path):
    path = write(tmp_path / "q.jsonl", [{**ROWS[0], "alternatives": ["two", "II"]}])
    assert golds(load_benchmark(str(path), data_dir=None).prompts[0]) == ("2", "two", "II")


COUNTS = {
    "aime24": 30, "aime25": 30, "amc23": 40, "math500": 500, "minerva": 272, "olympiad": 675, "gsm8k": 1319,
    "amc22_23": 83, "hmmt_24_25": 196,
}  # fmt: skip
PAPER_SAMPLES = {"aime24": 32, "aime25": 32, "amc23": 4, "math500": 1, "minerva": 1, "olympiad": 1}


def test_the_samples_are_the_papers():
    assert {name: known_spec(name).samples for name in PAPER_SAMPLES} == PAPER_SAMPLES


@pytest.mark.parametrize("name", known_names())
def test_every_pinned_set_says_where_it_comes_from_and_under_what_terms(name):
    spec = known_spec(name)
    assert spec.name == name
    assert spec.title
    assert spec.licence != "unknown"
    assert spec.hub is None or spec.hub.revision
    assert COUNTS[name] in spec.questions


DOCS = Path(__file__).parents[2] / "docs" / "benchmarks.md"


@pytest.mark.parametrize("name", known_names())
def test_the_documented_table_says_what_the_yaml_says(name):
    spec = known_spec(name)
    table = DOCS.read_text(encoding="utf-8").partition("## ")[0]
    [row] = [line for line in table.splitlines() if line.startswith(f"| `{name}` |")]
    _, _, questions, samples, source, _, _ = (cell.strip() for cell in row.split("|"))
    assert sorted(int(count) for count in re.findall(r"\d+", questions)) == spec.questions
    assert int(samples) == spec.samples
    assert source.split(",")[0] == ("not on the hub" if spec.hub is None else spec.hub.dataset)


def test_every_documented_doubt_is_one_of_the_sets():
    section = DOCS.read_text(encoding="utf-8").partition("## Golds in doubt")[2]
    [told] = [paragraph for paragraph in section.split("\n- ") if paragraph.startswith("minerva")]
    numbers = re.findall(r"\b\d{3}\b", told)
    assert sorted(f"minerva/{number}" for number in numbers) == sorted(
        each.id for each in known_spec("minerva").doubtful
    )
    assert f"minerva, {len(numbers)} questions" in told


@pytest.mark.parametrize("name", known_names())
def test_the_real_sets_are_the_published_ones(data_dir, name):
    bench = load_benchmark(name, data_dir=data_dir)
    assert bench.warnings == ()
    assert len(bench.prompts) == COUNTS[name]
    assert bench.rows_sha256 in known_spec(name).rows_sha256.values()
    content = (data_dir / "bench" / f"{name}.jsonl").read_bytes()
    assert {f"{name}.jsonl": hashlib.sha256(content).hexdigest()} == known_spec(name).file_sha256
    assert all(each.answer and each.text for each in bench.prompts)
    assert set(bench.doubtful) == {each.id for each in known_spec(name).doubtful if each.gold is None}
    assert known_rows(name) == parsed(row_lines(bench.prompts))


@pytest.mark.parametrize("name", known_names())
def test_one_changed_gold_in_a_real_set_is_refused_by_name(data_dir, tmp_path, name):
    rows = [json.loads(line) for line in (data_dir / "bench" / f"{name}.jsonl").open(encoding="utf-8")]
    rows[5]["answer"] = f"{rows[5]['answer']}7"
    write(tmp_path / f"{name}.jsonl", rows)
    with pytest.raises(DataError, match=re.escape(f"1 question ({rows[5]['id']}) of another set")):
        load_benchmark(name, data_dir=tmp_path)


def test_a_real_set_given_as_a_file_is_the_set(data_dir):
    bench = load_benchmark(str(data_dir / "bench" / "aime25.jsonl"), data_dir=None)
    assert (bench.name, bench.warnings) == ("aime25", ())


def test_a_reworded_or_reordered_real_set_is_still_the_set(data_dir, tmp_path):
    rows = [json.loads(line) for line in (data_dir / "bench" / "aime24.jsonl").open(encoding="utf-8")]
    write(tmp_path / "aime24.jsonl", rows[::-1])
    turned = load_benchmark("aime24", data_dir=tmp_path)
    whole = load_benchmark("aime24", data_dir=data_dir)
    assert turned.warnings == ()
    assert turned.rows_sha256 == whole.rows_sha256
    assert turned.sha256 != whole.sha256
    rows[3]["problem"] = f"Please: {rows[3]['problem']}"
    rows[3]["id"] = "own"
    write(tmp_path / "aime24.jsonl", rows)
    [warning] = load_benchmark("aime24", data_dir=tmp_path).warnings
    assert "1 question (own) worded otherwise" in warning
    for row in rows:  # ids are the set's own wherever a question is known
        row["id"] = f"x{row['number']}{row['exam']}"
    write(tmp_path / "aime24.jsonl", rows)
    ids = [each.id for each in load_benchmark("aime24", data_dir=tmp_path).prompts]
    assert [each.id for each in whole.prompts[:3]] == ids[:3]
    assert ids[3].startswith("x")
