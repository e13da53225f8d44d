"""Real model text: the fast words and masks are the slow ones there too."""

import gzip
import json

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from hicra_cli.grams import GramSet, PlanningMatcher
from hicra_cli.text.words import segments
from tests.reference.matching import reference_mask, reference_words

FILES = [
    "longcot_gsm8k_math",
    "qwen25_3b_base_vs_rl_matheval",
    "imo25_agent_solutions",
    "mmlupro_math_12models",
    "math_train_human",
]
PHRASES = ["let me think", "let me", "we need to", "let's consider", "so the answer is", "we can", "that is", "wait"]


def texts(folder, name, *, every):
    with gzip.open(folder / f"{name}.jsonl.gz", "rt") as lines:
        return [json.loads(line)["response"][:3000] for number, line in enumerate(lines) if number % every == 0]


@pytest.mark.parametrize("name", FILES)
def test_words_of_real_rollouts_are_the_slow_words(rollouts_dir, name):
    for text in texts(rollouts_dir, name, every=200):
        assert [[tuple(word) for word in segment] for segment in segments(text)] == reference_words(text)


@pytest.mark.parametrize("name", FILES[:3])
def test_masks_of_real_rollouts_are_the_slow_masks(rollouts_dir, name):
    rollouts = texts(rollouts_dir, name, every=400)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=2000, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(rollouts, trainer)
    gram_set = GramSet.from_phrases(PHRASES)
    matcher = PlanningMatcher(gram_set, tokenizer)
    shown = {character: index for index, character in enumerate(_byte_alphabet())}
    planning = 0
    for text in rollouts:
        ids = tokenizer.encode(text).ids
        pieces = [bytes(shown[character] for character in str(tokenizer.id_to_token(index))) for index in ids]
        mask = matcher.planning_mask(ids)
        assert mask.tolist() == reference_mask(pieces, [gram.words for gram in gram_set.grams])
        planning += int(mask.sum())
    assert planning > 0


def _byte_alphabet():
    """The character of each byte: printable Latin-1 shows itself, the others follow from 256 on."""
    hidden = 0
    for byte in range(256):
        if 33 <= byte <= 126 or 161 <= byte <= 172 or byte >= 174:
            yield chr(byte)
        else:
            yield chr(256 + hidden)
            hidden += 1
