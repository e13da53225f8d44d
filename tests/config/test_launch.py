import pytest

from hicra_cli.config.launch import Launch, read_launch
from hicra_cli.core.errors import ConfigError

NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT",
         "ACCELERATE_MIXED_PRECISION", "ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED")  # fmt: skip
ADDRESS = {"MASTER_ADDR": "node0", "MASTER_PORT": "29500"}


@pytest.fixture
def launched(monkeypatch):
    def read(**variables):
        for name in NAMES:
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


def test_accelerate_says_what_it_is_configured_for(launched):
    start = {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2", **ADDRESS}
    assert launched(**start, ACCELERATE_USE_FSDP="true").backend == "fsdp"


@pytest.mark.parametrize("size", ["1", "2"])
def test_a_launcher_configured_for_deepspeed_is_refused(launched, size):
    start = {"RANK": "0", "WORLD_SIZE": size, **ADDRESS}
    with pytest.raises(ConfigError, match="DeepSpeed"):
        launched(**start, ACCELERATE_USE_DEEPSPEED="true")
    launched(**start, ACCELERATE_USE_DEEPSPEED="false")


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
