"""Every file that ships with hicra is valid, and says what the paper says where it claims to."""

import pytest

from hicra_cli.config.load import load_config
from hicra_cli.config.presets import pipeline_names, preset_names, preset_path

NAMES = {
    "llama-3.1-8b-instruct",
    "mimo-vl-7b",
    "quickstart",
    "qwen2.5-7b-base",
    "qwen2.5-vl-7b",
    "qwen3-4b-base",
    "qwen3-4b-instruct-2507",
    "qwen3-4b-nothink",
}


def test_the_presets_of_the_paper_are_there():
    assert set(preset_names()) == NAMES
    assert pipeline_names() == ["quickstart"]


@pytest.mark.parametrize("name", sorted(NAMES))
def test_each_preset_is_valid_and_introduces_itself(name):
    load_config([name], environ={})
    path = preset_path(name)
    assert path is not None
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    assert first.startswith("# ")
    assert not first.endswith(".")


@pytest.mark.parametrize("name", sorted(NAMES - {"quickstart"}))
def test_paper_presets_have_the_papers_settings(name):
    config = load_config([name], environ={}).config
    assert (config.train.algo, config.train.alpha, config.train.advantage_scale) == ("hicra", 0.2, "none")
    assert (config.train.clip_low, config.train.clip_high) == (0.2, 0.28)
    assert (config.train.response_limits, config.train.grow_at) == ([16384, 32768], 0.2)
    assert config.eval.sampling.temperature == 0.6
    assert config.eval.samples is None  # the paper's: 32 on AIME, 4 on AMC23
    assert config.train.dynamic_filtering is (name == "llama-3.1-8b-instruct")
    assert config.task.template_options == ({"enable_thinking": False} if name == "qwen3-4b-nothink" else {})
    assert config.train.policy == config.eval.policy == config.collect.policies[0]


def test_an_unknown_name_is_no_preset():
    assert preset_path("../pyproject") is None
    assert preset_path("quickstart.pipeline") is None
