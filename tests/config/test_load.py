"""Precedence, origins, and refusals of the configuration."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hicra_cli.config.fields import field_at, leaf_paths, nearest_path
from hicra_cli.config.load import flat, load_config
from hicra_cli.core.errors import ConfigError


def test_later_sources_win_and_each_value_knows_its_place(tmp_path):
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text("train:\n  alpha: 0.1\n  lr: 1e-6\n  steps: 1\n  clip_low: 0.1\n  group_size: 4\n")
    second.write_text("train:\n  lr: 2e-6\n  steps: 2\n  clip_low: 0.2\n  group_size: 5\n")
    resolved = load_config(
        [str(first), str(second)],
        environ={"HICRA_TRAIN__STEPS": "3", "HICRA_TRAIN__CLIP_LOW": "0.3", "HICRA_TRAIN__GROUP_SIZE": "6"},
        settings=["train.clip_low=0.4", "train.group_size=7"],
        options=[("train.group_size", "8", "--group-size")],
    )
    train = resolved.config.train
    assert (train.alpha, train.lr, train.steps, train.clip_low, train.group_size) == (0.1, 2e-6, 3, 0.4, 8)
    assert resolved.origin("train.alpha") == f"{first}:2"
    assert resolved.origin("train.lr") == f"{second}:2"
    assert resolved.origin("train.steps") == "environment variable HICRA_TRAIN__STEPS"
    assert resolved.origin("train.clip_low") == "--set train.clip_low=0.4"
    assert resolved.origin("train.group_size") == "--group-size"
    assert resolved.origin("train.clip_high") == "default"


def test_lists_are_replaced_and_sections_merged(tmp_path):
    file = tmp_path / "f.yaml"
    file.write_text("eval: {bench: [aime24, aime25], sampling: {top_p: 0.9}}\n")
    resolved = load_config([str(file)], settings=["eval.bench=amc23", "eval.sampling.top_k=5"], environ={})
    assert resolved.config.eval.bench == ["amc23"]
    assert (resolved.config.eval.sampling.top_p, resolved.config.eval.sampling.top_k) == (0.9, 5)


def test_text_is_read_the_way_its_field_is_meant():
    config = load_config(
        settings=[
            "train.lr=1e-6",
            "train.name=no",
            "train.policy=123",
            "train.gram_set=null",
            "train.response_limits=16384,32768",
            "eval.bench=[aime24, amc23]",
            "task.template_options.enable_thinking=false",
            "task.numbers=4",
        ],
        options=[("collect.rollouts", ["a.jsonl", "b.jsonl"], "--rollouts")],
        environ={"HICRA_DATA_DIR": "/some/data"},
    ).config
    assert (config.train.lr, config.train.name, config.train.policy, config.train.gram_set) == (1e-6, "no", "123", None)
    assert config.train.response_limits == [16384, 32768]
    assert config.eval.bench == ["aime24", "amc23"]
    assert config.task.template_options == {"enable_thinking": False}
    assert [path.name for path in config.collect.rollouts] == ["a.jsonl", "b.jsonl"]
    assert str(config.data_dir) == "/some/data"


def test_a_tilde_is_the_users_folder_where_a_path_is_meant(monkeypatch):
    monkeypatch.setenv("HOME", "/users/ada")
    settings = ["home=~/registry", "collect.rollouts=~/a.jsonl,b.jsonl", "train.policy=~/model"]
    config = load_config(settings=settings, environ={}).config
    assert str(config.home) == "/users/ada/registry"
    assert [str(each) for each in config.collect.rollouts] == ["/users/ada/a.jsonl", "b.jsonl"]
    assert config.train.policy == "~/model"  # a reference, a path or an HF id: left as it is


def test_a_dict_field_is_replaced_whole_and_extended_by_entries():
    whole_then_entry = ["task.template_options={a: 1, b: 2}", "task.template_options.b=3"]
    assert load_config(settings=whole_then_entry, environ={}).config.task.template_options == {"a": 1, "b": 3}
    entry_then_whole = ["task.template_options.b=3", "task.template_options={a: 1}"]
    assert load_config(settings=entry_then_whole, environ={}).config.task.template_options == {"a": 1}


@pytest.mark.parametrize(
    ("given", "where", "words"),
    [
        ({"settings": ["train.alhpa=0.1"]}, "--set train.alhpa=0.1", ["train.alhpa", "Did you mean train.alpha?"]),
        ({"settings": ["alpha=0.1"]}, "--set alpha=0.1", ["Did you mean train.alpha?"]),
        ({"settings": ["train=3"]}, "--set train=3", ["is a section"]),
        ({"settings": ["train.alpha"]}, "--set train.alpha", ["no `=`"]),
        ({"settings": ["train.alpha=-0.1"]}, "--set train.alpha=-0.1", ["train.alpha = -0.1", "greater than or equal"]),
        ({"settings": ["train.lr=.nan"]}, "--set train.lr=.nan", ["finite number"]),
        ({"settings": ["train.algo=hicar"]}, "--set train.algo=hicar", ["'grpo', 'hicra'"]),
        ({"settings": ["train.name=../x"]}, "--set train.name=../x", ["pattern"]),
        ({"settings": ["train.sampling.top_p=0.9"]}, "--set train.sampling.top_p=0.9", ["refused for training"]),
        ({"settings": ["collect.ngram_min=6"]}, "--set collect.ngram_min=6", ["larger than ngram_max"]),
        ({"environ": {"HICRA_TRAIN__ALPAH": "1"}}, "environment variable HICRA_TRAIN__ALPAH", ["train.alpha?"]),
        ({"environ": {"HICRA_TRAIN__ALPHA": "x"}}, "environment variable HICRA_TRAIN__ALPHA", ["valid number"]),
        ({"options": [("train.steps", "1.5", "--steps")]}, "--steps", ["train.steps = 1.5", "integer"]),
        ({"files": ["qwen3-4b-bose"]}, "--config", ["qwen3-4b-base"]),
    ],
)
def test_a_refused_value_names_field_source_and_remedy(given, where, words):
    with pytest.raises(ConfigError) as caught:
        load_config(**{"environ": {}} | given)
    assert caught.value.where == where
    for word in words:
        assert word in str(caught.value)


def test_a_fault_in_a_file_names_its_line(tmp_path):
    file = tmp_path / "f.yaml"
    file.write_text("train:\n  steps: 3\n  alpah: 1\neval: 5\n")
    with pytest.raises(ConfigError) as caught:
        load_config([str(file)], environ={})
    assert f"{file}:3: unknown key train.alpah. Did you mean train.alpha?" in str(caught.value)
    assert f"{file}:4: eval is a section" in str(caught.value)


def test_all_faults_are_reported_at_once():
    settings = ["train.alpha=2", "train.nope=1", "eval.samples=0"]
    with pytest.raises(ConfigError) as caught:
        load_config(settings=settings, environ={"HICRA_SEED": "-1"})
    assert str(caught.value).startswith("configuration: 4 problems")
    for path in ("train.alpha", "train.nope", "eval.samples", "seed"):
        assert path in str(caught.value)


@given(st.sampled_from(sorted(leaf_paths())), st.data())
def test_a_typo_is_led_back_to_its_field(path, data):
    name = path.rpartition(".")[2]
    position = data.draw(st.integers(0, len(name) - 1))
    typo = path[: len(path) - len(name)] + name[:position] + "x" + name[position + 1 :]
    if field_at(typo) is None and len(name) > 5:
        assert nearest_path(typo) is not None


def test_what_is_resolved_can_be_set_again_to_the_same():
    config = load_config(settings=["train.algo=hicra"], environ={}).config
    values = flat(config)
    assert set(values) == set(leaf_paths())
    assert values["train.algo"] == "hicra"
