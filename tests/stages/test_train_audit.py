"""The length audit: what is measured, what each policy does, on real tokenizers."""

import json
import math
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hicra_cli.config.task import TaskConfig
from hicra_cli.core.errors import ConfigError, DataError
from hicra_cli.core.progress import SilentProgress
from hicra_cli.core.records import Prompt
from hicra_cli.stages.train.audit import audit_prompts, prompt_limit
from hicra_cli.tasks.countdown import CountdownTask
from hicra_cli.tasks.maths import MathsTask
from hicra_cli.tasks.prompts import render, render_many
from tests.engine.tiny_models import tiny_tokenizer

TOKENIZER = tiny_tokenizer()  # one token a character


class Notes(SilentProgress):
    def __init__(self):
        super().__init__()
        self.notes: list[str] = []

    def note(self, text):
        self.notes.append(text)


def maths(folder, lengths, **settings):
    """Problems of the given lengths in characters, which are tokens here: a digit run each, then a line break."""
    rows = [
        {"id": f"p{place}", "problem": f"{place:03d}" + "x" * (length - 4), "answer": "1"}
        for place, length in enumerate(lengths)
    ]
    path = folder / "t.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return TaskConfig(kind="maths", train_data=[str(path)], instruction="", **settings)


def audit(config, *, limit, policy, task=None, progress=None, tokenizer=TOKENIZER):
    task = task or MathsTask(config)
    many = partial(render_many, tokenizer=tokenizer, task=config)
    return task, audit_prompts(task, many, limit=limit, policy=policy, progress=progress or SilentProgress())


def test_percentiles_are_lengths_of_prompts(tmp_path):
    # 100 prompts of 11 … 110 tokens: rank 50 is 60, rank 90 is 100, rank 99 is 109
    progress = Notes()
    _, found = audit(maths(tmp_path, range(11, 111)), limit=200, policy="error", progress=progress)
    assert (found.num_prompts, found.p50, found.p90, found.p99, found.max_tokens) == (100, 60, 100, 109, 110)
    assert (found.num_long, found.summary()["prompts/limit"]) == (0, 200)
    assert progress.notes == ["100 prompts: 60 tokens in the median, 100 at 90 %, 109 at 99 %, at most 110; 200 fit"]


def test_a_long_prompt_stops_the_run_by_default_and_is_named(tmp_path):
    config = maths(tmp_path, [*[20] * 60, 50, 70])
    with pytest.raises(DataError) as failure:
        audit(config, limit=40, policy="error")
    assert "'p60' has 50 tokens, 40 fit; 2 of 62 prompts are longer, up to 70" in failure.value.what
    assert "task.long_prompts" in str(failure.value.fix)
    audit(config, limit=70, policy="error")


def test_dropped_prompts_never_come_and_the_rest_of_the_stream_is_reproducible(tmp_path):
    config = maths(tmp_path, [20 + 30 * (place % 4 == 0) for place in range(80)])
    progress = Notes()
    task, found = audit(config, limit=40, policy="drop", progress=progress)
    again, _ = audit(config, limit=40, policy="drop")
    stream = task.stream(0, 200, seed=5)
    assert stream == again.stream(0, 200, seed=5)
    assert all(int(each.id[1:]) % 4 for each in stream)
    assert found.num_long == 20
    assert "20 longer ones are dropped" in progress.notes[-1]
    assert len(task.problems()) == 60


def test_dropping_everything_is_an_error(tmp_path):
    with pytest.raises(DataError, match="no training problem"):
        audit(maths(tmp_path, [50] * 30), limit=10, policy="drop")


def test_truncating_keeps_the_last_tokens(tmp_path):
    config = maths(tmp_path, [*[20] * 40, 60])
    task, found = audit(config, limit=30, policy="truncate")
    one = partial(render, tokenizer=TOKENIZER, task=config)
    limited = found.limited(one)
    prompts = {each.id: each for each in task.problems()}
    assert len(prompts) == 41
    np.testing.assert_array_equal(limited(prompts["p40"]), one(prompts["p40"])[30:])
    np.testing.assert_array_equal(limited(prompts["p0"]), one(prompts["p0"]))


def test_without_a_limit_lengths_are_told_and_nothing_is_long(tmp_path):
    _, found = audit(maths(tmp_path, [20] * 30), limit=None, policy="error")
    assert (found.num_long, found.limit) == (0, None)


def test_countdown_is_measured_whole(nano_path):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(nano_path)
    _, found = audit(TaskConfig(), limit=512, policy="error", task=CountdownTask(), tokenizer=tokenizer)
    assert found.num_prompts == 2144
    assert 20 < found.max_tokens < 60


def test_notes_of_the_data_reach_the_user(tmp_path):
    config = maths(tmp_path, [20] * 40)
    config = config.model_copy(update={"train_data": config.train_data * 2})
    progress = Notes()
    audit(config, limit=40, policy="error", progress=progress)
    assert progress.notes[0].startswith("40 training rows repeat a problem")


def test_a_template_that_raises_names_the_prompt(tmp_path):
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = (
        "{% if '007' in messages[0]['content'] %}{{ raise_exception('not this one') }}{% endif %}"
        "{{ messages[0]['content'] }}"
    )
    with pytest.raises(ConfigError, match=r"refuses prompt 'p7': not this one"):
        audit(maths(tmp_path, [20] * 40), limit=40, policy="error", tokenizer=tokenizer)


def test_the_limit_is_what_the_response_leaves_of_the_context():
    task = TaskConfig()
    assert prompt_limit(task, context=4096, response_limit=3072) == 1024
    assert prompt_limit(task.model_copy(update={"max_prompt_tokens": 512}), context=4096, response_limit=3072) == 512
    assert prompt_limit(task.model_copy(update={"max_prompt_tokens": 2048}), context=4096, response_limit=3072) == 1024
    assert prompt_limit(task, context=None, response_limit=3072) is None
    # a response as long as the context: engines cut it, and one token of it is left to the longest prompt
    assert prompt_limit(task, context=4096, response_limit=4096) == 4095


@given(st.lists(st.text(alphabet="ab\n", min_size=1, max_size=20), min_size=1, max_size=8), st.booleans())
def test_rendering_many_is_rendering_each(texts, with_template):
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = "<{{ messages[0]['content'] }}>" if with_template else None
    prompts = [Prompt(str(place), text, "") for place, text in enumerate(texts)]
    for one, each in zip(prompts, render_many(prompts, tokenizer, TaskConfig()), strict=True):
        np.testing.assert_array_equal(each, render(one, tokenizer, TaskConfig()))


@given(st.lists(st.integers(min_value=5, max_value=90), min_size=1, max_size=200), st.integers(5, 90))
def test_percentiles_and_counts_are_those_of_the_definition(tmp_path_factory, lengths, limit):
    class Listed(CountdownTask):
        def problems(self):
            return [Prompt(str(place), "x" * (length - 1), "") for place, length in enumerate(lengths)]

    _, found = audit(TaskConfig(), limit=limit, policy="truncate", task=Listed())
    ordered = sorted(lengths)
    assert [found.p50, found.p90, found.p99] == [
        ordered[math.ceil(share * len(ordered) / 100) - 1] for share in (50, 90, 99)
    ]
    assert found.num_long == sum(length > limit for length in lengths)
