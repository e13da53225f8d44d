"""Tiny random models and rollouts for tests of the training mathematics."""

from dataclasses import replace

import numpy as np
import torch
from transformers import (
    AutoModelForCausalLM,
    CohereConfig,
    Gemma2Config,
    GemmaConfig,
    LlamaConfig,
    PhiConfig,
    Qwen2Config,
    Qwen3Config,
)

from hicra_cli.core.records import FinishReason, Prompt, Rollout

VOCABULARY = 23
SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 128,
}
CONFIGS = {
    "qwen3": lambda: Qwen3Config(**SHAPE, head_dim=8, tie_word_embeddings=False),
    "qwen2-tied": lambda: Qwen2Config(**SHAPE, tie_word_embeddings=True),
    "llama": lambda: LlamaConfig(**SHAPE, tie_word_embeddings=False),
    "smollm": lambda: LlamaConfig(**SHAPE, tie_word_embeddings=True, rope_theta=10000.0, bos_token_id=0),
}
# Gemma normalises in float32 whatever the model's type: its gradients are equal to 1e-9 only when a batch is cut anew.
# Others have a head that does more than multiply: soft-capped, scaled, with a bias.
HEADS = {
    "gemma": lambda: GemmaConfig(**SHAPE, head_dim=8, pad_token_id=0),
    "gemma2": lambda: Gemma2Config(
        **SHAPE, head_dim=8, pad_token_id=0, final_logit_softcapping=0.5, attn_implementation="eager"
    ),
    "cohere": lambda: CohereConfig(**SHAPE, logit_scale=0.25, pad_token_id=0),
    "phi": lambda: PhiConfig(**SHAPE | {"num_key_value_heads": 2}, tie_word_embeddings=False),
}


def tiny_model(kind="qwen3", dtype=torch.float32, seed=0):
    torch.manual_seed(seed)
    return AutoModelForCausalLM.from_config((CONFIGS | HEADS)[kind](), dtype=dtype).eval()


def random_rollouts(seed, lengths):
    """One rollout per (prompt length, response length)."""
    generator = np.random.default_rng(seed)
    return [
        Rollout(
            prompt=Prompt(id=f"p{index}", text="", answer=""),
            sample=0,
            prompt_token_ids=generator.integers(VOCABULARY, size=prompt).astype(np.int32),
            token_ids=generator.integers(VOCABULARY, size=response).astype(np.int32),
            text="",
            finish_reason=FinishReason.STOP,
            sampler_logprobs=np.zeros(response, dtype=np.float32),
        )
        for index, (prompt, response) in enumerate(lengths)
    ]


def random_groups(seed, groups):
    """Rollouts of (prompt length, [response lengths]): each group has one prompt."""
    generator = np.random.default_rng(seed)
    rollouts = []
    for name, (prompt, responses) in enumerate(groups):
        ids = generator.integers(VOCABULARY, size=prompt).astype(np.int32)
        for sample, each in enumerate(random_rollouts(seed + name + 1, [(1, length) for length in responses])):
            rollouts.append(replace(each, prompt=Prompt(f"p{name}", "", ""), sample=sample, prompt_token_ids=ids))
    return rollouts
