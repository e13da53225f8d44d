"""accelerate's configuration for DeepSpeed: what is honoured, what is refused, and in which words."""

import json
import os

import pytest

from hicra_cli.config.deepspeed import Zero, read_zero
from hicra_cli.core.errors import ConfigError
from tests.commands.run_hicra import ROOT
from tests.config.accelerate_environment import configured_environment, deepspeed_environment


@pytest.fixture
def zero(monkeypatch):
    """What is read under variables."""

    def read(variables):
        for name in os.environ:
            if name.startswith("ACCELERATE_"):
                monkeypatch.delenv(name)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return read_zero()

    return read


@pytest.fixture
def filed(zero, tmp_path):
    """What is read where accelerate names a DeepSpeed file with this content."""

    def read(content, *words):
        path = tmp_path / "ds.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return zero(deepspeed_environment("--deepspeed_config_file", str(path), *words))

    return read


def test_without_a_configuration_for_deepspeed_there_is_nothing(zero):
    assert zero({}) is None
    assert zero({"ACCELERATE_USE_DEEPSPEED": "false"}) is None


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_accelerate_hands_the_stage_over(zero, stage):
    assert zero(deepspeed_environment("--zero_stage", str(stage))) == Zero(stage)


def test_without_a_stage_it_is_the_one_that_accelerate_takes(zero):
    assert zero(deepspeed_environment()) == Zero(2)


def test_the_shipped_example_is_stage_2(zero):
    assert zero(configured_environment(ROOT / "examples" / "accelerate_deepspeed.yaml")) == Zero(2)


def test_what_hicra_sets_itself_is_named(zero):
    words = ("--zero_stage", "2", "--gradient_clipping", "0.5", "--gradient_accumulation_steps", "4")
    assert zero(deepspeed_environment(*words)).unused == ("gradient_accumulation_steps", "gradient_clipping")


def test_a_file_of_deepspeeds_is_read(filed):
    # As in the documentation of transformers: "auto" is for the trainer to fill.
    asked = {
        "fp16": {"enabled": "auto", "loss_scale": 0},
        "bf16": {"enabled": "auto"},
        "optimizer": {"type": "AdamW", "params": {"lr": "auto", "betas": "auto"}},
        "scheduler": {"type": "WarmupDecayLR", "params": {"warmup_num_steps": "auto"}},
        "zero_optimization": {
            "stage": 3,
            "offload_optimizer": {"device": "none", "pin_memory": True},
            "overlap_comm": True,
            "stage3_prefetch_bucket_size": "auto",
            "zero_hpz_partition_size": 1,
            "zero_quantized_weights": False,
        },
        "gradient_clipping": "auto",
        "train_micro_batch_size_per_gpu": 4,
        "steps_per_print": 2000,
        "flops_profiler": {"enabled": True},
    }
    assert filed(asked) == Zero(3, ("optimizer", "scheduler", "train_micro_batch_size_per_gpu"))


def test_an_automatic_stage_in_a_file_is_that_of_accelerate(filed):
    assert filed({"zero_optimization": {"stage": "auto"}}, "--zero_stage", "1") == Zero(1)
    assert filed({"zero_optimization": {"stage": "auto"}}) == Zero(2)
    assert filed({"zero_optimization": {}}, "--zero_stage", "3") == Zero(0)  # DeepSpeed's own default


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--offload_optimizer_device", "cpu"), "offload_optimizer to cpu"),
        (("--zero_stage", "3", "--offload_param_device", "nvme"), "offload_param to nvme"),
        (("--mixed_precision", "fp16"), "mixed_precision fp16"),
    ],
)
def test_what_accelerate_was_told_and_cannot_be_had_is_refused(zero, words, named):
    with pytest.raises(ConfigError, match=f"DeepSpeed's {named} cannot be honoured") as refused:
        zero(deepspeed_environment(*words))
    assert refused.value.fix


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ({"offload_optimizer": {"device": "cpu"}}, "offload_optimizer to cpu"),
        ({"offload_param": {"device": "nvme", "nvme_path": "/scratch"}}, "offload_param to nvme"),
        ({"cpu_offload": True}, "cpu_offload"),
        ({"zero_hpz_partition_size": 8}, "zero_hpz_partition_size 8"),
        ({"zero_quantized_gradients": True}, "zero_quantized_gradients"),
        ({"mics_shard_size": 4}, "mics_shard_size 4"),
        ({"zenflow": {"topk_ratio": 0.1}}, "zenflow"),
    ],
)
def test_what_deepspeeds_engine_alone_does_is_refused(filed, asked, named):
    with pytest.raises(ConfigError, match=named) as refused:
        filed({"zero_optimization": {"stage": 3, **asked}})
    assert "ds.json" in str(refused.value.where)


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ({"fp16": {"enabled": True}}, "fp16"),
        ({"amp": {"enabled": True}}, "amp"),
        ({"optimizer": {"type": "OneBitAdam"}}, "optimizer OneBitAdam"),
        ({"progressive_layer_drop": {"enabled": True}}, "progressive_layer_drop"),
    ],
)
def test_another_computation_is_refused(filed, asked, named):
    with pytest.raises(ConfigError, match=named):
        filed({"zero_optimization": {"stage": 2}, **asked})


def test_an_automatic_offload_in_a_file_is_that_of_accelerate(filed):
    asked = {"zero_optimization": {"stage": 2, "offload_optimizer": {"device": "auto"}}}
    assert filed(asked) == Zero(2)
    with pytest.raises(ConfigError, match="offload_optimizer to cpu"):
        filed(asked, "--offload_optimizer_device", "cpu")


@pytest.mark.parametrize(
    "content",
    ["{", "[]", "\x00", "{}", '{"zero_optimization": {"stage": 4}}', '{"zero_optimization": {"stage": true}}',
     '{"zero_optimization": {"stage": [2]}}', '{"zero_optimization": 2}',
     '{"zero_optimization": {"offload_param": []}}', '{"zero_optimization": {}, "optimizer": "AdamW"}'],
)  # fmt: skip
def test_a_file_that_makes_no_sense_is_refused(filed, content):
    with pytest.raises(ConfigError) as refused:
        filed(content)
    assert "ds.json" in str(refused.value.where)


def test_a_file_that_is_not_there_is_refused(zero, tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        zero(deepspeed_environment("--deepspeed_config_file", str(tmp_path / "none.json")))
