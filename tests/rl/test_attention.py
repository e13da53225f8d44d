import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.overrides import TorchFunctionMode
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GemmaConfig,
    GptOssConfig,
    LlamaConfig,
    MambaConfig,
    MistralConfig,
    Qwen2Config,
    Qwen3Config,
    SmolLM3Config,
)

from hicra_cli.core.errors import TrainingError
from hicra_cli.rl.attention import ATTENTION_NAME, packed_attention, use_packed_attention
from hicra_cli.rl.layout import Layout, choose_layout
from hicra_cli.rl.model import check_forward, policy_statistics
from hicra_cli.rl.packing import pack
from tests.rl.models import SHAPE, random_groups, random_rollouts

WIDE = SHAPE | {"head_dim": 8}
TOKENS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
CONFIGS = {
    "qwen3": Qwen3Config(**WIDE, tie_word_embeddings=False),
    "qwen2": Qwen2Config(**SHAPE, tie_word_embeddings=True),
    "llama": LlamaConfig(**SHAPE, tie_word_embeddings=False),
    "gemma": GemmaConfig(**WIDE),
    "smollm": LlamaConfig(
        **SHAPE, tie_word_embeddings=True, rope_parameters={"rope_type": "default", "rope_theta": 1e5}
    ),
    "smollm3": SmolLM3Config(**SHAPE, no_rope_layer_interval=2, **TOKENS),
    "mistral-window": MistralConfig(**SHAPE, sliding_window=4),
    "gemma3-window": Gemma3TextConfig(
        **WIDE, sliding_window=4, layer_types=["sliding_attention", "full_attention"], query_pre_attn_scalar=8
    ),
}
PACKED, SHARED = Layout(packed=True), Layout(packed=True, share_from=0.0)
# Two groups, one of them with a response of a single token, and a prompt longer and one shorter than its responses.
GROUPS = [(7, [3, 1, 9]), (2, [12, 5])]


def random_model(kind, dtype=torch.float32, device="cpu"):
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(CONFIGS[kind], dtype=dtype).eval().to(device)


class Doubles(TorchFunctionMode):
    """Norms and rotary embeddings of HF models cast to float32 whatever the model's type; here they stay in float64,
    so that a difference is one of the layout and not of a rounding that flipped."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is torch.Tensor.float:
            func = torch.Tensor.double
        if func is torch.Tensor.to:
            args = tuple(torch.float64 if each is torch.float32 else each for each in args)
        return func(*args, **(kwargs or {}))


def values_and_gradient(model, packed, *, budget=1000):
    """Log-probs and entropies of all response tokens in order, and the gradient of their sum, weighted at random."""
    weights = torch.rand(2, packed.num_tokens, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    model.zero_grad()
    values = torch.zeros_like(weights)
    for micro in packed.micro_batches(range(len(packed.rollouts)), token_budget=budget, device=model.device):
        seen = torch.stack(policy_statistics(model, micro, temperature=1.0, head_chunk=7))
        (seen * weights[:, micro.flat.cpu()].to(seen)).sum().backward()
        values[:, micro.flat.cpu()] = seen.detach().cpu().double()
    return values, torch.cat([each.grad.flatten().cpu().double() for each in model.parameters()])


def one_by_one(model, rollouts):
    return values_and_gradient(model, pack(rollouts), budget=1)


@pytest.mark.parametrize("layout", [PACKED, SHARED], ids=["packed", "shared"])
@pytest.mark.parametrize("kind", sorted(CONFIGS))
def test_packed_rows_equal_single_sequences_in_values_and_gradients(kind, layout):
    rollouts = random_groups(3, GROUPS)
    model = random_model(kind, torch.float64)
    packed = pack(rollouts, layout)
    assert packed.shared == (layout is SHARED)
    with Doubles():
        single = one_by_one(model, rollouts)
        together = values_and_gradient(model, packed)
    assert model.config._attn_implementation == ATTENTION_NAME
    for found, expected in zip(together, single, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("layout", [PACKED, SHARED], ids=["packed", "shared"])
@pytest.mark.parametrize("kind", sorted(CONFIGS))
def test_packed_rows_equal_single_sequences_in_float32(kind, layout, device):
    rollouts = random_groups(3, GROUPS)
    model = random_model(kind, device=device)
    single = one_by_one(model, rollouts)
    together = values_and_gradient(model, pack(rollouts, layout))
    for found, expected in zip(together, single, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.gpu
@pytest.mark.parametrize("layout", [PACKED, SHARED], ids=["packed", "shared"])
@pytest.mark.parametrize("kind", sorted(CONFIGS))
def test_the_kernel_equals_single_sequences_in_bfloat16(kind, layout, device):
    rollouts = random_groups(3, GROUPS)
    model = random_model(kind, device=device)
    single = one_by_one(model, rollouts)
    with torch.autocast(device, dtype=torch.bfloat16):
        together = values_and_gradient(model, pack(rollouts, layout))
    # bfloat16 keeps 8 bits: a relative 2^-8 per operation, over two layers
    for found, expected in zip(together, single, strict=True):
        torch.testing.assert_close(found, expected, atol=5e-2, rtol=5e-2)


@settings(max_examples=20, deadline=None)
@given(
    st.integers(0, 99),
    st.lists(st.tuples(st.integers(1, 6), st.lists(st.integers(1, 9), min_size=1, max_size=4)), min_size=1, max_size=3),
    st.integers(1, 60),
    st.sampled_from([PACKED, SHARED]),
    st.sampled_from(["qwen2", "mistral-window"]),
)
def test_the_gradient_does_not_depend_on_how_packed_rows_were_cut(seed, groups, budget, layout, kind):
    rollouts = random_groups(seed, groups)
    model = random_model(kind, torch.float64)
    with Doubles():
        single = one_by_one(model, rollouts)
        cut = values_and_gradient(model, pack(rollouts, layout), budget=budget)
    for found, expected in zip(cut, single, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("layout", [PACKED, SHARED], ids=["packed", "shared"])
def test_gradient_checkpointing_recomputes_the_packed_attention(layout):
    rollouts = random_groups(3, GROUPS)
    model = random_model("qwen3")
    plain = values_and_gradient(model, pack(rollouts, layout))
    model.train()
    model.gradient_checkpointing_enable()
    checkpointed = values_and_gradient(model, pack(rollouts, layout))
    for found, expected in zip(checkpointed, plain, strict=True):
        assert torch.equal(found, expected)


@pytest.mark.parametrize("kind", ["qwen3", "mistral-window"])
def test_calls_with_a_mask_go_on_as_before(kind):
    model = random_model(kind)
    ids = torch.arange(2, 14)[None]
    padded = torch.cat([torch.zeros(1, 5, dtype=torch.int64), ids], dim=1)
    mask = (padded > 0).long()
    before = model(input_ids=padded, attention_mask=mask, position_ids=(mask.cumsum(1) - 1).clamp(min=0)).logits
    use_packed_attention(model)
    after = model(input_ids=padded, attention_mask=mask, position_ids=(mask.cumsum(1) - 1).clamp(min=0)).logits
    assert torch.equal(before[:, 5:], after[:, 5:])
    torch.testing.assert_close(after[:, 5:], model(input_ids=ids).logits, atol=1e-5, rtol=0)


def test_a_prompt_runs_once_for_its_group():
    # prompt 7 once, and 2 + 0 + 8 tokens of its responses that predict something
    (micro,) = pack(random_groups(3, GROUPS[:1]), SHARED).micro_batches(range(3), token_budget=1000)
    assert micro.segments is not None
    assert micro.position_ids is not None
    assert micro.num_padded_tokens == 17
    assert micro.segments.query_lengths == (7, 2, 8)
    assert micro.segments.key_lengths == (7, 9, 15)
    assert micro.position_ids[0].tolist() == [*range(7), 7, 8, *range(7, 15)]
    # every response begins after the prompt's last token, place 6
    firsts = [0, 3, 4]
    assert micro.predictor[firsts].tolist() == [6, 6, 6]


def test_the_self_check_covers_packed_rows():
    micro = pack(random_groups(3, GROUPS), SHARED).micro_batch(range(5))
    assert check_forward(random_model("gemma3-window"), micro, tolerance=1e-4) < 1e-5


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (Gemma2Config(**WIDE), "caps attention scores"),
        (MambaConfig(vocab_size=23, hidden_size=16, num_hidden_layers=1), "cannot be replaced|carries a state"),
    ],
)
def test_models_that_cannot_be_packed_are_refused_with_the_reason(config, reason):
    model = AutoModelForCausalLM.from_config(config)
    with pytest.raises(TrainingError, match=reason):
        chosen(model, layout="packed")
    assert not chosen(model, layout="auto").packed


def test_auto_packs_a_plain_model():
    assert chosen(random_model("qwen3"), layout="auto").packed


def test_attention_with_sinks_is_refused_when_it_is_called():
    config = GptOssConfig(**WIDE, num_local_experts=2, num_experts_per_tok=1, layer_types=["full_attention"] * 2)
    model = AutoModelForCausalLM.from_config(config)
    micro = pack(random_rollouts(0, [(3, 4)]), PACKED).micro_batch([0])
    with pytest.raises(TrainingError, match="s_aux"):
        check_forward(model, micro, tolerance=1.0)


def test_always_sharing_prompts_needs_packed_rows():
    with pytest.raises(TrainingError, match="share_prompts always needs packed rows"):
        chosen(random_model("qwen3"), layout="padded", share_prompts="always")


def test_prompts_are_shared_where_they_are_a_large_part_of_the_work():
    layout = chosen(random_model("qwen3"), layout="packed", share_prompts="auto")
    assert pack(random_groups(0, [(40, [9, 9, 9, 9])]), layout).shared
    assert not pack(random_groups(0, [(1, [40, 40])]), layout).shared
    assert not pack(random_rollouts(0, [(40, 9), (40, 9)]), layout).shared


def test_rows_of_a_small_model_are_short_on_cpu_and_a_long_prompt_is_not_repeated_for_it():
    layout = chosen(random_model("qwen3"), layout="packed", share_prompts="always")
    assert row_sizes([(20, [60] * 16)], layout) == [20 + 6 * 59, 20 + 6 * 59, 20 + 4 * 59]  # at most 384
    assert row_sizes([(200, [60] * 16)], layout) == [200 + 10 * 59, 200 + 6 * 59]  # at most 4 * 200


def row_sizes(groups, layout):
    packed = pack(random_groups(0, groups), layout)
    members = range(len(packed.rollouts))
    return [micro.input_ids.shape[1] for micro in packed.micro_batches(members, token_budget=10_000)]


def test_attention_of_a_segment_equals_a_masked_softmax():
    query, key, value = (torch.randn(1, heads, 11, 8, dtype=torch.float64) for heads in (4, 2, 2))
    layout = pack(random_groups(0, [(4, [3, 6])]), SHARED).micro_batch([0, 1]).segments
    module = torch.nn.Module()
    found, _ = packed_attention(module, query, key, value, None, scaling=0.3, hicra_segments=layout, sliding_window=3)
    sequence = np.array([0, 0, 0, 0, 1, 1, 2, 2, 2, 2, 2])
    position = np.array([0, 1, 2, 3, 4, 5, 4, 5, 6, 7, 8])
    same = (sequence[:, None] == sequence) | (sequence == 0)
    seen = same & (position <= position[:, None]) & (position > position[:, None] - 3)
    scores = torch.einsum("hqd,hkd->hqk", query[0], key[0].repeat_interleave(2, 0)) * 0.3
    scores = scores.masked_fill(~torch.from_numpy(seen), float("-inf"))
    expected = torch.einsum("hqk,hkd->qhd", scores.softmax(-1), value[0].repeat_interleave(2, 0))
    torch.testing.assert_close(found[0], expected, atol=1e-12, rtol=0)


def chosen(model, *, layout, share_prompts="auto"):
    return choose_layout(
        model, layout=layout, share_prompts=share_prompts, dtype=torch.float32, device=torch.device("cpu")
    )
