"""The two random models that speed is measured on, with tokenizer, stop tokens and prompts, the same in every run.

nano: 4 layers x 128, 550 words, 0.93 M parameters: decoding is all overhead. 40m: the same layers over 151,936 words,
untied, 39.7 M parameters: decoding is all vocabulary. Random models never mean to end, so a set of stop ids of fitting
total probability ends their responses: with a limit of 128 the lengths spread over the whole range, about 60 % of the
limit in the mean and a third of them at it. Model, tokenizer and generation config agree about the stop ids, so every
trainer that reads any of them sees the same.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hicra_cli.core.records import Prompt
from hicra_cli.engine.base import Request
from hicra_cli.engine.policy import LoadedPolicy

LIMIT = 128
PAD_ID = 0
# Each token ends a response with this probability: the mean of min(length, 128) is then 78 tokens, 61 %.
_STOP_PROBABILITY = 0.0085
_PROMPT_WORDS = (12, 40)


@dataclass(frozen=True, slots=True)
class Shape:
    """A Qwen3 model by its sizes; heads are 32 wide."""

    vocabulary: int
    hidden: int = 128
    layers: int = 4
    heads: int = 4
    kv_heads: int = 2
    intermediate: int = 384


SHAPES = {"nano": Shape(vocabulary=550), "40m": Shape(vocabulary=151_936)}


def random_policy(name: str, *, seed: int = 0, dtype: torch.dtype = torch.float32) -> LoadedPolicy:
    """The model `nano` or `40m` with random weights and its tokenizer, in evaluation mode; never written to disk."""
    shape = SHAPES[name]
    tokenizer = word_tokenizer(shape.vocabulary)
    return LoadedPolicy(random_model(shape, seed=seed).to(dtype), tokenizer, Path(name))


def save_policy(policy: LoadedPolicy, folder: Path) -> Path:
    """Write the policy as a HF directory, for command lines that take one."""
    policy.model.save_pretrained(folder)
    policy.tokenizer.save_pretrained(folder)
    return folder


def random_model(shape: Shape, *, seed: int = 0) -> Any:
    """A float32 Qwen3ForCausalLM of that shape; equal arguments give equal weights."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(seed)
    stop_ids = list(stop_ids_of(shape.vocabulary))
    config = Qwen3Config(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=32,
        max_position_embeddings=4096,
        tie_word_embeddings=False,
        pad_token_id=PAD_ID,
        eos_token_id=stop_ids,
    )
    model = Qwen3ForCausalLM(config).eval()
    model.generation_config.eos_token_id = stop_ids
    model.generation_config.pad_token_id = PAD_ID
    return model


def word_tokenizer(vocabulary: int) -> Any:
    """One token per word: <|pad|>, <|end|>, w2, w3 …"""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {"<|pad|>": PAD_ID, "<|end|>": 1} | {f"w{token}": token for token in range(2, vocabulary)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<|pad|>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|end|>",
        pad_token="<|pad|>",
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def stop_ids_of(vocabulary: int) -> tuple[int, ...]:
    """1, 2, 3 …: as many as make up the stop probability of a nearly flat distribution."""
    return tuple(range(1, 1 + max(1, round(_STOP_PROBABILITY * vocabulary))))


def random_prompts(vocabulary: int, *, count: int = 8, seed: int = 0) -> list[Prompt]:
    """Prompts of 12 to 40 random words, none of which is a stop token; the text encodes to one token per word."""
    generator = np.random.default_rng(seed)
    first = stop_ids_of(vocabulary)[-1] + 1
    prompts = []
    for index in range(count):
        words = generator.integers(first, vocabulary, size=generator.integers(*_PROMPT_WORDS, endpoint=True))
        prompts.append(Prompt(f"random-{index}", " ".join(f"w{word}" for word in words), ""))
    return prompts


def random_requests(policy: LoadedPolicy, *, count: int = 8, samples: int = 8, seed: int = 0) -> list[Request]:
    """The random prompts as requests of `samples` responses each."""
    prompts = random_prompts(policy.model.config.vocab_size, count=count, seed=seed)
    return [
        Request(prompt, np.asarray(policy.tokenizer(prompt.text)["input_ids"], dtype=np.int32), tuple(range(samples)))
        for prompt in prompts
    ]
