"""Tiny random models and rollouts for tests of the training mathematics."""

import numpy as np
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen2Config, Qwen3Config

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
}


def tiny_model(kind="qwen3", dtype=torch.float32, seed=0):
    torch.manual_seed(seed)
    return AutoModelForCausalLM.from_config(CONFIGS[kind](), dtype=dtype).eval()


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
