"""The vLLM engine against the real thing: `make test-vllm` builds an environment for it.

Every test starts vLLM in a process of its own: it owns the process it runs in (threads, distributed state), and so does
the command line's.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engine.tiny_models import save_tiny_policy

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
PRELUDE = """
import json, sys
import numpy as np
import torch
from pathlib import Path
from hicra_cli.config.root import HicraConfig
from hicra_cli.config.sampling import SamplingConfig
from hicra_cli.core.errors import EngineError
from hicra_cli.engine import vllm_engine
from hicra_cli.engine.base import Draws, Request
from hicra_cli.engine.factory import build_engine
from hicra_cli.engine.policy import load_policy
from hicra_cli.engine.probe import check_probe
from tests.engine.tiny_models import full_forward, request_of, tiny_model

path = Path(sys.argv[1])
sampling = SamplingConfig(max_new_tokens=24)
draws = Draws(7, "train", 3)
SIZES = {"a": (1, 3), "b": (9, 1), "c": (2, 4), "d": (30, 2), "e": (14, 5)}
requests = [request_of(name, length, samples) for name, (length, samples) in SIZES.items()]


def build(**engine):
    config = HicraConfig.model_validate({"device": "cpu", "engine": {"name": "vllm", **engine}})
    return build_engine(config, path, sampling=sampling, longest_prompt=80)


def logprobs_of(model, temperature=1.0):
    def logprobs(rollout):
        whole = full_forward(model, rollout.prompt_token_ids, rollout.token_ids, temperature=temperature)
        return whole.gather(1, torch.from_numpy(rollout.token_ids.astype(np.int64))[:, None])[:, 0].float().numpy()
    return logprobs


def worst(rollouts, model, temperature=1.0):
    return max(float(np.abs(logprobs_of(model, temperature)(r) - r.sampler_logprobs).max()) for r in rollouts)


def tokens(rollouts):
    return {f"{r.prompt.id}{r.sample}": r.token_ids.tolist() for r in rollouts}


def answer(**values):
    Path(sys.argv[2]).write_text(json.dumps(values))
"""


def run(folder: Path, code: str, *, policy: Path) -> dict[str, object]:
    """What `code` gave to `answer(…)`, run after the prelude in a fresh process."""
    result = folder / "result.json"
    # Two workers on a machine with one memory node must be told their cores.
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE", "VLLM_CPU_OMP_THREADS_BIND": "0|0"}
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + code, str(policy), str(result)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]
    found = json.loads(result.read_text())
    assert isinstance(found, dict)
    return found


def test_it_samples_what_it_reports_and_takes_new_weights(tmp_path: Path):
    found = run(
        tmp_path,
        """
loaded = load_policy(path, dtype=torch.float32)
with build() as engine:
    seen = []
    first = engine.generate(requests, sampling, draws, on_rollout=seen.append)
    again = engine.generate(requests[::-1], sampling, draws)
    other = engine.generate(requests, sampling, Draws(7, "train", 4))
    vllm_engine._MOST_IN_FLIGHT, most = 2, vllm_engine._MOST_IN_FLIGHT
    reported = []
    nothing = engine.generate(requests, sampling, draws, on_rollout=reported.append, keep=False)
    vllm_engine._MOST_IN_FLIGHT = most
    cool = engine.generate(requests, SamplingConfig(max_new_tokens=24, temperature=0.6), draws)
    greedy = engine.generate(requests[:1], SamplingConfig(max_new_tokens=24, temperature=0), draws)
    new = tiny_model(head_dim=32, seed=9)
    engine.update_weights(new, version=5)
    updated = engine.generate(requests, sampling, draws)
    probe = check_probe(engine, logprobs_of(new), requests[1], temperature=1.0, tolerance=1e-3, seed=0)
    try:
        check_probe(engine, logprobs_of(loaded.model), requests[1], temperature=1.0, tolerance=1e-3, seed=0)
        stale = ""
    except EngineError as error:
        stale = str(error)
    try:
        engine.generate([request_of("long", 200, 1)], sampling, draws)
        long = ""
    except EngineError as error:
        long = str(error)
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    answer(
        order=[(r.prompt.id, r.sample) for r in first], seen=len(seen), entropy=[r.token_entropy for r in first],
        nothing=nothing, few=tokens(reported) == tokens(first),
        same=tokens(first) == tokens(again), other=tokens(first) == tokens(other),
        distinct=len({r.token_ids.tobytes() for r in first}), error=worst(first, loaded.model),
        cool=worst(cool, loaded.model, 0.6), greedy=greedy[0].sampler_logprobs.any().item(),
        updated=worst(updated, new), unlike_old=worst(updated, loaded.model), version=engine.version, probe=probe,
        stale=stale, long=long, threads=torch.get_num_threads() - threads,
        reasons=sorted({str(r.finish_reason) for r in first}), stops=[r.token_ids.tolist().count(1) for r in first],
        ends=[r.token_ids.tolist()[-1] == 1 for r in first], finish=[str(r.finish_reason) for r in first],
        text=[r.text == loaded.tokenizer.decode(r.token_ids.tolist(), skip_special_tokens=True) for r in first],
    )
engine.close()
""",
        policy=save_tiny_policy(tmp_path / "policy", head_dim=32),
    )
    samples = {"a": 3, "b": 1, "c": 4, "d": 2, "e": 5}
    assert found["order"] == [[name, sample] for name, count in samples.items() for sample in range(count)]
    assert found["seen"] == found["distinct"] == 15
    assert found["entropy"] == [None] * 15
    assert found["same"] is found["few"] is True
    assert found["nothing"] == []
    assert found["other"] is False
    assert found["error"] < 1e-4  # type: ignore[operator]
    assert found["cool"] < 1e-4  # type: ignore[operator]
    assert found["greedy"] is False
    assert found["updated"] < 1e-4 < 0.1 < found["unlike_old"]  # type: ignore[operator]
    assert found["version"] == 5
    assert found["probe"] < 1e-4  # type: ignore[operator]
    assert "kept older weights" in str(found["stale"])
    assert "prompt 'long' has 200 tokens" in str(found["long"])
    assert found["threads"] == 1
    assert found["text"] == [True] * 15
    assert found["finish"] == ["stop" if ended else "length" for ended in found["ends"]]  # type: ignore[attr-defined]


def test_a_tied_output_head_is_renewed_and_without_that_the_probe_stops(tmp_path: Path):
    found = run(
        tmp_path,
        """
new = tiny_model(head_dim=32, seed=9, tie_word_embeddings=True)
with build() as engine:
    engine.update_weights(new, version=1)
    renewed = worst(engine.generate(requests, sampling, draws), new)
    vllm_engine.pack_output_head_again = lambda model: None
    newer = tiny_model(head_dim=32, seed=10, tie_word_embeddings=True)
    engine.update_weights(newer, version=2)
    try:
        check_probe(engine, logprobs_of(newer), requests[1], temperature=1.0, tolerance=1e-3, seed=0)
        caught = ""
    except EngineError as error:
        caught = str(error)
    answer(renewed=renewed, caught=caught)
""",
        policy=save_tiny_policy(tmp_path / "policy", head_dim=32, tie_word_embeddings=True),
    )
    assert found["renewed"] < 1e-4  # type: ignore[operator]
    assert "disagrees with the trainer about weights version 2" in str(found["caught"])


def test_seeded_requests_survive_more_prompt_tokens_than_one_batch_holds(tmp_path: Path):
    # 120 prompts of 80 tokens are 9600, more than the 4096 of a batch: a prefill cut in two crashes seeded requests.
    found = run(
        tmp_path,
        """
many = [request_of(str(number), 80, 1) for number in range(120)]
with build() as engine:
    together = engine.generate(many, sampling, draws)
    apart = engine.generate(many[60:70], sampling, draws)
    answer(count=len(together), same=tokens(together[60:70]) == tokens(apart))
""",
        policy=save_tiny_policy(tmp_path / "policy", head_dim=32),
    )
    assert found == {"count": 120, "same": True}


def test_full_tensors_are_taken_one_by_one(tmp_path: Path):
    found = run(
        tmp_path,
        """
new = tiny_model(head_dim=32, seed=9)
def fails(named):
    try:
        engine.load_weights(named, version=2)
    except EngineError as error:
        return str(error)
    return ""
with build() as engine:
    engine.load_weights(reversed([*new.named_parameters()]), version=1)
    loaded = worst(engine.generate(requests, sampling, draws), new)
    unknown = fails([("model.layers.0.nothing.weight", torch.zeros(3))])
    answer(loaded=loaded, unknown=unknown, version=engine.version)
""",
        policy=save_tiny_policy(tmp_path / "policy", head_dim=32),
    )
    assert found["loaded"] < 1e-4  # type: ignore[operator]
    assert "did not take the weights of version 2" in str(found["unknown"])
    assert found["version"] == 1


@pytest.mark.slow
def test_worker_processes_get_their_weights_through_a_file(tmp_path: Path):
    found = run(
        tmp_path,
        """
if __name__ == "__main__":
    new = tiny_model(head_dim=32, seed=9)
    with build(tensor_parallel=2) as engine:
        engine.update_weights(new, version=1)
        answer(updated=worst(engine.generate(requests, sampling, draws), new))
""",
        policy=save_tiny_policy(tmp_path / "policy", head_dim=32),
    )
    assert found["updated"] < 1e-4  # type: ignore[operator]


def test_the_command_line_trains_with_it(tmp_path: Path):
    home = tmp_path / "home"
    options = ["--algo", "hicra", "--engine", "vllm", "--set", "device=cpu", "--steps", "3", "--num-prompts", "6"]
    options += ["--group-size", "4", "--lr", "1e-3", "--max-new-tokens", "48"]
    done = subprocess.run(
        [sys.executable, "-m", "hicra_cli", "train", "--json", "--home", str(home), *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]
    # vLLM prints to file descriptor 1; what reaches stdout is one JSON document all the same.
    document = json.loads(done.stdout)
    assert document["status"] == "ok"
    assert done.stdout.count("\n") == 1
    (steps,) = home.glob("artifacts/training/*/*/steps.jsonl")
    records = [json.loads(line) for line in steps.read_text().splitlines()]
    assert [record["step"] for record in records] == [1, 2, 3]
    assert all(record["policy/probe_nats"] < 1e-4 for record in records)
    assert max(record["policy/grad_norm"] for record in records) > 0


def test_a_model_vllm_does_not_start_on_is_an_engine_error(tmp_path: Path):
    found = run(
        tmp_path,
        """
try:
    build(max_model_len=100000)
    answer(error="")
except EngineError as error:
    answer(error=str(error))
""",
        policy=save_tiny_policy(tmp_path / "policy", head_dim=32),
    )
    assert "vLLM did not start" in str(found["error"])
