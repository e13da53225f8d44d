"""The fast mask is the slow mask, bit for bit, whatever the tokenizer and however its tokens cut the text."""

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from hicra_cli.embedded.tokenizer import build_tokenizer
from hicra_cli.grams import GramSet, PlanningMatcher, TextMatcher
from hicra_cli.text.tokens import TokenBytes
from hicra_cli.text.words import segments
from tests.reference.matching import (
    decode_slowly,
    reference_counted,
    reference_grams,
    reference_mask,
    reference_occurrences,
    reference_words,
)

CORPUS = ["Wait, let me think. That's not right: let’s try a different approach — 3 + 4 = 7, we need más 🤔 让我"] * 3
PHRASES = ["let me think", "me think", "let me", "that's not right", "wait let me", "let's try a", "let", "i.e we",
           "a different approach", "so we need", "más que", "well-known", "think let me think"]  # fmt: skip
GRAM_SET = GramSet.from_phrases(PHRASES)
GRAMS = [gram.words for gram in GRAM_SET.grams]

FRAGMENTS = ["let", "Let", "LET", "me", "think", "that", "'s", "’s", "not", "right", "wait", "Wait", "try", "a", "so",
             "different", "approach", "we", "need", "más", "que", "well", "known", "i.e.", "ma\u0301s", "ﬁ", "x2", "²",
             " ", " ", " ", " ", " ", " ", ",", ", ", ". ", ".", "-", "‑", "—", "\n", "\n\n", "\t", "\u2028", "!", "…",
             "*", "**", "_", "(", ")", "“", "'", "3", " 3.5 ", "=", "🤔", "让", "\u0301", "\ufffd", "\x00", "ŉ", "ǆ",
             "$", "$$", "\\(", "\\)", "\\[", "\\]", "\\begin{align}", "\\end{align}", "\\begin{proof}", "\\end{proof}",
             "\\boxed", "\\end{", "\\begin{a", "{", "}", "\\", "`", "``", "```", "```py", "<|end|>", "</think>",
             "İ"]  # fmt: skip
phrases = st.sampled_from([phrase.title() for phrase in PHRASES] + PHRASES).map(lambda phrase: f" {phrase} ")
texts = st.lists(st.one_of(st.sampled_from(FRAGMENTS), phrases), max_size=14).map("".join)


@cache
def matcher_of(kind):
    return PlanningMatcher(GRAM_SET, KINDS[kind]())


@cache
def byte_level():
    """BPE trained on bytes: characters of several bytes are split over tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=330, show_progress=False, initial_alphabet=alphabet, special_tokens=["<|end|>"]
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.add_tokens([AddedToken("</think>", special=False)])
    return tokenizer


@cache
def sentencepiece_bpe():
    """The layout of Llama 2 and Mistral: no pre-tokenizer, blanks are ▁, unknown characters are byte tokens."""
    byte_tokens = [f"<0x{byte:02X}>" for byte in range(256)]
    merges = [("▁", "l"), ("▁l", "e"), ("▁le", "t"), ("▁", "m"), ("▁m", "e"), ("i", "n"), ("in", "k"), (",", "▁")]
    pieces = ["<unk>", "<|end|>", *byte_tokens, "▁", *"abcdefghiklmnopqrstuvwxyz.,'", *map("".join, merges)]
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens(["<unk>", "<|end|>"])
    tokenizer.add_tokens([AddedToken("▁▁", special=False, normalized=False)])
    return tokenizer


@cache
def sentencepiece_unigram():
    """The layout of T5 and Gemma: pieces with scores, metaspace, byte tokens."""
    byte_tokens = [f"<0x{byte:02X}>" for byte in range(256)]
    pieces = ["▁", *"abcdefghiklmnopqrstuvwxyz.,'", "▁let", "▁me", "▁think", "let", "▁wait", "ink", "▁a", "ight", "▁,"]
    vocabulary = [("<unk>", 0.0), *((token, -20.0) for token in byte_tokens), *((piece, -5.0) for piece in pieces)]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=0, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer.decoder = decoders.Sequence(
        [decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="first"), decoders.Fuse()]
    )
    tokenizer.add_special_tokens(["<|end|>"])
    return tokenizer


@cache
def word_level():
    """Words and punctuation, parted by blanks when decoded."""
    words = ["<unk>", "'", "’", ",", ".", "s", *FRAGMENTS, *(word for gram in GRAMS for word in gram)]
    vocabulary = {word: index for index, word in enumerate(dict.fromkeys(word for word in words if word.strip()))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(["<|end|>"])
    return tokenizer


@cache
def embedded():
    return build_tokenizer(model_max_length=512).backend_tokenizer


KINDS = {
    "byte-level": byte_level,
    "sentencepiece-bpe": sentencepiece_bpe,
    "sentencepiece-unigram": sentencepiece_unigram,
    "word-level": word_level,
    "embedded": embedded,
}


@cache
def reference_alphabet():
    """Character of the byte alphabet -> byte, read off what the pre-tokenizer makes of known characters."""
    # bytes that UTF-8 never uses cannot be shown this way; they are printable in Latin-1, which stands for itself
    shown = {chr(byte): byte for byte in (0xC0, 0xC1, *range(0xF5, 0x100))}
    splitter = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    for code in [*range(0x80), *range(0x80, 0x800, 0x11), *range(0x80, 0xC0), *range(0x800, 0x110000, 0x3F1)]:
        if not 0xD800 <= code < 0xE000:
            character = chr(code)
            (piece, _), *_ = splitter.pre_tokenize_str(character)
            shown.update(zip(piece, character.encode(), strict=True))
    return shown


def reference_bytes(kind, tokenizer, index):
    added = tokenizer.get_added_tokens_decoder().get(index)
    token = tokenizer.id_to_token(index)
    if token is None or (added is not None and added.special):
        return None
    if kind == "word-level":
        return (" " + token).encode()
    if kind.startswith("sentencepiece"):
        if token.startswith("<0x"):
            return bytes.fromhex(token[3:5])
        return token.replace("▁", " ").encode()
    return bytes(reference_alphabet()[character] for character in token)


def assert_equal_masks(kind, ids, *, truncated):
    tokenizer = KINDS[kind]()
    pieces = [reference_bytes(kind, tokenizer, index) for index in ids]
    matcher = matcher_of(kind)
    assert matcher.planning_mask(ids, truncated=truncated).tolist() == reference_mask(
        pieces, GRAMS, truncated=truncated
    )
    labels = matcher.labels(ids, truncated=truncated)
    grams = [None if index < 0 else GRAMS[index] for index in labels.gram_indices.tolist()]
    assert grams == reference_grams(pieces, GRAMS, truncated=truncated)
    assert labels.planning_mask.tolist() == [gram is not None for gram in grams]
    # what a matcher has read before makes no difference
    anew = PlanningMatcher(GRAM_SET, tokenizer)
    assert anew.planning_mask(ids, truncated=truncated).tolist() == labels.planning_mask.tolist()


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=150, deadline=None)
@given(text=texts, truncated=st.booleans())
def test_the_mask_of_encoded_text_is_the_slow_mask(kind, text, truncated):
    assert_equal_masks(kind, KINDS[kind]().encode(text).ids, truncated=truncated)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=150, deadline=None)
@given(data=st.data(), truncated=st.booleans())
def test_the_mask_of_arbitrary_ids_is_the_slow_mask(kind, data, truncated):
    tokenizer = KINDS[kind]()
    ids = data.draw(st.lists(st.integers(0, tokenizer.get_vocab_size() + 2), max_size=20))
    cut = data.draw(texts)
    position = data.draw(st.integers(0, len(ids)))
    assert_equal_masks(kind, [*ids[:position], *tokenizer.encode(cut).ids, *ids[position:]], truncated=truncated)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None)
@given(batch=st.lists(st.tuples(texts, st.booleans()), max_size=5))
def test_a_batch_gives_what_each_rollout_gives_alone(kind, batch):
    tokenizer, matcher = KINDS[kind](), matcher_of(kind)
    rollouts = [tokenizer.encode(text).ids for text, _ in batch]
    truncated = [cut for _, cut in batch]
    masks = matcher.planning_masks(rollouts, truncated=truncated)
    labels = matcher.batch_labels(rollouts, truncated=truncated)
    every_span = matcher.batch_spans(rollouts, truncated=truncated)
    assert len(masks) == len(labels) == len(every_span) == len(rollouts)
    for ids, cut, mask, label in zip(rollouts, truncated, masks, labels, strict=True):
        assert mask.tolist() == label.planning_mask.tolist() == matcher.planning_mask(ids, truncated=cut).tolist()
        spans = matcher.spans(ids, truncated=cut)
        assert spans == every_span.pop(0)
        covered = {token for span in spans for token in range(span.first_token, span.end_token)}
        assert covered >= set(mask.nonzero()[0].tolist())


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None)
@given(text=texts, truncated=st.booleans())
def test_spans_of_ids_are_the_slow_occurrences_in_their_text(kind, text, truncated):
    tokenizer, matcher = KINDS[kind](), matcher_of(kind)
    ids = [index for index in tokenizer.encode(text).ids if reference_bytes(kind, tokenizer, index) is not None]
    shown, _ = decode_slowly(b"".join(reference_bytes(kind, tokenizer, index) for index in ids))
    expected = reference_occurrences(shown, GRAMS, truncated=truncated)
    spans = matcher.spans(ids, truncated=truncated)
    assert [(span.gram.words, span.start, span.end) for span in spans] == expected
    mask = matcher.planning_mask(ids, truncated=truncated)
    for span in spans:
        assert mask[[span.first_token, span.end_token - 1]].all()  # the first and last token hold bytes of it


@settings(max_examples=400, deadline=None)
@given(text=st.one_of(texts, st.text(max_size=40)))
def test_words_are_the_slow_words(text):
    assert [[tuple(word) for word in segment] for segment in segments(text)] == reference_words(text)


@settings(max_examples=200, deadline=None)
@given(text=texts, truncated=st.booleans())
def test_occurrences_in_text_are_the_slow_ones(text, truncated):
    matcher = TextMatcher(GRAM_SET)
    found = [(one.gram.words, one.start, one.end) for one in matcher.occurrences(text, truncated=truncated)]
    assert found == reference_occurrences(text, GRAMS, truncated=truncated)
    counted = [(one.gram.words, one.start, one.end) for one in matcher.counted(text)]
    assert counted == reference_counted(text, GRAMS)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_text_and_character_spans_of_byte_level_ids_are_the_slow_ones(data):
    tokenizer = byte_level()
    table = TokenBytes(tokenizer)
    ids = data.draw(
        st.lists(st.integers(0, tokenizer.get_vocab_size() - 1).filter(lambda index: index != 0), max_size=20)
    )
    found = table.text_and_offsets(ids)
    text, sizes = decode_slowly(b"".join(reference_bytes("byte-level", tokenizer, index) for index in ids))
    assert found.text == text == tokenizer.decode(ids)
    owners = [index for index, size in enumerate(sizes) for _ in range(size)]
    position = 0
    for index, (start, end) in zip(ids, found.char_spans.tolist(), strict=True):
        size = len(table[index])
        assert (start, end) == (owners[position], owners[position + size - 1] + 1)
        position += size
