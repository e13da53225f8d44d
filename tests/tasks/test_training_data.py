"""Training rows in the layouts of published sets, from every kind of source, each problem once."""

import gzip
import json
import os
import re
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset, DatasetDict
from hypothesis import given
from hypothesis import strategies as st

from hicra_cli.config.load import load_config
from hicra_cli.config.task import TaskConfig
from hicra_cli.core.errors import ConfigError, DataError
from hicra_cli.tasks.instructions import without_instructions
from hicra_cli.tasks.maths import MathsTask
from hicra_cli.tasks.problems import Fields, read_problem, row_fields
from hicra_cli.tasks.sources import content_digests, data_digests, source_rows
from hicra_cli.tasks.training_data import read_training_data

DAPO_PROBLEM = (
    "Solve the following math problem step by step. The last line of your response should be of the form Answer: "
    "$Answer (without quotes) where $Answer is the answer to the problem.\n\n{}\n\nRemember to put your answer on its "
    'own line after "Answer:".'
)


def dapo(problem, gold, index="a-1"):
    return {
        "data_source": "math_dapo",
        "prompt": [{"role": "user", "content": DAPO_PROBLEM.format(problem)}],
        "ability": "MATH",
        "reward_model": {"ground_truth": gold, "style": "rule-lighteval/MATH_v2"},
        "extra_info": {"index": index},
    }


LAYOUTS = {
    "DAPO": (dapo("Find 1 + 1.", "2"), ("Find 1 + 1.", "2", "a-1")),
    "DAPO, processed": (
        {"prompt": "Find 1 + 1.", "solution": "2", "reward_model": {"ground_truth": "2"}, "extra_info": {"index": "b"}},
        ("Find 1 + 1.", "2", "b"),
    ),
    "DeepScaleR": (
        {"problem": "Find 1/2.", "answer": "\\frac{1}{2}", "solution": "It is $\\boxed{\\frac12}$."},
        ("Find 1/2.", "\\frac{1}{2}", None),
    ),
    "MATH": (
        {"problem": "Find x.", "solution": "So $x = \\boxed{\\sqrt{2}}$.", "level": "Level 5", "type": "Algebra"},
        ("Find x.", "\\sqrt{2}", None),
    ),
    "MATH, box without braces": ({"problem": "Find x.", "solution": "It is $\\boxed 5$."}, ("Find x.", "5", None)),
    "GSM8K": ({"question": "How many?", "answer": "3 <<1+2=3>>\n#### 1,003"}, ("How many?", "1,003", None)),
    "GSM8K in verl's layout": (
        {
            "prompt": [
                {"role": "system", "content": "Be brief."},
                {
                    "role": "user",
                    "content": 'How many? Let\'s think step by step and output the final answer after "####".',
                },
            ],
            "reward_model": {"ground_truth": "3", "style": "rule"},
            "extra_info": {"index": 0, "split": "train"},
        },
        ("How many?", "3", None),
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_is_recognised_by_its_fields(layout):
    row, expected = LAYOUTS[layout]
    found = read_problem(row, where="x:1", fields=Fields())
    assert (without_instructions(found.text), found.gold, found.name) == expected


json_rows = st.dictionaries(
    st.sampled_from(["problem", "question", "prompt", "answer", "solution", "reward_model", "extra_info", "id"]),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=2)
            | st.dictionaries(st.sampled_from(["role", "content", "ground_truth", "index"]), inner, max_size=3)
        ),
        max_leaves=5,
    ),
)


@given(json_rows)
def test_any_row_is_a_problem_with_a_gold_or_refused_with_its_place(row):
    try:
        found = read_problem(row, where="file:7", fields=Fields())
    except DataError as error:
        place = error.where
    else:
        place = "file:7" if found.text and found.gold and found.name != "" else None
    assert place == "file:7"


@given(st.text())
def test_only_known_instructions_are_taken_off(text):
    bare = without_instructions(text)
    assert bare == text
    assert without_instructions(DAPO_PROBLEM.format(f"Q{text}")) == f"Q{text}".strip()


def jsonl(path, rows):
    text = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return str(path)


ROWS = [{"id": f"p{number}", "problem": f"What is {number} + 1?", "answer": str(number + 1)} for number in range(40)]


def read(*sources, **settings):
    return read_training_data(TaskConfig(kind="maths", train_data=list(sources), **settings))


def written(kind, folder):
    """The rows in one kind of source: what to name in task.train_data."""
    table = Dataset.from_list(ROWS)
    match kind:
        case "jsonl":
            return jsonl(folder / "train.jsonl", ROWS)
        case "gzip":
            return jsonl(folder / "train.jsonl.gz", ROWS)
        case "parquet":
            pq.write_table(pa.Table.from_pylist(ROWS), folder / "train.parquet")
            return str(folder / "train.parquet")
        case "parquet folder":
            (folder / "train" / "data").mkdir(parents=True)
            pq.write_table(pa.Table.from_pylist(ROWS), folder / "train" / "data" / "train-00000-of-00001.parquet")
            return str(folder / "train")
        case "saved":
            table.save_to_disk(str(folder / "train"))
            return str(folder / "train")
        case "saved splits":
            DatasetDict(train=table, test=table.select([0])).save_to_disk(str(folder / "train"))
            return str(folder / "train")
    raise AssertionError(kind)


@pytest.mark.parametrize("kind", ["jsonl", "gzip", "parquet", "parquet folder", "saved", "saved splits"])
def test_every_kind_of_source_gives_the_same_problems(tmp_path, kind, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    data = read(written(kind, tmp_path))
    assert [(each.id, each.text, each.answer) for each in data.prompts] == [tuple(row.values()) for row in ROWS]
    assert data.notes == ()


HUB_PROGRAM = """
import json, sys
from hicra_cli.core.errors import HicraError
from hicra_cli.config.task import TaskConfig
from hicra_cli.tasks.training_data import read_training_data
try:
    data = read_training_data(TaskConfig(kind="maths", train_data=sys.argv[1:]))
    print(json.dumps([[each.id, each.answer] for each in data.prompts]))
except HicraError as error:
    print(error.exit_code, error)
"""


@pytest.fixture
def hub(tmp_path):
    """Runs with a cache of the hub that holds some/plain and some/subsets, and with no way to reach the hub."""
    plain = _cached(tmp_path, "some--plain")
    pq.write_table(pa.Table.from_pylist(ROWS[:3]), plain / "train.parquet")
    subsets = _cached(tmp_path, "some--subsets")
    listed = ""
    for name in ("algebra", "geometry"):
        (subsets / name).mkdir()
        row = {"problem": f"Some {name}?", "solution": f"$\\boxed{{{len(name)}}}$"}
        pq.write_table(pa.Table.from_pylist([row]), subsets / name / "train.parquet")
        listed += f"- config_name: {name}\n  data_files:\n  - split: train\n    path: {name}/train.parquet\n"
    (subsets / "README.md").write_text(f"---\nconfigs:\n{listed}---\n")

    def run(*sources):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        done = subprocess.run(
            [sys.executable, "-c", HUB_PROGRAM, *sources],
            env={**environment, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)},
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "examples" not in done.stderr  # no progress bars of a library
        return done.stdout

    return run


def _cached(home, name):
    repository = home / "hub" / f"datasets--{name}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    snapshot = repository / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    return snapshot


def test_data_sets_of_the_hub_are_read_from_its_cache_offline(hub):
    expected = [["plain/p0", "1"], ["plain/p1", "2"], ["plain/p2", "3"], ["subsets/00000", "8"]]
    assert json.loads(hub("some/plain", "some/subsets:geometry")) == expected


def test_all_subsets_are_read_or_one_has_to_be_named(hub):
    assert json.loads(hub("some/subsets:*")) == [["subsets/00000", "7"], ["subsets/00001", "8"]]
    refused = hub("some/subsets")
    assert refused.startswith("2 task.train_data: the data set has 2 subsets: algebra, geometry")
    assert "not in the local cache" in hub("some/other")


def test_repeated_problems_count_once_and_are_told(tmp_path):
    rows = [dapo(f"Find {number}.", str(number), f"i{number}") for number in range(5)]
    again = {"problem": "Find  3.\n", "answer": "30"}
    data = read(jsonl(tmp_path / "a.jsonl", rows * 100), jsonl(tmp_path / "b.jsonl", [again, ROWS[0]]))
    assert [each.id for each in data.prompts] == ["a/i0", "a/i1", "a/i2", "a/i3", "a/i4", "b/p0"]
    # 5 x 99 repeats in the first file and one in the second, whose gold differs
    assert data.notes == (
        "496 training rows repeat a problem and are left out, 1 of them with another gold; 6 distinct problems are "
        "left",
        "500 training rows carry an answer format of their own, which is taken off (task.keep_instructions keeps it)",
    )


def test_golds_of_one_character_repeat_too(tmp_path):
    assert len(read(jsonl(tmp_path / "a.jsonl", [ROWS[0], {**ROWS[0], "id": "again"}])).prompts) == 1


def test_sources_of_one_name_have_different_ids(tmp_path):
    names = []
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        names.append(jsonl(tmp_path / place / "train.jsonl", [{"problem": place, "answer": "1"}]))
    assert [each.id for each in read(*names).prompts] == ["train/00000", "train-2/00000"]


def test_instructions_are_kept_where_that_is_asked_for(tmp_path):
    source = jsonl(tmp_path / "a.jsonl", [dapo("Find 1.", "1")])
    assert read(source).prompts[0].text == "Find 1."
    assert read(source, keep_instructions=True).prompts[0].text == DAPO_PROBLEM.format("Find 1.")


def test_the_other_fields_of_a_row_are_kept_for_a_reward_only(tmp_path):
    source = jsonl(tmp_path / "a.jsonl", [{**ROWS[0], "level": 5, "tests": ["x", None]}])
    assert row_fields(read(source).prompts[0]) == {}
    assert row_fields(read(source, reward="m:f").prompts[0]) == {"id": "p0", "level": 5, "tests": ["x", None]}


def test_a_few_rows_without_a_gold_are_left_out_and_counted_many_are_refused(tmp_path):
    bad = {"problem": "Why?", "answer": ""}
    many = [*({"problem": f"{number}?", "answer": "1"} for number in range(99)), bad]
    # 1 of 100 is not more than one percent; 1 of 41 is
    data = read(jsonl(tmp_path / "a.jsonl", many))
    assert len(data.prompts) == 99
    assert data.notes == ("1 training rows have no problem or no gold answer and are left out",)
    with pytest.raises(DataError, match="no answer") as failure:
        read(jsonl(tmp_path / "b.jsonl", [*ROWS, bad]))
    assert str(failure.value.where).endswith("b.jsonl:41")


@pytest.mark.parametrize("source", ["nowhere", "missing.parquet", "a/b/c", "some where/x", ""])
def test_what_names_no_source_is_a_configuration_error(source):
    with pytest.raises(ConfigError) as failure:
        list(source_rows(source, split="train"))
    assert failure.value.where == "task.train_data"


def test_broken_sources_are_named(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "x.parquet").write_bytes(b"PAR1 this is none")
    (tmp_path / "empty").mkdir()
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "state.json").write_text("{")
    for name in ("x.parquet", "empty", "saved"):
        with pytest.raises(DataError) as failure:
            list(source_rows(str(tmp_path / name), split="train"))
        assert name in str(failure.value.where)


def test_a_missing_split_is_named_with_those_there_are(tmp_path):
    with pytest.raises(DataError, match="no split 'dev'") as failure:
        list(source_rows(written("saved splits", tmp_path), split="dev"))
    assert "train, test" in str(failure.value.fix)


def test_one_source_may_be_written_without_brackets(tmp_path):
    (tmp_path / "c.yaml").write_text("task: {train_data: a.jsonl}\n")
    config = load_config([str(tmp_path / "c.yaml")]).config
    assert config.task.train_data == ["a.jsonl"]


def test_the_digest_of_local_data_follows_its_content(tmp_path):
    source = jsonl(tmp_path / "a.jsonl", ROWS)
    folder = written("parquet folder", tmp_path)
    task = TaskConfig(kind="maths", train_data=[source, folder, "some/hub-set"])
    first = data_digests(task)
    assert set(first) == {source, folder}
    jsonl(tmp_path / "a.jsonl", ROWS[:5])
    assert data_digests(task)[source] != first[source]
    assert data_digests(task)[folder] == first[folder]
    assert re.fullmatch(r"[0-9a-f]{64}", first[source])


def test_real_dapo_rows_equal_their_cleaned_twins(data_dir):
    raw = read(str(data_dir / "train" / "dapo_sample_raw.jsonl")).prompts
    clean = read(str(data_dir / "train" / "dapo_sample.jsonl")).prompts
    assert [(each.text, each.answer) for each in raw] == [(each.text, each.answer) for each in clean]
    both = read(*(str(data_dir / "train" / f"dapo_sample{name}.jsonl") for name in ("_raw", "")))
    assert len(both.prompts) == 27
    assert both.notes[0].startswith("27 training rows repeat a problem and are left out; 27 distinct")


def test_real_sets_mix_and_their_overlap_counts_once(data_dir):
    names = [str(data_dir / "train" / f"{name}.jsonl") for name in ("math_train", "aime_1983_2023", "gsm8k_train")]
    task = MathsTask(TaskConfig(kind="maths", train_data=names))
    assert len({each.text for each in task.problems()}) == len(task.problems())
    assert task.notes


def test_a_cache_key_follows_data_and_reward_and_is_the_old_one_without_them(tmp_path):
    assert content_digests(TaskConfig()) == {}
    (tmp_path / "own.py").write_text("def f(**told): return 1")
    source = jsonl(tmp_path / "a.jsonl", ROWS)
    task = TaskConfig(kind="maths", train_data=source, reward=f"{tmp_path}/own.py:f")
    first = content_digests(task)
    (tmp_path / "own.py").write_text("def f(**told): return 2")
    second = content_digests(task)
    assert first["train_data_sha256"] == second["train_data_sha256"] == data_digests(task)
    assert first["reward_source"] != second["reward_source"]
