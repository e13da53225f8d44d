"""The tokenizer of the embedded model: whole words and numbers of the task, single bytes for everything else.

It is a byte-level BPE without merges, in the byte alphabet of GPT-2: a piece that is in the vocabulary is one token
(`ignore_merges`), any other piece falls apart into its UTF-8 bytes. So every text can be encoded and comes back
unchanged, and a token's bytes are read off its spelling. Saved, it is an ordinary fast tokenizer with a chat template.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

from hicra_cli.embedded.traces import strategic_phrases
from hicra_cli.tasks.countdown import LARGEST_RESULT, countdown_prompt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PAD, END, SYSTEM, USER, ASSISTANT = SPECIAL_TOKENS = ("<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>")

# One tag per message and one stop token per turn: every token of a prompt is paid for in each rollout.
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)

# A box's head, a word with its apostrophes, a number, one sign, blanks: the first three may own one leading blank.
_PIECES = r" ?\\boxed\{| ?[\p{L}\p{M}]+(?:'[\p{L}\p{M}]+)*| ?\p{N}+| ?[^\s\p{L}\p{M}\p{N}]|\s+(?!\S)|\s+"
_GLUE = r"So the answer is \boxed{(1 + 2) * 3}. So Since 5 - 2 = 3, we need more, not: Since (and I settle for"


def build_tokenizer(*, model_max_length: int) -> "PreTrainedTokenizerFast":
    """The tokenizer, a function of the task's wording alone: special tokens, 256 bytes, then pieces in order."""
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = sorted(_task_pieces() - set(alphabet))
    vocabulary = {token: index for index, token in enumerate([*SPECIAL_TOKENS, *alphabet, *pieces])}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[], ignore_merges=True))
    backend.pre_tokenizer = _pre_tokenizer()
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        eos_token=END,
        pad_token=PAD,
        model_max_length=model_max_length,
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return cast("PreTrainedTokenizerFast", tokenizer)


def _pre_tokenizer() -> pre_tokenizers.Sequence:
    split = pre_tokenizers.Split(Regex(_PIECES), behavior="isolated")
    return pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def _task_pieces() -> set[str]:
    """The pieces, in the byte alphabet, of every text the task and its traces are made of."""
    splitter = _pre_tokenizer()
    return {piece for text in _task_texts() for piece, _ in splitter.pre_tokenize_str(text)}


def _task_texts() -> Iterable[str]:
    yield countdown_prompt([1, 2, 3], 6).text
    yield countdown_prompt([1, 2, 3, 4], 24).text
    yield _GLUE
    yield from ("Since", "\\boxed{")
    for phrase in strategic_phrases():
        yield phrase.text
        yield f" {phrase.text}"
    for number in range(LARGEST_RESULT + 1):
        yield f" {number}"
