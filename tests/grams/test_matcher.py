"""Planning masks on chosen sentences, with the masks worked out by hand."""

import numpy as np
import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from hicra_cli.core.records import Move
from hicra_cli.grams import GramSet, PlanningMatcher, TextMatcher


@pytest.fixture(scope="module")
def tokenizer():
    """Word-level pieces in the byte alphabet and single bytes: " let" is one token, what is not listed is bytes."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [
        "Wait",
        "Let",
        "'s",
        "Ġlet",
        "Ġme",
        "Ġthink",
        "Ġso",
        "Ġx",
        "Ġnow",
        "Ġthat",
        "Ġnot",
        "Ġright",
        "Ġsee",
        ".ĊĊ",
    ]
    vocabulary = {token: index for index, token in enumerate([*alphabet, *words])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split("'s", behavior="isolated"),
            pre_tokenizers.Split(".\n\n", behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken("<|end|>", special=True)])
    return tokenizer


@pytest.fixture(scope="module")
def matcher(tokenizer):
    phrases = ["let me think", "let's see now", "wait let me", "that's not right", "let me think now", "me think"]
    return PlanningMatcher(GramSet.from_phrases(phrases), tokenizer)


def marked(matcher, tokenizer, text, *, truncated=False):
    """The planning tokens, as they are written in the vocabulary."""
    ids = tokenizer.encode(text).ids
    mask = matcher.planning_mask(ids, truncated=truncated)
    assert mask.dtype == bool
    assert mask.shape == (len(ids),)
    return [tokenizer.id_to_token(index) for index, planning in zip(ids, mask, strict=True) if planning]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("so x let me think now then", ["Ġlet", "Ġme", "Ġthink", "Ġnow"]),
        ("so x let me think, now", ["Ġlet", "Ġme", "Ġthink", ",", "Ġnow"]),
        ("so x let me think. now", ["Ġlet", "Ġme", "Ġthink"]),
        ("Wait, let me see", ["Wait", ",", "Ġlet", "Ġme"]),
        ("Let's see now", ["Let", "'s", "Ġsee", "Ġnow"]),
        ("so that's not right.\n\nWait", ["Ġthat", "'s", "Ġnot", "Ġright"]),
        ("let me see", []),
        ("let me. think", []),
        ("let me\n think", []),
        ("let me $x$ think", []),
        ("let me 3 think", []),
        ("outlet me think", ["Ġme", "Ġthink"]),
        ("let me thinking", []),
    ],
)
def test_exactly_the_tokens_of_the_gram_are_planning_tokens(matcher, tokenizer, text, expected):
    assert marked(matcher, tokenizer, text) == expected


def test_a_token_that_merges_the_gram_with_what_follows_is_a_planning_token():
    # one token holds "think.\n\n": some of its bytes lie in the gram
    vocabulary = {"let": 0, "Ġme": 1, "Ġthink.ĊĊ": 2, "so": 3}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], ignore_merges=True))
    tokenizer.decoder = decoders.ByteLevel()
    matcher = PlanningMatcher(GramSet.from_phrases(["let me think"]), tokenizer)
    assert matcher.planning_mask([3, 0, 1, 2, 3]).tolist() == [False, False, False, False, False]  # "solet" is no word
    assert matcher.planning_mask([0, 1, 2, 3]).tolist() == [True, True, True, False]


def test_a_curly_apostrophe_is_three_bytes_of_the_gram(matcher, tokenizer):
    # "Let", three bytes of ’, "s", " see", " now"
    ids = tokenizer.encode("Let’s see now").ids
    assert matcher.planning_mask(ids).tolist() == [True] * 7


def test_a_special_token_breaks_a_gram_and_is_none_itself(matcher, tokenizer):
    ids = tokenizer.encode("so let me<|end|> think let me think<|end|>").ids
    assert matcher.planning_mask(ids).tolist() == [False] * 2 + [False] * 4 + [True] * 3 + [False]


def test_unknown_ids_break_a_gram_and_are_none_themselves(matcher, tokenizer):
    let, me, think = (tokenizer.token_to_id(token) for token in ("Ġlet", "Ġme", "Ġthink"))
    assert matcher.planning_mask([let, me, 10**6, think]).tolist() == [False] * 4
    assert matcher.planning_mask([let, me, think, -1]).tolist() == [True, True, True, False]


def test_a_gram_cut_off_by_truncation_is_no_match(matcher, tokenizer):
    assert marked(matcher, tokenizer, "so let me think") == ["Ġlet", "Ġme", "Ġthink"]
    assert marked(matcher, tokenizer, "so let me think", truncated=True) == []
    assert marked(matcher, tokenizer, "so let me think ", truncated=True) == ["Ġlet", "Ġme", "Ġthink"]
    assert marked(matcher, tokenizer, "so let me think now", truncated=True) == ["Ġlet", "Ġme", "Ġthink"]
    # the last token is the first of three bytes of an apostrophe: "think’s" may have been coming
    cut = tokenizer.encode("so let me think’").ids[:-2]
    assert matcher.planning_mask(cut, truncated=True).sum() == 0


def test_a_response_that_ended_is_not_cut_off(matcher, tokenizer):
    ids = tokenizer.encode("let me think<|end|>").ids
    assert matcher.planning_mask(ids, truncated=True).tolist() == [True] * (len(ids) - 1) + [False]


def test_spans_are_all_occurrences_and_counted_are_the_longest_from_the_left(matcher, tokenizer):
    # tokens: so, let, me, think, now; "let me think now" is characters 3 to 19
    ids = tokenizer.encode(" so let me think now").ids
    spans = matcher.spans(ids)
    assert [(span.gram.text, span.first_token, span.end_token, span.start, span.end) for span in spans] == [
        ("let me think", 1, 4, 4, 16),
        ("let me think now", 1, 5, 4, 20),
        ("me think", 2, 4, 8, 16),
    ]
    assert [span.gram.text for span in matcher.counted(ids)] == ["let me think now"]


def test_counting_goes_on_after_the_longest_match(matcher):
    text = "wait let me think now, let me think"
    # "wait let me" takes the words of "let me think now"; what is left is "think now" and then "let me think"
    assert [found.gram.text for found in matcher.counted_in_text(text)] == ["wait let me", "let me think"]
    assert len(matcher.text_occurrences(text)) == 6


def test_a_gram_keeps_its_move():
    gram_set = GramSet.from_phrases(["but wait no"], [Move.BACKTRACING])
    assert TextMatcher(gram_set).occurrences("But wait, no!")[0].gram.move is Move.BACKTRACING


def test_masks_of_a_batch_are_those_of_its_rollouts(matcher, tokenizer):
    rollouts = [tokenizer.encode(text).ids for text in ("so let me think", "x", "", "wait let me")]
    masks = matcher.planning_masks(rollouts, truncated=[True, False, False, False])
    assert [mask.sum() for mask in masks] == [0, 0, 0, matcher.planning_mask(rollouts[3]).sum()]
    assert [len(mask) for mask in masks] == [len(ids) for ids in rollouts]
    with pytest.raises(ValueError, match="shorter"):
        matcher.planning_masks(rollouts, truncated=[True])


def test_token_ids_may_be_a_numpy_array(matcher, tokenizer):
    ids = tokenizer.encode("so let me think").ids
    np.testing.assert_array_equal(matcher.planning_mask(np.array(ids, dtype=np.int32)), matcher.planning_mask(ids))
