"""The bytes of tokens for each kind of tokenizer, and the characters they come to."""

import subprocess
import sys

import numpy as np
import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models

from hicra_cli.core.errors import DataError
from hicra_cli.text.tokens import TokenBytes, token_bytes


def tokenizer_of(tokens, decoder, special=()):
    tokenizer = Tokenizer(models.BPE(vocab={token: index for index, token in enumerate(tokens)}, merges=[]))
    tokenizer.decoder = decoder
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in special])
    return tokenizer


def bytes_of(tokens, decoder):
    table = TokenBytes(tokenizer_of(tokens, decoder))
    assert len(table) == len(tokens)
    return [table[index] for index in range(len(tokens))]


def test_byte_level_tokens_are_read_in_the_byte_alphabet():
    # Ġ is byte 32 and Ċ byte 10; Ã© are the two bytes of é; € is not in the alphabet, so it is literal
    tokens = ["Ġlet", ".ĊĊ", "Ã©", "Ã", "ÿ", "€"]
    assert bytes_of(tokens, decoders.ByteLevel()) == [b" let", b".\n\n", "é".encode(), b"\xc3", b"\xff", "€".encode()]


def test_the_byte_alphabet_is_the_decoders_own():
    table = TokenBytes(tokenizer_of([chr(code) for code in range(0x200)], decoders.ByteLevel()))
    for code in range(0x200):
        assert table[code].decode(errors="replace") == decoders.ByteLevel().decode([chr(code)])


def test_sentencepiece_tokens_are_pieces_with_blanks_and_single_bytes():
    tokens = ["▁let", "me", "<0xE2>", "<0x0A>", "▁▁", "<0xZZ>"]
    expected = [b" let", b"me", b"\xe2", b"\n", b"  ", b"<0xZZ>"]
    layouts = (
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)],
        [decoders.ByteFallback(), decoders.Metaspace(), decoders.Fuse()],
    )
    for layout in layouts:
        assert bytes_of(tokens, decoders.Sequence(layout)) == expected
    # without byte fallback such a token is text
    assert bytes_of(tokens, decoders.Metaspace()) == [b" let", b"me", b"<0xE2>", b"<0x0A>", b"  ", b"<0xZZ>"]


def test_tokens_that_decode_with_blanks_between_own_the_blank_before_them():
    assert bytes_of(["let", "me"], None) == [b" let", b" me"]
    assert bytes_of(["let", "##ting"], decoders.WordPiece(cleanup=False)) == [b" let", b"ting"]
    assert bytes_of(["le", "t</w>"], decoders.BPEDecoder()) == [b"le", b"t "]


@pytest.mark.parametrize(
    "decoder",
    [
        decoders.WordPiece(cleanup=True),
        decoders.CTC(),
        decoders.Sequence([decoders.Strip(" ", 1, 0)]),
        decoders.Sequence([decoders.Fuse(), decoders.Replace("▁", " ")]),
    ],
)
def test_a_decoder_that_looks_at_neighbours_is_refused_by_name(decoder):
    with pytest.raises(DataError, match="depend on its neighbours"):
        TokenBytes(tokenizer_of(["a"], decoder))


def test_an_object_without_a_token_table_is_refused():
    with pytest.raises(DataError, match=r"tokenizer\.json"):
        TokenBytes(object())


def test_special_and_unknown_tokens_have_no_bytes_and_break_the_text():
    table = TokenBytes(tokenizer_of(["a", "Ġb"], decoders.ByteLevel(), special=["<|end|>"]))
    tokens = table.text_and_offsets([0, 2, 1, 99, -1, 0])
    # a | " b" | | a
    assert tokens.text == "a ba"
    assert tokens.breaks == (1, 3)
    assert tokens.parts() == [(0, 1), (1, 3), (3, 4)]
    assert tokens.char_spans.tolist() == [[0, 1], [1, 1], [1, 3], [3, 3], [3, 3], [3, 4]]
    assert (table[99], table[-1]) == (b"", b"")


def test_a_character_split_over_tokens_belongs_to_each_of_them():
    # the four bytes F0 9F A4 94 of 🤔 as ð, Ł, ¤, Ķ in the alphabet; then "x"
    table = TokenBytes(tokenizer_of(["ð", "Ł¤", "Ķ", "x"], decoders.ByteLevel()))
    tokens = table.text_and_offsets([3, 0, 1, 2, 3])
    assert tokens.text == "x🤔x"
    assert tokens.char_spans.tolist() == [[0, 1], [1, 2], [1, 2], [1, 2], [2, 3]]
    assert tokens.byte_starts.tolist() == [0, 1, 2, 4, 5]
    first, end = tokens.tokens_of(np.array([1]), np.array([2]))
    assert (first.tolist(), end.tolist()) == ([1], [4])


def test_undecodable_bytes_become_replacement_characters_as_python_counts_them():
    # F0 9F is the beginning of a character (one U+FFFD), FF is none (another), then "x"
    table = TokenBytes(tokenizer_of(["ð", "Ł", "ÿ", "x"], decoders.ByteLevel()))
    tokens = table.text_and_offsets([0, 1, 2, 3])
    assert tokens.text == "\ufffd\ufffdx" == b"\xf0\x9f\xffx".decode(errors="replace")
    assert tokens.char_spans.tolist() == [[0, 1], [0, 1], [1, 2], [2, 3]]


def test_no_tokens_are_no_text():
    tokens = TokenBytes(tokenizer_of(["a"], decoders.ByteLevel())).text_and_offsets([])
    assert (tokens.text, tokens.breaks, tokens.char_spans.shape) == ("", (), (0, 2))


def test_a_table_is_built_once_per_tokenizer_and_again_when_tokens_are_added():
    tokenizer = tokenizer_of(["a"], decoders.ByteLevel())
    table = token_bytes(tokenizer)
    assert token_bytes(tokenizer) is table
    tokenizer.add_tokens(["bb"])
    assert token_bytes(tokenizer)[1] == b"bb"
    assert token_bytes(tokenizer_of(["a"], decoders.ByteLevel())) is not table


def test_a_hugging_face_tokenizer_is_read_through_its_backend():
    from transformers import PreTrainedTokenizerFast

    backend = tokenizer_of(["a", "Ġb"], decoders.ByteLevel())
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|end|>")
    ids = [0, 1, tokenizer.eos_token_id]
    tokens = token_bytes(tokenizer).text_and_offsets(ids)
    assert tokens.text == tokenizer.decode(ids, skip_special_tokens=True) == "a b"
    assert tokens.breaks == (3,)


def test_matching_needs_neither_torch_nor_transformers():
    code = "import sys, hicra_cli.grams.matcher; print({'torch', 'transformers', 'tokenizers'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
