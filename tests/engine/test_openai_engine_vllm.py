"""The engine openai against vLLM's own server: `make test-vllm` builds an environment for it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import closing, contextmanager

import numpy as np
import pytest
import torch

from hicra_cli.config.engine import EngineConfig
from hicra_cli.config.sampling import SamplingConfig
from hicra_cli.core.records import FinishReason
from hicra_cli.engine.base import Draws
from hicra_cli.engine.openai_engine import OpenAIEngine
from hicra_cli.engine.policy import load_policy
from tests.engine.tiny_models import full_forward, request_of, save_tiny_policy

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(600)]

DRAWS = Draws(7, "eval")
REQUESTS = [request_of("a", 5, 3), request_of("b", 40, 2), request_of("c", 1, 1)]
# What a model may recommend, and vLLM's server then applies to requests that do not say otherwise.
RECOMMENDED = {"eos_token_id": [1, 5], "repetition_penalty": 1.5, "top_k": 3, "top_p": 0.5, "temperature": 0.1}


@contextmanager
def vllm_server(folder, log):
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = f"--host 127.0.0.1 --port {port} --served-model-name tiny --dtype float32 --enforce-eager"
    # On CPU a request's own seed ends the server where its prefill is cut into chunks.
    options += " --no-enable-chunked-prefill --logprobs-mode processed_logprobs"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", folder, *options.split()],
            env={**os.environ, "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1"},
            stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
    try:
        url = f"http://127.0.0.1:{port}/v1"
        wait_until_ready(f"{url}/models", process, log)
        yield url
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


def wait_until_ready(url, process, log):
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()[-4000:]
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    pytest.fail(f"vLLM did not start: {log.read_text()[-4000:]}")


def test_samples_of_a_vllm_server_are_those_of_the_model(tmp_path):
    folder = save_tiny_policy(tmp_path / "policy", head_dim=32)
    (folder / "generation_config.json").write_text(json.dumps(RECOMMENDED))
    loaded = load_policy(folder, dtype=torch.float32)
    with vllm_server(folder, tmp_path / "log") as url:
        config = EngineConfig(name="openai", base_url=url, model="tiny", logprobs=True)
        sampling = SamplingConfig(max_new_tokens=24, temperature=0.8)
        engine = OpenAIEngine(folder, config)
        rollouts = engine.generate(REQUESTS, sampling, DRAWS)
        again = engine.generate(REQUESTS, sampling, DRAWS)
        as_text = OpenAIEngine(folder, config.model_copy(update={"prompt_as": "text"}))
        texts = as_text.generate(REQUESTS, sampling, DRAWS)
        greedy = engine.generate(REQUESTS, sampling.model_copy(update={"temperature": 0.0}), DRAWS)
    assert engine.remarks == as_text.remarks == []
    assert [(each.prompt.id, each.sample) for each in rollouts] == [
        ("a", 0), ("a", 1), ("a", 2), ("b", 0), ("b", 1), ("c", 0),
    ]  # fmt: skip
    # Equal log-probs say: the prompt was ours, the temperature ours, and no recommended penalty or cut was applied.
    for rollout in rollouts:
        whole = full_forward(loaded.model, rollout.prompt_token_ids, rollout.token_ids, temperature=0.8)
        expected = whole.gather(1, torch.from_numpy(rollout.token_ids.astype(np.int64))[:, None])[:, 0].numpy()
        np.testing.assert_allclose(rollout.sampler_logprobs, expected, atol=1e-4)
        ended = rollout.token_ids[-1] in (1, 5)
        assert rollout.finish_reason is (FinishReason.STOP if ended else FinishReason.LENGTH)
        assert not np.isin(rollout.token_ids[:-1], (1, 5)).any()
        assert ended or len(rollout.token_ids) == 24
    assert len({each.token_ids.tobytes() for each in rollouts}) == 6
    assert [each.token_ids.tolist() for each in rollouts] == [each.token_ids.tolist() for each in again]
    assert [each.token_ids.tolist() for each in rollouts] == [each.token_ids.tolist() for each in texts]
    first = full_forward(loaded.model, greedy[0].prompt_token_ids, greedy[0].token_ids)
    assert greedy[0].token_ids.tolist() == first.argmax(dim=1).tolist()
