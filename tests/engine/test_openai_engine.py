"""The engine openai against a real server on loopback that misbehaves on order."""

import json
import random
import socket
import threading
import time
from contextlib import closing
from typing import Any

import numpy as np
import pytest
import torch

from hicra_cli.config.engine import EngineConfig
from hicra_cli.config.root import HicraConfig
from hicra_cli.config.sampling import SamplingConfig
from hicra_cli.core.errors import ConfigError, EngineError, ServiceError
from hicra_cli.core.records import FinishReason
from hicra_cli.core.seeds import seed_for
from hicra_cli.engine import completion_server
from hicra_cli.engine.base import Draws
from hicra_cli.engine.factory import build_engine
from hicra_cli.engine.openai_engine import OpenAIEngine
from hicra_cli.engine.policy import load_policy
from tests.engine.completion_service import (
    MODEL,
    answering,
    completion,
    good,
    ids_of,
    listing,
    models,
    refusing,
    words_for,
)
from tests.engine.tiny_models import STOP_IDS, VOCABULARY, request_of, save_tiny_policy, tiny_model
from tests.grams.annotators.service_server import Response, service_server

KEY = "sk-test-key-that-must-never-be-seen"
SAMPLING = SamplingConfig(max_new_tokens=24, temperature=0.6)
DRAWS = Draws(7, "eval")
REQUESTS = [request_of("a", 5, 3), request_of("b", 9, 1), request_of("c", 2, 2)]
PLACES = [("a", 0), ("a", 1), ("a", 2), ("b", 0), ("c", 0), ("c", 1)]


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    """The folder of the served model: without weights, which the engine does not need."""
    folder = save_tiny_policy(tmp_path_factory.mktemp("policy"))
    for path in folder.glob("*.safetensors"):
        path.unlink()
    return folder


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def engine_for(policy, server, **changes):
    settings = {"base_url": f"{server.base_url}/v1", "model": MODEL, "concurrency": 1, "timeout_s": 20.0, **changes}
    return OpenAIEngine(policy, EngineConfig(name="openai", **settings), first_backoff_s=0.01)


def sample(policy, otherwise=good, script=(), *, requests=REQUESTS, sampling=SAMPLING, **changes):
    """Rollouts, the completion requests that made them, and the engine."""
    # The list of models is asked for first.
    script = [lambda request: models(), *script] if script else []
    with service_server(script, listing(otherwise)) as server, engine_for(policy, server, **changes) as engine:
        rollouts = engine.generate(requests, sampling, DRAWS)
        return rollouts, [each for each in server.requests if each.path == "/v1/completions"], engine


def failure(policy, otherwise, kind=ServiceError, **more):
    """What a failing call says in full, and how many completions it asked for."""
    with service_server([], listing(otherwise)) as server:
        changes = {"max_attempts": 3, **more}
        with pytest.raises(kind) as caught:
            engine_for(policy, server, **changes).generate(REQUESTS[:1], SAMPLING, DRAWS)
        return str(caught.value), len(server.requests) - 1


def test_the_request_says_everything_that_decides_a_response(policy):
    _, requests, _ = sample(policy)
    first = requests[0]
    assert first.headers["authorization"] == f"Bearer {KEY}"
    assert first.body == {
        "model": MODEL,
        "prompt": REQUESTS[0].token_ids.tolist(),
        "max_tokens": 24,
        "temperature": 0.6,
        "top_p": 1.0,
        "seed": seed_for(7, "eval", prompt="a", sample=0) % 2**31,
        "n": 1,
        "stream": False,
        "top_k": -1,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "stop_token_ids": [1],
        "add_special_tokens": False,
        "skip_special_tokens": True,
        "return_token_ids": True,
    }
    assert len({each.body["seed"] for each in requests}) == 6


def test_rollouts_come_in_order_with_the_servers_tokens_and_each_is_told_once(policy):
    told: list[Any] = []
    with service_server([], listing(good)) as server, engine_for(policy, server, concurrency=4) as engine:
        rollouts = engine.generate(REQUESTS, SAMPLING, DRAWS, on_rollout=told.append)
        assert engine.generate(REQUESTS, SAMPLING, DRAWS, on_rollout=told.append, keep=False) == []
        assert [each.path for each in server.requests].count("/v1/models") == 1
    assert [(each.prompt.id, each.sample) for each in rollouts] == PLACES
    assert sorted((each.prompt.id, each.sample) for each in told) == sorted(PLACES * 2)
    seed = seed_for(7, "eval", prompt="b", sample=0) % 2**31
    assert rollouts[3].text == words_for(REQUESTS[1].token_ids.tolist(), seed)
    assert rollouts[3].token_ids.tolist() == [*ids_of(rollouts[3].text), 1]
    assert rollouts[3].token_ids.dtype == np.int32
    assert np.isnan(rollouts[3].sampler_logprobs).all()
    assert engine.remarks == []


def test_what_is_drawn_depends_on_seed_step_prompt_and_sample_alone(policy):
    with service_server([], listing(good)) as server, engine_for(policy, server, concurrency=3) as engine:
        first = engine.generate(REQUESTS, SAMPLING, DRAWS)
        again = engine.generate(REQUESTS[::-1], SAMPLING, DRAWS)
        other = engine.generate(REQUESTS, SAMPLING, Draws(7, "eval", 1))
    texts = {(each.prompt.id, each.sample): each.text for each in first}
    assert texts == {(each.prompt.id, each.sample): each.text for each in again}
    assert not set(texts.values()) & {each.text for each in other}


def test_without_token_ids_the_text_is_encoded_anew_and_that_is_said(policy):
    rollouts, _, engine = sample(policy, answering(token_ids=None, prompt_token_ids=None, text="four 4"))
    assert rollouts[0].token_ids.tolist() == [*ids_of("four 4"), 1]
    assert engine.remarks == ["the server told no token ids of 6 responses: they are those of the text, encoded anew"]


@pytest.mark.parametrize(
    ("told", "found"),
    [("stop", "stop"), ("length", "length"), ("eos_token", "stop"), ("content_filter", "stop")],
)
def test_finish_reasons_are_translated(policy, told, found):
    rollouts, _, _ = sample(policy, answering(finish_reason=told))
    assert {each.finish_reason for each in rollouts} == {FinishReason(found)}


def test_a_response_cut_before_the_limit_is_told(policy):
    _, _, engine = sample(policy, answering(finish_reason="length"))
    assert engine.remarks == ["the server cut 6 responses before the limit that was asked for: it has one of its own"]


def test_prompt_and_response_fit_into_the_smaller_context_of_folder_and_server(policy):
    _, requests, _ = sample(policy, requests=[request_of("long", 116, 1)])
    assert requests[0].body["max_tokens"] == 12  # 128 positions in config.json
    with service_server([], listing(good, answer=models(max_model_len=40))) as server:
        engine = engine_for(policy, server)
        engine.generate([request_of("a", 30, 1)], SAMPLING, DRAWS)
        assert server.requests[-1].body["max_tokens"] == 10
        with pytest.raises(EngineError, match="prompt 'long' has 40 tokens"):
            engine.generate([request_of("long", 40, 1)], SAMPLING, DRAWS)


def test_log_probs_are_read_where_they_are_asked_for_and_whole(policy):
    def told(request):
        body = completion(request)
        count = len(body["choices"][0]["token_ids"])
        body["choices"][0]["logprobs"] = {"token_logprobs": [-0.5] * (count - (request.body["seed"] % 2))}
        return Response(body=json.dumps(body).encode())

    rollouts, requests, _ = sample(policy, told, logprobs=True)
    assert {each.body["logprobs"] for each in requests} == {0}
    for rollout, request in zip(rollouts, requests, strict=True):
        expected = np.nan if request.body["seed"] % 2 else -0.5
        np.testing.assert_array_equal(rollout.sampler_logprobs, np.full(len(rollout.token_ids), expected, np.float32))


def truncated(request):
    body = good(request).body
    return Response(body=body, cut_at=len(body) // 2)


HOSTILE = {
    "rate limit": refusing(429, f"slow down {KEY}", **{"Retry-After": "0.02"}),
    "overloaded": refusing(503, "loading model"),
    "failed": refusing(500, f"CUDA error {KEY}"),
    "web page": lambda request: Response(body=b"<html>log in</html>", content_type="text/html"),
    "cut json": lambda request: Response(body=good(request).body[:-9]),
    "no choices": answering(choices=[]),
    "two choices": lambda request: answering(choices=completion(request)["choices"] * 2)(request),
    "error with status 200": lambda request: Response(body=b'{"error": {"message": "engine dead"}}'),
    "connection dropped": truncated,
    "aborted": answering(finish_reason="abort"),
    "no reason": answering(finish_reason=None),
    "no text": answering(text=None, token_ids=[5]),
    "half a surrogate pair": lambda request: Response(body=good(request).body.replace(b'"so ', b'"\\ud800 ')),
    "nested without end": lambda request: Response(body=b"[" * 100_000),
    "more tokens than asked for": answering(text="x" * 24),  # and the stop token
    "more text than asked for": answering(text="x" * 7000, token_ids=None, usage=None),
    "token ids that are none": answering(token_ids=[-1, 2.5, "x"]),
    "token ids beyond 32 bits": answering(token_ids=[2**31]),
    "silent": lambda request: Response(hang_s=0.7),
    "dripping": lambda request: Response(body=b" " * 400, drip_s=0.01),
}


@pytest.mark.parametrize("trouble", HOSTILE)
def test_a_request_in_trouble_is_sent_again_unchanged(policy, trouble):
    timeout_s = 0.4 if trouble in ("silent", "dripping") else 20.0
    rollouts, requests, engine = sample(policy, script=[HOSTILE[trouble]], timeout_s=timeout_s)
    assert [(each.prompt.id, each.sample) for each in rollouts] == PLACES
    assert len(requests) == 7
    assert requests[0].body == requests[1].body
    assert engine.remarks == []


@pytest.mark.parametrize("trouble", [name for name in HOSTILE if name not in ("silent", "dripping", "rate limit")])
def test_trouble_without_end_ends_the_run_and_names_no_key(policy, trouble):
    message, asked = failure(policy, HOSTILE[trouble])
    assert asked == 3
    assert "3 attempts failed, the last one with: " in message
    assert "--resume" in message
    assert KEY not in message
    assert len(message) < 800


def test_a_rate_limit_is_no_failed_attempt_but_waiting_has_a_budget(policy):
    rollouts, requests, _ = sample(policy, script=[HOSTILE["rate limit"]] * 5, max_attempts=2)
    assert (len(rollouts), len(requests)) == (6, 11)
    message, asked = failure(policy, refusing(429, "slow down", **{"Retry-After": "3600"}))
    assert asked == 1
    assert "would exceed engine.retry_budget_s (1800 s): 429 slow down" in message


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        (refusing(401, f"Incorrect API key {KEY}"), "401 Incorrect API key [OPENAI_API_KEY]"),
        (refusing(404, "The model does not exist"), "404 The model does not exist"),
        (refusing(400, "This model's maximum context length is 9 tokens"), "maximum context length is 9"),
        (refusing(429, "no credit is left", code="insufficient_quota"), "429 no credit is left"),
        (refusing(307, "", Location="http://127.0.0.1:9/"), "redirects elsewhere; nothing was sent there"),
        (refusing(400, "temperature must be 1"), "400 temperature must be 1"),
    ],
)
def test_a_refusal_ends_the_run_at_once(policy, behaviour, said):
    message, asked = failure(policy, behaviour)
    assert asked == 1
    assert said in message
    assert KEY not in message


def test_optional_parameters_are_left_out_where_the_server_does_not_know_them(policy):
    strict = {"top_k", "min_p", "repetition_penalty"}

    def picky(request):
        unknown = sorted(strict & request.body.keys())
        return (
            refusing(400, f"Unrecognized request arguments supplied: {', '.join(unknown)}")(request)
            if unknown
            else good(request)
        )

    rollouts, requests, engine = sample(policy, picky)
    assert (len(rollouts), len(requests)) == (6, 7)
    assert engine.remarks == ["the server does not know min_p, repetition_penalty, top_k; its own values hold"]


def test_a_parameter_that_changes_what_is_sampled_is_never_left_out(policy):
    with service_server([], listing(refusing(400, "top_k is not supported"))) as server:
        sampling = SamplingConfig(max_new_tokens=24, top_k=20)
        with pytest.raises(ServiceError, match="top_k is not supported"):
            engine_for(policy, server).generate(REQUESTS, sampling, DRAWS)
        assert server.requests[-1].body["top_k"] == 20


def test_no_more_requests_are_in_flight_than_allowed(policy):
    lock, now, most = threading.Lock(), 0, 0

    def slow(request):
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.05)
        with lock:
            now -= 1
        return good(request)

    sample(policy, slow, requests=[request_of("a", 5, 24)], concurrency=5)
    assert most == 5


def test_a_server_that_reads_other_tokens_is_not_believed(policy):
    message, _ = failure(policy, answering(prompt_token_ids=[1, 2]), EngineError)
    assert "prompt 'a' has 5 tokens, but the server read 2 others" in message
    # A server that puts a begin-of-text token before the prompt, and tells no ids.
    message, _ = failure(policy, answering(prompt_token_ids=None, usage={"prompt_tokens": 6}), EngineError)
    assert "the server read 6 others" in message


def test_the_prompt_goes_as_text_where_a_server_takes_no_ids(policy):
    told = answering(prompt_token_ids=None)
    rollouts, requests, _ = sample(policy, told, prompt_as="text")
    assert ids_of(requests[0].body["prompt"]) == REQUESTS[0].token_ids.tolist()
    assert len(rollouts) == 6
    message, _ = failure(
        policy, answering(prompt_token_ids=None, usage={"prompt_tokens": 6}), EngineError, prompt_as="text"
    )
    assert "engine.prompt_as=tokens" in message


def test_a_server_with_another_tokenizer_is_noticed(policy):
    message, _ = failure(policy, answering(text="four", token_ids=ids_of("five")), EngineError)
    assert "reads 'four' on the server, but its tokens are 'five' to the policy's tokenizer" in message
    message, _ = failure(policy, answering(text="four", token_ids=[VOCABULARY]), EngineError)
    assert "served model's own folder" in message
    # Neither blanks and half characters, in which decoders differ, nor a stop token left out of the text are a sign.
    rollouts, _, _ = sample(policy, answering(text="fou", token_ids=ids_of("four")))
    assert rollouts[0].text == "four"
    rollouts, _, _ = sample(policy, answering(text="4  2\ufffd", token_ids=[*ids_of("4 2"), 1]))
    assert rollouts[0].text == "4 2"


def test_an_answer_without_end_is_not_read_to_its_end(policy, monkeypatch):
    monkeypatch.setattr(completion_server, "LONGEST_BODY_BYTES", 5000)
    message, _ = failure(policy, lambda request: Response(body=b" " * 6000))
    assert "the answer has no end" in message


def test_the_model_must_be_named_and_served(policy):
    with service_server([], listing(good, answer=models(names=("b", "a")))) as server:
        with pytest.raises(ConfigError, match=r"engine.model is not set.*The server lists: a, b"):
            engine_for(policy, server, model=None).generate(REQUESTS, SAMPLING, DRAWS)
        with pytest.raises(ServiceError, match="it serves no model served; it lists: a, b"):
            engine_for(policy, server).generate(REQUESTS, SAMPLING, DRAWS)
    # A server without a list is believed.
    with service_server([], listing(good, answer=Response(404))) as server:
        assert len(engine_for(policy, server).generate(REQUESTS, SAMPLING, DRAWS)) == 6


def test_a_server_that_is_not_there_is_given_up(policy):
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    engine = OpenAIEngine(
        policy, EngineConfig(name="openai", base_url=url, model=MODEL, max_attempts=2), first_backoff_s=0.01
    )
    with pytest.raises(ServiceError, match="2 attempts failed, the last one with: ConnectError"):
        engine.generate(REQUESTS, SAMPLING, DRAWS)


def test_a_server_that_is_still_starting_is_waited_for(policy):
    script = [refusing(503, "starting"), lambda request: models()]
    with service_server(script, listing(good)) as server:
        assert len(engine_for(policy, server).generate(REQUESTS, SAMPLING, DRAWS)) == 6


def test_what_the_caller_raises_comes_through_and_stops_the_requests(policy):
    def full(rollout):
        raise OSError("disk full")

    with service_server([], listing(good)) as server:
        with pytest.raises(OSError, match="disk full"):
            engine_for(policy, server).generate(REQUESTS, SAMPLING, DRAWS, on_rollout=full)
        assert len(server.requests) == 2


def test_amid_random_faults_every_sample_is_drawn_once_and_as_without_them(policy):
    draw, lock = random.Random(3), threading.Lock()
    faults = [each for name, each in HOSTILE.items() if name not in ("silent", "dripping")]

    def faulty(request):
        with lock:
            behaviour = draw.choice(faults) if draw.random() < 0.3 else good
        return behaviour(request)

    requests = [request_of(str(number), 4, 5) for number in range(60)]
    rollouts, _, _ = sample(policy, faulty, requests=requests, concurrency=8, max_attempts=100)
    expected, _, _ = sample(policy, requests=requests, concurrency=8)
    assert [(each.prompt.id, each.sample, each.text) for each in rollouts] == [
        (each.prompt.id, each.sample, each.text) for each in expected
    ]


def test_it_takes_no_weights_and_shares_none(policy, tmp_path):
    config = HicraConfig(device="cpu", engine=EngineConfig(name="openai", model=MODEL))
    engine = build_engine(config, policy, sampling=SAMPLING)
    with pytest.raises(EngineError, match="the server's model is its own"):
        engine.update_weights(tiny_model(), version=1)
    with pytest.raises(EngineError, match="the server's model is its own"):
        engine.load_weights([], version=1)
    engine.close()
    loaded = load_policy(save_tiny_policy(tmp_path), dtype=torch.float32)
    with pytest.raises(ConfigError, match="it is for eval only"):
        build_engine(config, loaded, sampling=SAMPLING)


@pytest.mark.parametrize("address", ["127.0.0.1:8000", "ftp://a/v1", "http://me:secret@a/v1", "http://a/v1?key=1"])
def test_an_address_that_is_none_or_holds_a_secret_is_refused(address):
    with pytest.raises(ValueError, match="an address"):
        EngineConfig(base_url=address)


def test_only_settings_that_decide_the_samples_name_them():
    assert EngineConfig().identity == {"name": "transformers", "dtype": "auto"}
    served = EngineConfig(name="openai", base_url="http://a/v1/", model="m", concurrency=3)
    assert served.identity == {
        "name": "openai", "dtype": "auto", "base_url": "http://a/v1", "model": "m", "prompt_as": "tokens",
    }  # fmt: skip


def test_the_stop_ids_of_the_generation_config_are_sent(policy, tmp_path):
    folder = save_tiny_policy(tmp_path)
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": list(STOP_IDS)}))
    _, requests, _ = sample(folder)
    assert requests[0].body["stop_token_ids"] == [1, 5, 9, 13]
