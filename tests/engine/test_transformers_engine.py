"""The decoding loop: exact against a full forward, and independent of who shares a batch."""

import itertools
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hicra_cli.config.sampling import SamplingConfig
from hicra_cli.core.errors import EngineError
from hicra_cli.core.records import FinishReason, Prompt, Rollout
from hicra_cli.core.seeds import uniforms_for
from hicra_cli.engine.base import Draws, Engine, Request
from hicra_cli.engine.decoding import Row, prefill_batches
from hicra_cli.engine.transformers_engine import TransformersEngine
from tests.engine.tiny_models import (
    STOP_IDS,
    VOCABULARY,
    full_forward,
    in_float64,
    request_of,
    tiny_config,
    tiny_model,
    tiny_tokenizer,
)

SAMPLING = SamplingConfig(max_new_tokens=24)
DRAWS = Draws(7, "train", 3)
TOKENIZER = tiny_tokenizer()
QWEN3 = tiny_model("qwen3")
NANO = Path(__file__).parents[2] / "hicra_cli" / "embedded" / "nano"


def engine_of(model: Any = QWEN3, **options: Any) -> TransformersEngine:
    return TransformersEngine(model, TOKENIZER, **{"stop_ids": STOP_IDS, **options})


def varied_requests() -> list[Request]:
    return [
        request_of(name, length, samples)
        for name, length, samples in zip("abcdef", (1, 9, 2, 30, 14, 5), (3, 1, 4, 2, 5, 3), strict=True)
    ]


def by_sample(rollouts: Sequence[Rollout]) -> dict[tuple[str, int], Rollout]:
    return {(rollout.prompt.id, rollout.sample): rollout for rollout in rollouts}


def assert_same_samples(rollouts: Sequence[Rollout], expected: Sequence[Rollout]) -> None:
    found, wanted = by_sample(rollouts), by_sample(expected)
    assert found.keys() == wanted.keys()
    for key, rollout in found.items():
        np.testing.assert_array_equal(rollout.token_ids, wanted[key].token_ids, err_msg=str(key))
        np.testing.assert_allclose(rollout.sampler_logprobs, wanted[key].sampler_logprobs, rtol=0, atol=1e-5)
        assert rollout.text == wanted[key].text
        assert rollout.finish_reason is wanted[key].finish_reason


@pytest.mark.parametrize("kind", ["qwen3", "llama", "qwen2", "gemma", "smollm", "gpt2"])
@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_log_probs_and_entropy_agree_with_a_full_forward(kind: str, temperature: float):
    model = tiny_model(kind, seed=1)
    rollouts = engine_of(model, max_rows=7).generate(
        varied_requests(), SamplingConfig(max_new_tokens=24, temperature=temperature), DRAWS
    )
    for rollout in rollouts:
        chosen = torch.from_numpy(rollout.token_ids.astype(np.int64))[:, None]
        scaled = full_forward(model, rollout.prompt_token_ids, rollout.token_ids, temperature=temperature)
        whole = full_forward(model, rollout.prompt_token_ids, rollout.token_ids)
        assert rollout.token_entropy is not None
        entropy = -(whole.exp() * whole).sum(dim=-1)
        np.testing.assert_allclose(rollout.sampler_logprobs, scaled.gather(1, chosen)[:, 0], rtol=0, atol=1e-5)
        np.testing.assert_allclose(rollout.token_entropy, entropy, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["qwen3", "llama", "qwen2", "gemma", "smollm"])
@pytest.mark.parametrize("vocabulary", [VOCABULARY, 5000])
def test_in_float64_a_sample_is_the_same_alone_and_in_any_batch(kind: str, vocabulary: int):
    model = in_float64(tiny_model(kind, vocab_size=vocabulary))
    # One token in 24 ends a response, so rows leave and others take their place.
    engine = engine_of(model, max_rows=7, stop_ids=range(1, vocabulary, 24))
    requests = varied_requests()
    rollouts = engine.generate(requests, SAMPLING, DRAWS)
    assert len({len(rollout.token_ids) for rollout in rollouts}) > 3
    alone = [
        engine.generate([Request(request.prompt, request.token_ids, (sample,))], SAMPLING, DRAWS)[0]
        for request in requests
        for sample in request.samples
    ]
    for rollout, single in zip(rollouts, alone, strict=True):
        assert rollout.token_ids.tolist() == single.token_ids.tolist()
        whole = full_forward(model, rollout.prompt_token_ids, rollout.token_ids)
        chosen = torch.from_numpy(rollout.token_ids.astype(np.int64))[:, None]
        # Equal but for the last bit of the float32 they are stored in.
        np.testing.assert_allclose(rollout.sampler_logprobs, whole.gather(1, chosen)[:, 0], rtol=1.2e-7, atol=1e-9)
        assert rollout.token_entropy is not None
        np.testing.assert_allclose(rollout.token_entropy, -(whole.exp() * whole).sum(dim=-1), rtol=1.2e-7, atol=1e-9)


def test_tokens_are_those_the_uniforms_of_the_sample_point_at():
    # The reference: cumulative sums of a full forward's probabilities in float64, token by token.
    (rollout,) = engine_of().generate([request_of("a", 12, 1)], SAMPLING, DRAWS)
    reached = full_forward(QWEN3, rollout.prompt_token_ids, rollout.token_ids).exp().cumsum(dim=-1)
    uniforms = uniforms_for(24, 7, "train", step=3, prompt="a", sample=0)[: len(rollout.token_ids)]
    expected = [int((row > uniform).nonzero()[0]) for row, uniform in zip(reached, uniforms, strict=True)]
    assert rollout.token_ids.tolist() == expected


def test_rollouts_come_in_the_order_of_requests_and_samples_with_their_parts():
    requests = [request_of("b", 4, 2), Request(request_of("a", 6, 1).prompt, request_of("a", 6, 1).token_ids, (5, 2))]
    rollouts = engine_of(max_rows=2).generate(requests, SAMPLING, DRAWS)
    assert [(rollout.prompt.id, rollout.sample) for rollout in rollouts] == [("b", 0), ("b", 1), ("a", 5), ("a", 2)]
    for rollout in rollouts:
        assert rollout.token_entropy is not None
        assert rollout.token_ids.dtype == rollout.prompt_token_ids.dtype == np.int32
        assert rollout.sampler_logprobs.dtype == rollout.token_entropy.dtype == np.float32
        assert len(rollout.token_ids) == len(rollout.sampler_logprobs) == len(rollout.token_entropy)
        assert rollout.text == TOKENIZER.decode(rollout.token_ids.tolist(), skip_special_tokens=True)


def test_the_stop_token_belongs_to_the_response_and_nothing_follows_it():
    rollouts = engine_of().generate([request_of("a", 5, 64)], SAMPLING, DRAWS)
    reasons = {rollout.finish_reason for rollout in rollouts}
    assert reasons == {FinishReason.STOP, FinishReason.LENGTH}
    for rollout in rollouts:
        stops = np.isin(rollout.token_ids, STOP_IDS)
        assert not stops[:-1].any()
        assert stops[-1] == (rollout.finish_reason is FinishReason.STOP)
        assert stops[-1] or len(rollout.token_ids) == 24


@settings(max_examples=12, deadline=None)
@given(order=st.permutations(range(6)), max_rows=st.integers(1, 20), cut=st.integers(0, 6))
def test_order_partition_and_number_of_rows_do_not_change_a_sample(order: list[int], max_rows: int, cut: int):
    requests = varied_requests()
    shuffled = [requests[place] for place in order]
    engine = engine_of(max_rows=max_rows)
    rollouts = engine.generate(shuffled[:cut], SAMPLING, DRAWS) + engine.generate(shuffled[cut:], SAMPLING, DRAWS)
    assert_same_samples(rollouts, engine_of().generate(requests, SAMPLING, DRAWS))


def test_a_shared_prefill_gives_the_samples_of_separate_ones():
    together = request_of("a", 20, 6)
    apart = [Request(together.prompt, together.token_ids, (sample,)) for sample in range(6)]
    assert_same_samples(
        engine_of().generate([together], SAMPLING, DRAWS),
        list(itertools.chain.from_iterable(engine_of().generate([one], SAMPLING, DRAWS) for one in apart)),
    )


def test_a_prompt_runs_through_the_model_once_however_many_samples_it_has():
    model = tiny_model()
    engine = engine_of(model)
    shapes: list[tuple[int, ...]] = []
    model.model.embed_tokens.register_forward_hook(lambda module, inputs, output: shapes.append((*inputs[0].shape,)))
    engine.generate([request_of("a", 20, 8), request_of("b", 11, 8)], SAMPLING, DRAWS)
    # The prompts but their last tokens, then one token of each row at every step.
    assert shapes[:2] == [(2, 19), (16,)]
    assert {len(shape) for shape in shapes[1:]} == {1}


def test_finished_rows_leave_the_batch_and_waiting_ones_take_their_place():
    model = tiny_model()
    engine = engine_of(model, max_rows=8)
    rows: list[int] = []
    model.lm_head.register_forward_hook(lambda module, inputs, output: rows.append(inputs[0].shape[0]))
    rollouts = engine.generate([request_of(name, 6, 2) for name in "abcdefghij"], SAMPLING, DRAWS)
    # Every row of every step is one token of a response: nothing is computed for finished rows.
    assert sum(rows) == sum(len(rollout.token_ids) for rollout in rollouts)
    assert max(rows) == 8
    assert len(rows) < 3 * 24


def test_every_rollout_is_reported_once_as_soon_as_it_is_finished():
    seen: list[Rollout] = []
    rollouts = engine_of(max_rows=4).generate(varied_requests(), SAMPLING, DRAWS, on_rollout=seen.append)
    assert sorted(map(id, seen)) == sorted(map(id, rollouts))
    assert seen != rollouts


def test_what_is_not_kept_is_reported_and_then_forgotten():
    alive: list[weakref.ref[Rollout]] = []
    most = 0
    tokens: list[tuple[str, int, bytes]] = []

    def look(rollout: Rollout) -> None:
        nonlocal most
        alive.append(weakref.ref(rollout.token_ids))  # type: ignore[arg-type]
        tokens.append((rollout.prompt.id, rollout.sample, rollout.token_ids.tobytes()))
        most = max(most, sum(each() is not None for each in alive))

    kept = engine_of(max_rows=4).generate(varied_requests(), SAMPLING, DRAWS)
    assert engine_of(max_rows=4).generate(varied_requests(), SAMPLING, DRAWS, on_rollout=look, keep=False) == []
    assert sorted(tokens) == sorted((each.prompt.id, each.sample, each.token_ids.tobytes()) for each in kept)
    assert most <= 4 < len(kept)


def test_the_same_call_gives_the_same_bytes_and_another_step_other_samples():
    first, second, other = (
        engine_of(max_rows=5).generate(varied_requests(), SAMPLING, draws)
        for draws in (DRAWS, DRAWS, Draws(7, "train", 4))
    )
    assert [rollout.sampler_logprobs.tobytes() for rollout in first] == [
        rollout.sampler_logprobs.tobytes() for rollout in second
    ]
    assert [rollout.token_ids.tobytes() for rollout in first] != [rollout.token_ids.tobytes() for rollout in other]


def test_greedy_decoding_takes_the_likeliest_token():
    (rollout,) = engine_of().generate([request_of("a", 8, 1)], SamplingConfig(max_new_tokens=24, temperature=0), DRAWS)
    expected = full_forward(QWEN3, rollout.prompt_token_ids, rollout.token_ids).argmax(dim=-1)
    assert rollout.token_ids.tolist() == expected.tolist()
    assert not rollout.sampler_logprobs.any()


def test_the_cache_grows_when_responses_outgrow_it(monkeypatch: pytest.MonkeyPatch):
    expected = engine_of().generate(varied_requests(), SAMPLING, DRAWS)
    monkeypatch.setattr("hicra_cli.engine.transformers_engine._FIRST_COLUMNS", 2)
    assert_same_samples(engine_of(max_rows=3).generate(varied_requests(), SAMPLING, DRAWS), expected)


def test_a_large_cache_is_given_back_after_the_call_and_a_small_one_kept(monkeypatch: pytest.MonkeyPatch):
    engine = engine_of()
    expected = engine.generate(varied_requests(), SAMPLING, DRAWS)
    kept = engine._cache
    # 2 layers x (keys, values) x 18 rows x 2 heads x (30 + 24) columns x 8 wide x 4 bytes
    assert kept is not None
    assert kept.size_bytes == 2 * 2 * 18 * 2 * 54 * 8 * 4
    assert_same_samples(engine.generate(varied_requests(), SAMPLING, DRAWS), expected)
    assert engine._cache is kept
    monkeypatch.setattr("hicra_cli.engine.transformers_engine._KEPT_CACHE_BYTES", 1000)
    assert_same_samples(engine.generate(varied_requests(), SAMPLING, DRAWS), expected)
    assert engine._cache is None


def test_prompts_are_prefilled_in_batches_of_bounded_size(monkeypatch: pytest.MonkeyPatch):
    expected = engine_of().generate(varied_requests(), SAMPLING, DRAWS)
    monkeypatch.setattr("hicra_cli.engine.decoding._PREFILL_TOKENS", 40)
    assert_same_samples(engine_of().generate(varied_requests(), SAMPLING, DRAWS), expected)
    groups = [[Row(0, 0, request, 1)] for request in varied_requests()]
    # widths 1, 9, 2, 30, 14, 5: 3 x 9 = 27 fits, 4 x 30 does not; 2 x 30 does not; 2 x 14 fits
    assert [len(batch) for batch in prefill_batches(groups)] == [3, 1, 2]


def test_a_response_ends_where_the_context_is_full():
    model = tiny_model(max_position_embeddings=16)
    (rollout,) = engine_of(model, stop_ids=()).generate([request_of("a", 10, 1)], SAMPLING, DRAWS)
    assert (len(rollout.token_ids), rollout.finish_reason) == (6, FinishReason.LENGTH)


def test_a_prompt_longer_than_the_context_is_named():
    engine = engine_of(tiny_model(max_position_embeddings=16))
    with pytest.raises(EngineError, match="prompt 'long' has 16 tokens, but the model's context of 16"):
        engine.generate([request_of("a", 3, 1), request_of("long", 16, 1)], SAMPLING, DRAWS)


def test_an_empty_prompt_is_named_and_no_requests_are_no_rollouts():
    assert engine_of().generate([], SAMPLING, DRAWS) == []
    with pytest.raises(EngineError, match="prompt 'empty' has no tokens"):
        engine_of().generate([Request(Prompt("empty", "", ""), np.zeros(0, np.int32), (0,))], SAMPLING, DRAWS)


def test_weights_that_are_not_finite_stop_with_the_prompt():
    model = tiny_model()
    with torch.no_grad():
        model.lm_head.weight[3] = float("nan")
    with pytest.raises(EngineError, match="prompt 'a', sample 0, response token 0 is not finite"):
        engine_of(model).generate([request_of("a", 3, 1)], SAMPLING, DRAWS)
    assert model.config._attn_implementation == "sdpa"


@pytest.mark.parametrize(
    ("kind", "changes", "reason"),
    [
        (
            "qwen3",
            {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1},
            "DynamicSlidingWindowLayer",
        ),
        ("mistral", {"sliding_window": 8}, "DynamicSlidingWindowLayer"),
        ("t5", {}, "encoder-decoder"),
    ],
)
def test_models_without_full_attention_are_refused_with_the_reason(kind: str, changes: dict[str, Any], reason: str):
    from transformers import MistralConfig, MistralForCausalLM, T5Config, T5ForConditionalGeneration

    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    if kind == "mistral":
        model = MistralForCausalLM(MistralConfig(vocab_size=20, intermediate_size=32, **sizes, **changes))
    elif kind == "t5":
        model = T5ForConditionalGeneration(
            T5Config(vocab_size=20, d_model=16, d_ff=16, num_layers=1, num_heads=2, d_kv=8)
        )
    else:
        model = tiny_model(kind, **changes)
    with pytest.raises(EngineError, match=reason):
        engine_of(model)


def test_the_shared_module_is_left_as_it_was():
    model = tiny_model().train()
    engine_of(model).generate([request_of("a", 3, 2)], SAMPLING, DRAWS)
    assert model.training
    assert model.config._attn_implementation == "sdpa"
    loss = model(input_ids=torch.tensor([[20, 30, 40]]), labels=torch.tensor([[20, 30, 40]])).loss
    loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_the_engines_own_module_is_taken_without_a_copy_and_another_one_is_copied():
    model, other = tiny_model(seed=1), tiny_model(seed=2)
    with engine_of(model) as engine:
        engine.update_weights(model, version=4)
        assert engine.version == 4
        before = engine.generate(varied_requests(), SAMPLING, DRAWS)
        engine.update_weights(other, version=5)
        assert engine.version == 5
        after = engine.generate(varied_requests(), SAMPLING, DRAWS)
    assert_same_samples(after, engine_of(other).generate(varied_requests(), SAMPLING, DRAWS))
    assert by_sample(before)["d", 0].token_ids.tobytes() != by_sample(after)["d", 0].token_ids.tobytes()
    assert engine._model is model


def test_weights_of_another_shape_are_refused_before_anything_changes():
    model = tiny_model()
    engine = engine_of(model)
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(EngineError, match=r"tensors differ in name or shape, first model\.layers\.0\.mlp"):
        engine.update_weights(tiny_model(intermediate_size=64), version=1)
    assert engine.version == 0
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, weights[name])


@pytest.mark.parametrize("vocabulary", [VOCABULARY, 5000])
def test_bfloat16_compute_over_float32_weights_runs_under_autocast(vocabulary: int):
    model = tiny_model(vocab_size=vocabulary)
    (rollout,) = engine_of(model, compute_dtype=torch.bfloat16).generate([request_of("a", 6, 1)], SAMPLING, DRAWS)
    exact = full_forward(model, rollout.prompt_token_ids, rollout.token_ids)
    chosen = torch.from_numpy(rollout.token_ids.astype(np.int64))[:, None]
    error = np.abs(rollout.sampler_logprobs - exact.gather(1, chosen)[:, 0].numpy())
    assert 1e-6 < error.max() < 0.5


def test_a_lora_adapter_is_part_of_what_is_sampled():
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False)
    model = peft.get_peft_model(tiny_model(), config).train()
    for rollout in engine_of(model, max_rows=4).generate(varied_requests(), SAMPLING, DRAWS):
        whole = full_forward(model.eval(), rollout.prompt_token_ids, rollout.token_ids)
        chosen = torch.from_numpy(rollout.token_ids.astype(np.int64))[:, None]
        np.testing.assert_allclose(rollout.sampler_logprobs, whole.gather(1, chosen)[:, 0], rtol=0, atol=1e-5)


def test_bfloat16_weights_decode_on_cpu_and_report_what_they_sampled():
    model = tiny_model().bfloat16()
    rollouts = engine_of(model, max_rows=5).generate(varied_requests(), SAMPLING, DRAWS)
    errors = []
    for rollout in rollouts:
        chosen = torch.from_numpy(rollout.token_ids.astype(np.int64))[:, None]
        whole = full_forward(model, rollout.prompt_token_ids, rollout.token_ids)
        errors.append(np.abs(rollout.sampler_logprobs - whole.gather(1, chosen)[:, 0].numpy()))
    # Rounding of 8 bits: far from exact, on both sides.
    assert np.concatenate(errors).mean() < 0.05


def test_it_is_an_engine():
    engine: Engine = engine_of()
    assert engine.name == "transformers"
    assert tiny_config("qwen3").vocab_size == 98
