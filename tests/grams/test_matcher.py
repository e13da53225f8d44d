"""Planning masks on chosen sentences, with the masks worked out by hand."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from hicra_cli.core.errors import DataError
from hicra_cli.core.records import Move
from hicra_cli.grams import GramSet, PlanningMatcher, TextMatcher
from hicra_cli.grams.matcher import MOVES


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


@pytest.fixture(scope="module")
def labelled(tokenizer):
    phrases = ["let me think", "me think now so", "think now so x", "so let me"]
    return PlanningMatcher(
        GramSet.from_phrases(phrases, [Move.DEDUCTION, Move.BRANCHING, None, Move.BACKTRACING]), tokenizer
    )


def test_labels_name_the_longest_gram_and_of_equal_ones_the_first(labelled, tokenizer):
    # words: so let me think now so x. "so let me" and "let me think" have 3 words, "me think now so" and
    # "think now so x" 4: the first of these takes me, think, now, so; x is left to the other, let to "so let me"
    labels = labelled.labels(tokenizer.encode(" so let me think now so x that").ids)
    names = [None if index < 0 else labelled.gram_set.grams[index].text for index in labels.gram_indices.tolist()]
    assert names == ["so let me", "so let me", *["me think now so"] * 4, "think now so x", None]
    assert labels.planning_mask.tolist() == [True] * 7 + [False]
    moves = [None if code < 0 else MOVES[code] for code in labels.move_codes.tolist()]
    assert moves == [Move.BACKTRACING, Move.BACKTRACING, *[Move.BRANCHING] * 4, None, None]
    assert (labels.gram_indices.dtype, labels.move_codes.dtype) == (np.int32, np.int8)


def test_padded_rows_are_read_through_their_response_mask(matcher, tokenizer):
    # "so let me think" with the prompt "let me" before it and padding behind; the prompt's gram is not continued
    prompt, response = tokenizer.encode(" let me").ids, tokenizer.encode(" think so let me think").ids
    row = [*prompt, *response, 0, 0]
    response_mask = np.array([[0] * 2 + [1] * 5 + [0] * 2, [0] * 9])
    mask = matcher.padded_planning_mask(np.array([row, row]), response_mask)
    assert mask.tolist() == [[False] * 4 + [True] * 3 + [False] * 2, [False] * 9]
    assert matcher.padded_planning_mask(np.array([row]), response_mask[:1], truncated=[True]).sum() == 0
    assert matcher.padded_planning_mask(np.zeros((2, 3)), np.zeros((2, 3))).sum() == 0


def test_torch_tensors_are_token_ids_too(matcher, tokenizer):
    torch = pytest.importorskip("torch")
    ids = tokenizer.encode("so let me think").ids
    np.testing.assert_array_equal(matcher.planning_mask(torch.tensor(ids)), matcher.planning_mask(ids))


def test_a_matcher_survives_pickling_and_threads(matcher, tokenizer):
    rollouts = [tokenizer.encode(f"so {number} let me think wait let me").ids for number in range(50)]
    expected = [mask.tolist() for mask in matcher.planning_masks(rollouts)]
    again = pickle.loads(pickle.dumps(matcher))  # noqa: S301
    with ThreadPoolExecutor(4) as pool:
        assert [mask.tolist() for mask in pool.map(again.planning_mask, rollouts)] == expected


def test_lone_surrogates_are_text_that_no_gram_crosses():
    matcher = TextMatcher(GramSet.from_phrases(["let me think"]))
    text = "let \ud800 me think, let me think\udfff let me think \ud83d"
    assert [(found.start, found.end) for found in matcher.occurrences(text)] == [(16, 28), (30, 42)]
    with pytest.raises(DataError, match="can never occur"):
        GramSet.from_phrases(["let \ud800 think"])


def test_a_response_without_a_blank_is_read_whole(matcher, tokenizer):
    # 40,000 tokens and no blank, which no memory of runs should hold one by one
    ids = tokenizer.encode("x" * 40_000 + " let me think").ids
    assert matcher.planning_mask(ids).sum() == 3
    assert matcher.planning_mask(tokenizer.encode("-" * 40_000).ids, truncated=True).sum() == 0


def test_an_environment_open_at_the_end_of_a_rollout_does_not_reach_into_the_next(matcher, tokenizer):
    rollouts = [tokenizer.encode(text).ids for text in ("\\begin{align} x \\end{", " let me think")]
    assert [int(mask.sum()) for mask in matcher.planning_masks(rollouts)] == [0, 3]
