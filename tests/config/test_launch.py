import os

import pytest

from hicra_cli.config.deepspeed import Zero
from hicra_cli.config.launch import Launch, read_launch
from hicra_cli.core.errors import ConfigError
from tests.config.accelerate_environment import PREFIXES, deepspeed_environment, fsdp_environment

NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "LOCAL_SIZE", "MASTER_ADDR", "MASTER_PORT")
ADDRESS = {"MASTER_ADDR": "node0", "MASTER_PORT": "29500"}
TWO = {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2", **ADDRESS}


@pytest.fixture
def launched(monkeypatch):
    def read(**variables):
        for name in (*NAMES, *(name for name in os.environ if name.startswith(PREFIXES))):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return read_launch()

    return read


def test_without_a_launcher_or_with_one_process_there_is_no_launch(launched):
    assert launched() is None
    assert launched(RANK="0", WORLD_SIZE="1", **ADDRESS) is None
    assert launched(MASTER_ADDR="elsewhere") is None


def test_torchrun_says_rank_and_size(launched):
    found = launched(RANK="9", WORLD_SIZE="16", LOCAL_RANK="1", LOCAL_WORLD_SIZE="8", **ADDRESS)
    assert found == Launch(9, 16, 1, 8)
    assert not found.is_leader


def test_deepspeeds_own_launcher_counts_the_processes_of_a_machine_in_other_words(launched):
    assert launched(RANK="1", WORLD_SIZE="2", LOCAL_RANK="1", LOCAL_SIZE="2", **ADDRESS) == Launch(1, 2, 1, 2)


@pytest.mark.parametrize(
    ("words", "parallel"),
    [
        ((), "fsdp"),
        (("--fsdp_version", "2", "--fsdp_reshard_after_forward", "true"), "fsdp"),
        (("--fsdp_version", "2", "--fsdp_reshard_after_forward", "false"), "zero2"),
        (("--fsdp_version", "1", "--fsdp_sharding_strategy", "FULL_SHARD"), "fsdp"),
        (("--fsdp_version", "1", "--fsdp_sharding_strategy", "SHARD_GRAD_OP"), "zero2"),
        (("--fsdp_version", "1", "--fsdp_sharding_strategy", "2"), "zero2"),
        (("--fsdp_version", "1", "--fsdp_sharding_strategy", "NO_SHARD"), "ddp"),
    ],
)
def test_accelerate_says_how_weights_are_shared(launched, words, parallel):
    assert launched(**TWO, **fsdp_environment(*words)).parallel == parallel


def test_offloading_to_the_host_is_refused(launched):
    with pytest.raises(ConfigError, match="fsdp_offload_params"):
        launched(**TWO, **fsdp_environment("--fsdp_offload_params", "true"))


@pytest.mark.parametrize(("stage", "parallel"), [(0, "ddp"), (1, "zero2"), (2, "zero2"), (3, "fsdp")])
def test_a_stage_of_zero_is_carried_out_by_sharding(launched, stage, parallel):
    found = launched(**TWO, **deepspeed_environment("--zero_stage", str(stage)))
    assert found == Launch(0, 2, 0, 2, parallel, Zero(stage))


@pytest.mark.parametrize("size", ["1", "2"])
def test_what_cannot_be_honoured_is_refused_for_any_number_of_processes(launched, size):
    with pytest.raises(ConfigError, match="offload_optimizer to cpu"):
        launched(RANK="0", WORLD_SIZE=size, **ADDRESS, **deepspeed_environment("--offload_optimizer_device", "cpu"))


def test_configured_for_deepspeed_without_a_launch_is_nobodys_concern(launched):
    assert launched(ACCELERATE_USE_DEEPSPEED="true") is None


def test_a_launch_of_several_on_cpu_that_accelerate_silently_makes_one_is_refused(launched):
    with pytest.raises(ConfigError, match="started this one alone"):
        launched(ACCELERATE_MIXED_PRECISION="no", **ADDRESS)
    assert launched(ACCELERATE_MIXED_PRECISION="no") is None


@pytest.mark.parametrize(
    "variables",
    [
        {"RANK": "2", "WORLD_SIZE": "2", **ADDRESS},
        {"RANK": "x", "WORLD_SIZE": "2", **ADDRESS},
        {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "4", "LOCAL_WORLD_SIZE": "2", **ADDRESS},
        {"RANK": "0", "WORLD_SIZE": "2"},
        {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "node0", "MASTER_PORT": "0"},
    ],
)
def test_numbers_that_make_no_sense_are_refused(launched, variables):
    with pytest.raises(ConfigError):
        launched(**variables)
