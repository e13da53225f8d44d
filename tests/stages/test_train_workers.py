import pytest
import torch

from hicra_cli.config.launch import Launch
from hicra_cli.core.errors import ConfigError
from hicra_cli.core.progress import SilentProgress
from hicra_cli.stages.train.workers import build_workers
from tests.commands.run_hicra import document, hicra
from tests.stages.runs import small_config


class Unasked:
    """A launch whose processes must not be met: the refusal comes first."""

    def __init__(self):
        self.launch = Launch(0, 2, 0, 2)
        self.size = 2


def build(config, board=None):
    return build_workers(config, torch.device("cpu"), config.home, board, SilentProgress())


def test_without_a_launch_one_process_is_all_the_workers(tmp_path):
    workers = build(small_config(tmp_path, parallel="fsdp"))
    assert (workers.rank, workers.size, workers.lockstep) == (0, 1, False)


def test_deepspeed_is_refused_before_anything_is_made(tmp_path):
    launch = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}
    for words, environment in (
        (["--set", "train.parallel=deepspeed"], {}),
        ([], {**launch, "ACCELERATE_USE_DEEPSPEED": "true"}),
    ):
        done = hicra("train", "-c", "quickstart", "--dry-run", "--json", *words, cwd=tmp_path, check=2, **environment)
        error = document(done)["error"]
        assert "deepspeed" in error["what"].lower()
        assert "fsdp" in error["what"] + error["fix"]
    assert not list(tmp_path.iterdir())


def test_an_engine_over_several_devices_in_each_of_several_processes_is_refused(tmp_path):
    config = small_config(tmp_path)
    engine = config.engine.model_copy(update={"name": "vllm", "tensor_parallel": 2})
    with pytest.raises(ConfigError, match="engine of its own"):
        build(config.model_copy(update={"engine": engine}), Unasked())
