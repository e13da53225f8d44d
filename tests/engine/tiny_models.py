"""Tiny random models and a tiny tokenizer: real ones, small enough that every test builds its own."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    GemmaConfig,
    GPT2Config,
    LlamaConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
)

from hicra_cli.core.records import Prompt
from hicra_cli.engine.base import Request

# 0 pad, 1 end of text, 2 … 97 the characters below; logits of random models are nearly flat over them.
CHARACTERS = "".join(chr(code) for code in range(32, 127)) + "\n"
VOCABULARY = 2 + len(CHARACTERS)
STOP_IDS = (1, 5, 9, 13)


def tiny_tokenizer() -> Any:
    vocabulary = {"<|pad|>": 0, "<|end|>": 1} | {character: 2 + place for place, character in enumerate(CHARACTERS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<|pad|>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|end|>", pad_token="<|pad|>", clean_up_tokenization_spaces=False
    )


def tiny_config(kind: str, **changes: Any) -> Any:
    common = {"vocab_size": VOCABULARY, "max_position_embeddings": 128, "eos_token_id": 1, "pad_token_id": 0}
    sizes = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    }
    if kind == "gpt2":
        return GPT2Config(**{**common, "n_embd": 32, "n_layer": 2, "n_head": 4, "bos_token_id": 1, **changes})
    if kind == "qwen3":
        return Qwen3Config(**{**common, **sizes, "head_dim": 8, "tie_word_embeddings": False, **changes})
    if kind == "gemma":
        return GemmaConfig(**{**common, **sizes, "head_dim": 8, **changes})
    if kind == "smollm":
        return LlamaConfig(**{**common, **sizes, "tie_word_embeddings": True, **changes})
    return {"llama": LlamaConfig, "qwen2": Qwen2Config}[kind](**{**common, **sizes, **changes})


def tiny_model(kind: str = "qwen3", *, seed: int = 0, **changes: Any) -> Any:
    """A random model in float32; weights are scaled up so that its distributions are far from flat."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(tiny_config(kind, initializer_range=0.2, **changes))
    return model.eval()


def in_float64(model: Any) -> Any:
    """The model in float64 throughout: transformers' RMS norms compute in float32 whatever they are given."""
    for module in model.modules():
        if type(module).__name__.endswith("RMSNorm"):
            module.forward = partial(_exact_norm, module)
    return model.double()


def _exact_norm(module: Any, x: torch.Tensor) -> torch.Tensor:
    gemma = hasattr(module, "eps")
    eps = module.eps if gemma else module.variance_epsilon
    normed: torch.Tensor = x * torch.rsqrt(x.square().mean(dim=-1, keepdim=True) + eps) * (module.weight + gemma)
    return normed


def save_tiny_policy(folder: Path, kind: str = "qwen3", *, seed: int = 0, **changes: Any) -> Path:
    tiny_model(kind, seed=seed, **changes).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def request_of(name: str, length: int, samples: int, *, seed: int = 0) -> Request:
    """A prompt of random characters; equal arguments give equal prompts."""
    generator = np.random.default_rng([seed, length, *name.encode()])
    token_ids = generator.integers(14, VOCABULARY, size=length).astype(np.int32)
    return Request(Prompt(name, name, ""), token_ids, tuple(range(samples)))


def full_forward(model: Any, prompt: np.ndarray, response: np.ndarray, *, temperature: float = 1.0) -> torch.Tensor:
    """(N, V) float64 log-probs at the response's positions, by one forward over the whole sequence, no cache."""
    ids = torch.from_numpy(np.concatenate([prompt, response]).astype(np.int64))[None]
    with torch.no_grad():
        logits = model(input_ids=ids, use_cache=False).logits[0].double()
    return torch.log_softmax(logits[len(prompt) - 1 : -1] / temperature, dim=-1)
