"""The step that is written out agrees with the model, sees its weights of today, and stays away where it must."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hicra_cli.engine.forward import PolicyForward, Step
from hicra_cli.engine.lean import LeanLayers
from hicra_cli.engine.row_cache import RowCache, decode_attention_of
from tests.engine.tiny_models import VOCABULARY, in_float64, tiny_model

FAMILIES = ["qwen2", "qwen3", "llama", "gemma", "smollm"]
IDS = torch.tensor([[20, 30, 40, 50, 60, 70, 80], [21, 3, 97, 2, 64, 64, 5], [90, 91, 92, 14, 15, 16, 17]])


def stepped(model: Any, step: Step, ids: Tensor = IDS) -> Tensor:
    """(rows, tokens, H or V) what `step.states` gives, token by token."""
    cache = RowCache(rows=len(ids), columns=2, dtype=next(model.parameters()).dtype, device=ids.device)
    nothing = torch.zeros(len(ids), dtype=torch.int64)
    found = []
    with torch.inference_mode(), decode_attention_of(model) as use_decode_attention:
        with cache.prefilling(nothing, nothing):
            pass
        use_decode_attention(True)
        for column in range(ids.shape[1]):
            cache.reserve(column + 1)
            lengths = nothing + column
            mask = cache.begin_step(lengths, longest=column)
            found.append(step.states(ids[:, column], lengths, mask, cache))
    return torch.stack(found, dim=1)


def logprobs_of(model: Any, step: Step) -> Tensor:
    return torch.log_softmax(model.get_output_embeddings()(stepped(model, step)).detach(), dim=-1)


def full_logprobs(model: Any) -> Tensor:
    with torch.no_grad():
        return torch.log_softmax(model(input_ids=IDS, use_cache=False).logits, dim=-1)


def is_lean(step: Step) -> bool:
    return isinstance(getattr(step.states, "__self__", None), LeanLayers)


@pytest.mark.parametrize("kind", FAMILIES)
def test_the_step_written_out_agrees_with_a_full_forward_in_float64(kind: str):
    model = in_float64(tiny_model(kind))
    step = PolicyForward(model).begin()
    assert is_lean(step)
    torch.testing.assert_close(logprobs_of(model, step), full_logprobs(model), rtol=0, atol=1e-9)


@pytest.mark.parametrize("kind", FAMILIES)
def test_the_step_written_out_agrees_with_a_full_forward_in_float32(kind: str):
    model = tiny_model(kind)
    torch.testing.assert_close(
        logprobs_of(model, PolicyForward(model).begin()), full_logprobs(model), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("kind", FAMILIES)
@pytest.mark.parametrize("autocast", [False, True])
def test_in_sixteen_bits_every_rounding_is_the_models_own(kind: str, autocast: bool):
    model = tiny_model(kind) if autocast else tiny_model(kind).bfloat16()
    forward = PolicyForward(model)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        step = forward.begin(torch.bfloat16 if autocast else None)
        assert is_lean(step)
        own = Step(forward._own_states, step.draw)
        assert torch.equal(stepped(model, step), stepped(model, own))


@pytest.mark.parametrize(
    "rope",
    [
        {"rope_type": "linear", "factor": 4.0},
        {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32},
        {
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 32,
        },
    ],
)
def test_scaled_rotations_agree(rope: dict[str, Any]):
    model = in_float64(tiny_model("llama", rope_parameters={"rope_theta": 10000.0, **rope}))
    step = PolicyForward(model).begin()
    assert is_lean(step)
    torch.testing.assert_close(logprobs_of(model, step), full_logprobs(model), rtol=0, atol=1e-9)


@pytest.mark.parametrize(("kind", "changes"), [("gpt2", {}), ("llama", {"rope_parameters": {"rope_type": "dynamic"}})])
def test_other_models_decode_with_their_own_layers(kind: str, changes: dict[str, Any]):
    if changes:
        changes = {"rope_parameters": {"rope_theta": 10000.0, "factor": 2.0, **changes["rope_parameters"]}}
    model = tiny_model(kind, **changes)
    step = PolicyForward(model).begin()
    assert not is_lean(step)
    torch.testing.assert_close(logprobs_of(model, step), full_logprobs(model), rtol=0, atol=1e-5)


def test_a_model_that_only_looks_like_its_family_is_found_out():
    model = tiny_model()
    mlp = model.model.layers[1].mlp
    plain = mlp.forward
    mlp.forward = lambda hidden: 1.01 * plain(hidden)
    step = PolicyForward(model).begin()
    assert not is_lean(step)
    torch.testing.assert_close(logprobs_of(model, step), full_logprobs(model), rtol=0, atol=1e-5)


def test_a_head_that_does_more_than_multiply_gives_the_models_own_logits():
    model = tiny_model()
    with torch.no_grad():
        model.lm_head.bias = nn.Parameter(torch.arange(VOCABULARY) / 10)
    step = PolicyForward(model).begin()
    found = torch.log_softmax(stepped(model, step), dim=-1)
    torch.testing.assert_close(found, full_logprobs(model), rtol=0, atol=1e-5)


def test_hooks_are_never_passed_by():
    model = tiny_model()
    forward = PolicyForward(model)
    handle = model.model.layers[0].mlp.register_forward_hook(lambda module, inputs, output: output * 2)
    step = forward.begin()
    assert not is_lean(step)
    torch.testing.assert_close(logprobs_of(model, step), full_logprobs(model), rtol=0, atol=1e-5)
    handle.remove()
    assert is_lean(forward.begin())
    # The embedding is called as a module, so what gradient checkpointing with adapters hangs on it does not matter.
    model.enable_input_require_grads()
    assert is_lean(forward.begin())


def test_each_call_sees_the_weights_of_its_time():
    model = tiny_model()
    forward = PolicyForward(model)
    before = logprobs_of(model, forward.begin())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.9)
    model.model.layers[0].mlp.up_proj.weight = nn.Parameter(torch.randn(48, 32) * 0.2)
    after = logprobs_of(model, forward.begin())
    assert (after - before).abs().max() > 0.1
    torch.testing.assert_close(after, full_logprobs(model), rtol=0, atol=1e-5)


def test_lora_layers_are_called_as_they_are():
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj", "down_proj"], init_lora_weights=False)
    model = peft.get_peft_model(tiny_model(), config).eval()
    forward = PolicyForward(model)
    step = forward.begin()
    assert is_lean(step)
    assert forward.model is model.get_base_model()
    wanted = full_logprobs(model)
    torch.testing.assert_close(logprobs_of(forward.model, step), wanted, rtol=0, atol=1e-5)
    with model.disable_adapter():
        assert (full_logprobs(model) - wanted).abs().max() > 0.1
