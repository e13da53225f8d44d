"""The embedded tokenizer: any text comes back, the task's words are single tokens, an ordinary saved tokenizer."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from hicra_cli.core.seeds import generator_for
from hicra_cli.embedded import NANO_PATH
from hicra_cli.embedded.tokenizer import SPECIAL_TOKENS, build_tokenizer
from hicra_cli.embedded.traces import strategic_phrases, trace
from hicra_cli.tasks.countdown import CountdownTask, countdown_prompt


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return build_tokenizer(model_max_length=4096)


@given(st.text(max_size=200))
def test_any_text_comes_back(text: str):
    tokenizer = shipped()
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False) == text


@pytest.mark.parametrize(
    "text",
    [
        "Héllo, 世界! \n\t  two  blanks ",
        "let’s “quote” don't 12345 ½ ٣",
        r"Find $\frac{a}{b}$ if \(x^2 = 7\). \boxed{\text{no}}",
        "👩‍👩‍👧 e\u0301 \u202e\ufeff \x00\x7f",
        "<|end|> inside",
    ],
)
def test_foreign_text_comes_back(text: str, tokenizer: PreTrainedTokenizerFast):
    assert tokenizer.decode(tokenizer.encode(text), skip_special_tokens=False) == text


def test_the_bytes_of_a_text_are_read_off_its_tokens(tokenizer: PreTrainedTokenizerFast):
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    byte_of = {character: byte for byte, character in bytes_to_unicode().items()}
    text = "Since 5 * 3 = 15, naïve 世界"
    tokens = tokenizer.convert_ids_to_tokens(tokenizer.encode(text))
    assert b"".join(bytes(byte_of[character] for character in token) for token in tokens) == text.encode()


def test_words_and_numbers_of_the_task_are_single_tokens(tokenizer: PreTrainedTokenizerFast):
    for word in [
        "Let's",
        " Let's",
        " target",
        " different",
        " 22",
        " 99",
        " 7",
        "7",
        " \\boxed{",
        " So",
    ]:
        assert len(tokenizer.encode(word)) == 1, word
    for phrase in strategic_phrases():
        assert len(tokenizer.encode(f" {phrase.text}")) == len(phrase.text.split())
        assert len(tokenizer.encode(phrase.text)) == len(phrase.text.split())


def test_a_trace_costs_one_token_per_word_number_and_sign(tokenizer: PreTrainedTokenizerFast):
    text = "5 * 3 = 15, 15 + 4 = 19, not 22. So the answer is \\boxed{(5 * 3) + 4}."
    # 5 + 1 + 5 + 1 + 2 + 1 | So the answer is: 4 | \boxed{ ( 5 * 3 ) + 4 } . : 10
    assert len(tokenizer.encode(text)) == 29


def test_no_task_text_falls_back_to_bytes(tokenizer: PreTrainedTokenizerFast):
    for prompt in CountdownTask().stream(0, 500, seed=0):
        numbers, _, target = prompt.answer.partition(" -> ")
        generator = generator_for(0, "test-trace", prompt=prompt.id)
        for text in (prompt.text, trace([int(number) for number in numbers.split()], int(target), generator)):
            tokens = tokenizer.convert_ids_to_tokens(tokenizer.encode(text))
            assert [token for token in tokens if len(token) == 1 and token.isalpha()] == []


def test_the_vocabulary_is_small_and_begins_with_special_tokens(tokenizer: PreTrainedTokenizerFast):
    assert len(tokenizer) <= 700
    assert tokenizer.convert_tokens_to_ids(list(SPECIAL_TOKENS)) == [0, 1, 2, 3, 4]
    assert (tokenizer.pad_token, tokenizer.eos_token, tokenizer.bos_token) == ("<|pad|>", "<|end|>", None)


def test_the_chat_template_tags_each_message_once(tokenizer: PreTrainedTokenizerFast):
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Make 7."}]
    text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    assert text == "<|system|>Be brief.<|end|><|user|>Make 7.<|end|><|assistant|>"
    answered = [*messages, {"role": "assistant", "content": "7"}]
    assert tokenizer.apply_chat_template(answered, tokenize=False) == text + "7<|end|>"


def test_every_question_of_three_numbers_has_the_same_length(tokenizer: PreTrainedTokenizerFast):
    lengths = {len(tokenizer.encode(prompt.text)) for prompt in CountdownTask().held_out(536)}
    assert lengths == {28}
    assert len(tokenizer.encode(countdown_prompt([1, 2, 3, 4], 24).text)) == 30


def test_a_saved_tokenizer_loads_as_itself(tokenizer: PreTrainedTokenizerFast, tmp_path: Path):
    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    text = "Let's go back to 6 * 6 = 36, naïve 世界 \\boxed{6}."
    assert again.encode(text) == tokenizer.encode(text)
    assert again.decode(again.encode(text)) == text
    assert (again.eos_token_id, again.pad_token_id, again.chat_template) == (1, 0, tokenizer.chat_template)


def test_the_shipped_tokenizer_is_the_one_the_code_builds(tokenizer: PreTrainedTokenizerFast):
    assert shipped().get_vocab() == tokenizer.get_vocab()
    assert shipped().chat_template == tokenizer.chat_template


_SHIPPED: list[PreTrainedTokenizerFast] = []


def shipped() -> PreTrainedTokenizerFast:
    """The tokenizer beside the shipped weights, loaded once."""
    if not _SHIPPED:
        _SHIPPED.append(AutoTokenizer.from_pretrained(NANO_PATH))
    return _SHIPPED[0]
