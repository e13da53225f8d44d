import pytest
import torch

from hicra_cli.config.deepspeed import Zero
from hicra_cli.config.launch import Launch
from hicra_cli.config.train import TrainConfig
from hicra_cli.core.errors import ConfigError
from hicra_cli.core.progress import SilentProgress
from hicra_cli.stages.train.parallel import choose_parallel, describe_zero
from hicra_cli.stages.train.workers import build_workers
from tests.commands.run_hicra import document, hicra
from tests.config.accelerate_environment import deepspeed_environment
from tests.stages.runs import small_config

LAUNCH = {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "localhost",
          "MASTER_PORT": "29500"}  # fmt: skip


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


def test_a_dry_run_under_a_configuration_for_deepspeed_says_what_becomes_of_it(tmp_path):
    zero = deepspeed_environment("--zero_stage", "1", "--gradient_clipping", "0.5")
    done = hicra("train", "-c", "quickstart", "--dry-run", "--json", cwd=tmp_path, check=0, **LAUNCH, **zero)
    (plan,) = [each for each in document(done)["data"].values() if isinstance(each, dict) and "processes" in each]
    assert plan["processes"] == "2 processes, each with a shard of the weights, made whole between forward and backward"
    assert "ZeRO stage 1" in plan["DeepSpeed"]
    assert "serves stage 1 by what stage 2 does" in plan["DeepSpeed"]
    assert plan["DeepSpeed"].endswith("hicra's own settings stand for gradient_clipping")


def test_what_of_deepspeed_cannot_be_honoured_is_refused_before_anything_is_made(tmp_path):
    for environment in (
        deepspeed_environment("--zero_stage", "2", "--offload_optimizer_device", "cpu"),
        deepspeed_environment("--zero_stage", "3", "--mixed_precision", "fp16"),
    ):
        done = hicra("train", "-c", "quickstart", "--dry-run", "--json", cwd=tmp_path, check=2, **LAUNCH, **environment)
        error = document(done)["error"]
        assert "cannot be honoured" in error["what"]
        assert error["fix"]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("configured", "launcher", "device_bytes", "chosen"),
    [
        ("ddp", "fsdp", 1, "ddp"),
        ("zero2", None, None, "zero2"),
        ("auto", "zero2", None, "zero2"),
        ("auto", "ddp", 1, "ddp"),  # ZeRO stage 0 asks for copies
        ("auto", None, None, "ddp"),
        # 1000 weights of 16 bytes, and half a device for them
        ("auto", None, 32_000, "ddp"),
        ("auto", None, 31_999, "fsdp"),
    ],
)
def test_what_is_configured_goes_before_what_the_launcher_says_and_that_before_what_fits(
    configured, launcher, device_bytes, chosen
):
    train = TrainConfig(parallel=configured)
    launch = Launch(0, 2, 0, 2, launcher)
    assert choose_parallel(train, launch, parameters=1000, device_bytes=device_bytes) == chosen


def test_a_set_layout_that_overrules_the_launcher_is_told():
    launch = Launch(0, 2, 0, 2, "zero2", Zero(2))
    assert "train.parallel ddp is set and rules" in str(describe_zero(launch, "ddp"))
    assert describe_zero(Launch(0, 2, 0, 2, "fsdp"), "fsdp") is None


def test_an_engine_over_several_devices_in_each_of_several_processes_is_refused(tmp_path):
    config = small_config(tmp_path)
    engine = config.engine.model_copy(update={"name": "vllm", "tensor_parallel": 2})
    with pytest.raises(ConfigError, match="engine of its own"):
        build(config.model_copy(update={"engine": engine}), Unasked())
