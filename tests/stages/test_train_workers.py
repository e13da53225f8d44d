import pytest
import torch

from hicra_cli.config.launch import Launch
from hicra_cli.core.errors import ConfigError
from hicra_cli.core.progress import SilentProgress
from hicra_cli.stages.train.workers import build_workers
from tests.stages.runs import small_config


class Unasked:
    """A launch whose processes must not be met: the refusal comes first."""

    def __init__(self, backend=""):
        self.launch = Launch(0, 2, 0, 2, backend)
        self.size = 2


def build(config, board=None):
    return build_workers(config, torch.device("cpu"), config.home, board, SilentProgress())


def test_without_a_launch_one_process_is_all_the_workers(tmp_path):
    workers = build(small_config(tmp_path, parallel="fsdp"))
    assert (workers.rank, workers.size, workers.lockstep) == (0, 1, False)


def test_deepspeed_is_refused_by_configuration_and_by_launcher(tmp_path):
    with pytest.raises(ConfigError, match="deepspeed is not supported"):
        build(small_config(tmp_path, parallel="deepspeed"))
    with pytest.raises(ConfigError, match="deepspeed is not supported"):
        build(small_config(tmp_path), Unasked("deepspeed"))


def test_an_engine_over_several_devices_in_each_of_several_processes_is_refused(tmp_path):
    config = small_config(tmp_path)
    engine = config.engine.model_copy(update={"name": "vllm", "tensor_parallel": 2})
    with pytest.raises(ConfigError, match="engine of its own"):
        build(config.model_copy(update={"engine": engine}), Unasked())
