"""Adapters: what they change, what they leave alone, and that folding them in changes nothing."""

import json
import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, GPT2Config

from hicra_cli.core.errors import UsageError
from hicra_cli.rl.lora import adapter_weights, adapters_off, add_adapters, merged_weights, save_adapter
from hicra_cli.rl.model import policy_statistics
from hicra_cli.rl.optim import build_optimizer
from hicra_cli.rl.packing import pack
from tests.rl.models import CONFIGS, VOCABULARY, random_rollouts, tiny_model

RANK, ALPHA = 2, 6.0
SCALE = ALPHA / RANK
IDS = torch.tensor([[3, 1, 4, 1, 5, 9, 2, 6], [5, 3, 5, 8, 9, 7, 9, 3]])


def adapted(kind="qwen3", dtype=torch.float32, targets=("all-linear",), seed=0):
    model = tiny_model(kind, dtype)
    add_adapters(model, rank=RANK, alpha=ALPHA, targets=targets, seed=seed)
    return model


def disturbed(kind="qwen3", dtype=torch.float32):
    """A model whose adapters do something: B away from zero."""
    model = adapted(kind, dtype)
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.2)
    return model


def logits(model):
    with torch.no_grad():
        return model(input_ids=IDS).logits


@pytest.mark.parametrize("kind", CONFIGS)
def test_every_linear_layer_but_the_head_gets_an_adapter_and_only_adapters_are_trained(kind):
    model = adapted(kind)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    layers = {name.split(".lora_")[0].rsplit(".", 1)[-1] for name in trained}
    assert layers == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    assert len(trained) == 2 * 2 * 7  # A and B, two layers, seven projections
    assert all(".lora_" in name for name in trained)
    assert torch.equal(logits(model), logits(tiny_model(kind)))


def test_named_targets_alone_get_adapters():
    trained = [name for name, each in adapted(targets=["q_proj", "v_proj"]).named_parameters() if each.requires_grad]
    assert len(trained) == 2 * 2 * 2
    assert all("q_proj" in name or "v_proj" in name for name in trained)


def test_the_start_is_a_function_of_the_seed_and_leaves_the_global_generator_alone():
    torch.manual_seed(7)
    expected = torch.rand(3)
    model = tiny_model()
    torch.manual_seed(7)
    add_adapters(model, rank=RANK, alpha=ALPHA, targets=["all-linear"], seed=0)
    assert torch.equal(torch.rand(3), expected)
    again, other = adapted(seed=0), adapted(seed=1)
    first, same, different = (adapter_weights(each.named_parameters()) for each in (model, again, other))
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not all(torch.equal(first[name], different[name]) for name in first)


@pytest.mark.parametrize(
    ("dtype", "adapters"),
    [(torch.bfloat16, torch.float32), (torch.float32, torch.float32), (torch.float64, torch.float64)],
)
def test_adapters_have_at_least_float32(dtype, adapters):
    for name, parameter in adapted(dtype=dtype).named_parameters():
        assert parameter.dtype == (adapters if "lora_" in name else dtype)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
@pytest.mark.parametrize("kind", CONFIGS)
def test_a_merged_model_computes_what_the_adapters_compute(kind, dtype, tolerance):
    model = disturbed(kind, dtype)
    plain = tiny_model(kind, dtype)
    untouched = logits(plain)
    merged = dict(merged_weights(model.state_dict().items(), scale=SCALE))
    assert merged.keys() == plain.state_dict().keys()
    plain.load_state_dict(merged)
    torch.testing.assert_close(logits(plain), logits(model), atol=tolerance, rtol=0)
    assert (logits(model) - untouched).abs().max() > 1e-2


def test_a_merged_weight_by_hand():
    # scale 3, B = (1, 2)^T, A = (1, -1): 3 * [[1, -1], [2, -2]] = [[3, -3], [6, -6]], added to the identity
    parts = {
        "m.q.lora_B.default.weight": torch.tensor([[1.0], [2.0]]),
        "m.q.base_layer.weight": torch.eye(2, dtype=torch.bfloat16),
        "m.q.base_layer.bias": torch.tensor([5.0, 6.0]),
        "m.norm.weight": torch.tensor([7.0]),
        "m.q.lora_A.default.weight": torch.tensor([[1.0, -1.0]]),
    }
    merged = dict(merged_weights(parts.items(), scale=3.0))
    assert merged["m.q.weight"].tolist() == [[4.0, -3.0], [6.0, -5.0]]
    assert merged["m.q.weight"].dtype == torch.float32
    assert merged["m.q.bias"].tolist() == [5.0, 6.0]
    assert merged["m.norm.weight"].tolist() == [7.0]
    with pytest.raises(ValueError, match=r"adapter of m\.q is incomplete"):
        list(merged_weights(list(parts.items())[:2], scale=3.0))


@given(order=st.permutations(range(10)))
def test_tensors_may_come_in_any_order(order):
    names = [f"m.{layer}.{part}" for layer in "ab" for part in ("base_layer.weight", "base_layer.bias")]
    names += [f"m.{layer}.lora_{part}.default.weight" for layer in "ab" for part in "AB"] + ["m.x.weight", "y.bias"]
    named = [(name, torch.full((2, 2), float(index))) for index, name in enumerate(names)]
    merged = dict(merged_weights(named, scale=2.0))
    shuffled = dict(merged_weights([named[index] for index in order], scale=2.0))
    assert (
        merged.keys() == shuffled.keys() == {"m.a.weight", "m.a.bias", "m.b.weight", "m.b.bias", "m.x.weight", "y.bias"}
    )
    assert all(torch.equal(merged[name], shuffled[name]) for name in merged)


def test_weights_without_adapters_pass_through():
    named = dict(tiny_model().state_dict().items())
    merged = dict(merged_weights(named.items(), scale=1.0))
    assert all(merged[name] is tensor for name, tensor in named.items())
    assert merged.keys() == named.keys()


def test_with_adapters_off_the_model_is_its_base_and_afterwards_it_trains_on():
    model, base = disturbed(), tiny_model()
    before = logits(model)
    with adapters_off(model):
        assert torch.equal(logits(model), logits(base))
    assert torch.equal(logits(model), before)
    assert sum(each.requires_grad for each in model.parameters()) == 28


def gradients(model, rollouts, token_budget):
    model.zero_grad()
    for micro in pack(rollouts).micro_batches(range(len(rollouts)), token_budget=token_budget):
        logprobs, _ = policy_statistics(model, micro, temperature=1.0, head_chunk=16)
        (logprobs * (micro.flat % 5 - 2)).sum().backward()
    return {name: parameter.grad for name, parameter in model.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize("token_budget", [16, 40, 90])
def test_the_gradient_of_the_adapters_does_not_depend_on_the_cut(token_budget):
    rollouts = random_rollouts(3, [(3, 9), (5, 4), (2, 14), (7, 7), (4, 1)])
    model = disturbed(dtype=torch.float64)
    whole = gradients(model, rollouts, token_budget=10_000)
    cut = gradients(model, rollouts, token_budget=token_budget)
    for name, gradient in whole.items():
        torch.testing.assert_close(cut[name], gradient, atol=1e-12, rtol=0)


def test_an_update_changes_adapters_only():
    model = disturbed()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    optimizer = build_optimizer(model, lr=0.01, beta1=0.9, beta2=0.95, weight_decay=0.0)
    gradients(model, random_rollouts(0, [(3, 9), (5, 4)]), token_budget=64)
    optimizer.step()
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {name for name in before if ".lora_" in name}


def test_peft_loads_the_saved_adapter_on_the_base(tmp_path):
    from peft import PeftModel

    model = disturbed("qwen2-tied")
    tensors = adapter_weights(model.named_parameters())
    for folder in ("one", "two"):
        save_adapter(tmp_path / folder, tensors, rank=RANK, alpha=ALPHA, targets=["all-linear"], base="policy:start@v1")
    loaded = PeftModel.from_pretrained(tiny_model("qwen2-tied"), tmp_path / "one")
    torch.testing.assert_close(logits(loaded), logits(model), atol=1e-6, rtol=0)
    config = json.loads((tmp_path / "one" / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["base_model_name_or_path"]) == (2, 6.0, "policy:start@v1")
    assert len(load_file(tmp_path / "one" / "adapter_model.safetensors")) == 28
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.parametrize(
    ("targets", "reason"),
    [(["nowhere"], "not found"), (["q_proj", "lm_head"], "output head"), (["embed_tokens"], "embedding")],
)
def test_targets_that_cannot_be_adapted_are_refused(targets, reason):
    with pytest.raises(UsageError, match=reason) as caught:
        adapted(targets=targets)
    assert caught.value.where == "train.lora.targets"


def test_layers_that_only_look_linear_are_refused():
    config = GPT2Config(vocab_size=VOCABULARY, n_positions=32, n_embd=16, n_layer=1, n_head=2)
    with pytest.raises(UsageError, match="Conv1D"):
        add_adapters(AutoModelForCausalLM.from_config(config), rank=RANK, alpha=ALPHA, targets=["all-linear"], seed=0)


def test_without_peft_the_command_to_install_it_is_named():
    code = (
        "import sys; sys.modules['peft'] = None\n"
        "from hicra_cli.rl.lora import add_adapters\n"
        "try:\n    add_adapters(None, rank=1, alpha=1.0, targets=['all-linear'], seed=0)\n"
        "except Exception as error:\n    print(type(error).__name__, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.startswith("UsageError")
    assert "pip install 'hicra[lora]'" in done.stdout
