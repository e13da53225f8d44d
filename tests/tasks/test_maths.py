"""The maths task: a position-addressable stream apart from the held-out part, and strict verdicts."""

import json
import math

import numpy as np
import pytest

from hicra_cli.config.task import TaskConfig
from hicra_cli.core.errors import ConfigError, DataError
from hicra_cli.core.records import FinishReason, Outcome, Rollout
from hicra_cli.tasks.maths import MathsTask


def problems(count):
    return [
        {"id": f"p{number}", "problem": f"What is {number} + 1?", "answer": str(number + 1)} for number in range(count)
    ]


@pytest.fixture
def task(tmp_path):
    return MathsTask(config(tmp_path, problems(200)))


def config(folder, rows, **settings):
    path = folder / "train.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return TaskConfig(kind="maths", train_data=str(path), **settings)


def rollout(prompt, text, finish=FinishReason.STOP):
    nothing = np.zeros(0, dtype=np.int32)
    return Rollout(prompt, 0, nothing, nothing, text, finish, np.zeros(0, dtype=np.float32))


def test_the_stream_depends_on_position_and_seed_only(task):
    whole = [each.id for each in task.stream(0, 500, seed=1)]
    assert [each.id for each in task.stream(120, 30, seed=1)] == whole[120:150]
    assert [each.id for each in task.stream(0, 500, seed=2)] != whole


def test_an_epoch_holds_every_training_problem_once_and_no_held_out_one(task):
    held_out = {each.id for each in task.held_out(1)}
    size = len({each.id for each in task.stream(0, 1000, seed=1)})
    epoch = [each.id for each in task.stream(size, size, seed=1)]
    assert len(set(epoch)) == size < 200
    assert held_out.isdisjoint(epoch)


def test_held_out_problems_do_not_depend_on_the_order_of_the_file(tmp_path):
    rows = problems(300)
    one = {each.text for each in MathsTask(config(tmp_path, rows)).held_out(5)}
    other = MathsTask(config(tmp_path, rows[::-1]))
    assert one <= {each.text for each in other._held_out}


def test_a_problem_that_occurs_twice_is_on_one_side(tmp_path):
    rows = [*problems(300), *({**row, "id": f"again-{row['id']}"} for row in problems(300))]
    task = MathsTask(config(tmp_path, rows))
    held_out = {each.text for each in task._held_out}
    assert held_out
    assert held_out.isdisjoint(each.text for each in task.stream(0, 600, seed=0))


def test_more_held_out_problems_than_there_are_is_an_error(task):
    with pytest.raises(DataError, match="held out"):
        task.held_out(199)


def test_verdicts_come_in_order_and_a_cut_response_without_answer_is_truncated(task):
    prompt = task.stream(0, 1, seed=0)[0]
    texts = [f"\\boxed{{{prompt.answer}}}", "\\boxed{-1}", "no idea", "and so"]
    finishes = [FinishReason.STOP, FinishReason.STOP, FinishReason.STOP, FinishReason.LENGTH]
    with task:
        verdicts = task.verdicts([rollout(prompt, *each) for each in zip(texts, finishes, strict=True)])
    assert [each.outcome for each in verdicts] == [
        Outcome.CORRECT,
        Outcome.WRONG,
        Outcome.NO_ANSWER,
        Outcome.TRUNCATED,
    ]


def test_rows_in_verl_layout_and_other_field_names_are_read(tmp_path):
    verl = [
        {"prompt": [{"role": "user", "content": f"Q{number}"}], "reward_model": {"ground_truth": str(number)}}
        for number in range(40)
    ]
    assert MathsTask(config(tmp_path, verl)).stream(0, 1, seed=0)[0].answer.isdigit()
    named = [{"frage": f"Q{number}", "loesung": number} for number in range(40)]
    task = MathsTask(config(tmp_path, named, problem_field="frage", answer_field="loesung", id_field=None))
    assert task.stream(0, 1, seed=0)[0].id.startswith("train/")


@pytest.mark.parametrize(
    ("rows", "what"),
    [
        ([{"problem": "Q"}], "no answer"),
        ([{"problem": "Q", "answer": math.nan}], "no answer"),
        ([{"answer": "1"}], "no problem"),
        ([], "no problem"),
    ],
)
def test_malformed_training_data_is_named(tmp_path, rows, what):
    with pytest.raises(DataError, match=what) as failure:
        MathsTask(config(tmp_path, rows))
    assert "train.jsonl" in (failure.value.where or "")


@pytest.mark.parametrize("source", [None, "data.parquet", "nowhere"])
def test_a_source_that_is_neither_file_nor_data_set_is_refused(source):
    with pytest.raises(ConfigError) as failure:
        MathsTask(TaskConfig(kind="maths", train_data=source))
    assert failure.value.where == "task.train_data"


@pytest.mark.parametrize(
    ("name", "rows"), [("math_train", 7466), ("gsm8k_train", 7473), ("dapo_sample_raw", 27), ("aime_1983_2023", 967)]
)
def test_real_training_sets_are_read_whole(data_dir, name, rows):
    task = MathsTask(TaskConfig(kind="maths", train_data=str(data_dir / "train" / f"{name}.jsonl")))
    assert len(task._train) + len(task._held_out) == rows
