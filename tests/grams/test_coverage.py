"""Coverage: shares by hand, per rollout, move, gram and checkpoint, equal to the planning mask, and the gate."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from hicra_cli.config.train import CoverageConfig
from hicra_cli.core.records import FinishReason, Move
from hicra_cli.grams import GramSet, PlanningMatcher
from hicra_cli.grams.coverage import coverage, coverage_verdict
from hicra_cli.grams.rollout_file import RolloutRow

GRAMS = GramSet.from_phrases(
    ["wait let me", "let me check", "so we have", "never said here"],
    [Move.BACKTRACING, Move.BACKTRACING, Move.DEDUCTION, Move.BRANCHING],
)


def row(text, *, policy=None, step=None, token_ids=None, finish_reason=None) -> RolloutRow:
    return RolloutRow("p", 0, text, policy=policy, step=step, token_ids=token_ids, finish_reason=finish_reason)


def measured(rows, gram_set=GRAMS, tokenizer=None):
    return coverage(gram_set, rows, lambda policy: tokenizer)


def test_shares_of_words_and_pieces_by_hand():
    # "wait let me check 7 times": 4 planning words (two grams overlap) of 5 words and 6 pieces.
    # "so we have a red hat": 3 of 6 words and 6 pieces. "nothing": 0 of 1 and 1.
    found = measured([row("wait let me check 7 times"), row("so we have a red hat"), row("nothing")])
    assert (found.words.planning, found.words.total) == (7, 12)
    assert (found.pieces.planning, found.pieces.total) == (7, 13)
    assert found.unit == "pieces"
    assert found.share.fraction == 7 / 13
    assert (found.rollouts, found.without) == (3, 1)
    assert found.rollout_shares.tolist() == [4 / 6, 3 / 6, 0.0]
    assert found.quartiles() == {"min": 0.0, "q25": 0.25, "median": 0.5, "q75": pytest.approx(7 / 12), "max": 4 / 6}


def test_moves_grams_and_checkpoints_have_their_parts():
    found = measured(
        [
            row("wait let me check 7 times", policy="a", step=1),
            row("so we have. so we have", policy="a", step=2),
            row("nothing", policy="a", step=2),
        ]
    ).to_json()
    # 6 + 6 + 1 pieces; backtracing covers 4, deduction 6, branching none.
    assert {name: use["planning_fraction"] for name, use in found["moves"].items()} == {
        "backtracing": 4 / 13,
        "branching": 0.0,
        "deduction": 6 / 13,
    }
    assert {name: (use["occurrences"], use["rollouts"]) for name, use in found["moves"].items()} == {
        "backtracing": (2, 1),
        "branching": (0, 0),
        "deduction": (2, 1),
    }
    assert [(use["gram"], use["occurrences"], use["rollouts"]) for use in found["grams"]] == [
        ("so we have", 2, 1),
        ("let me check", 1, 1),
        ("wait let me", 1, 1),
        ("never said here", 0, 0),
    ]
    assert found["never_matched"] == ["never said here"]
    assert found["checkpoints"] == [
        {"policy": "a", "step": 1, "rollouts": 1, "without": 0, "planning_fraction": 4 / 6},
        {"policy": "a", "step": 2, "rollouts": 2, "without": 1, "planning_fraction": 6 / 7},
    ]
    json.dumps(found, allow_nan=False)


def test_a_gram_that_the_length_limit_cut_off_does_not_count():
    assert measured([row("so we have", finish_reason=FinishReason.LENGTH)]).words.planning == 0
    assert measured([row("so we have", finish_reason=FinishReason.STOP)]).words.planning == 3


def test_without_rollouts_there_are_no_shares_and_nothing_to_say():
    found = measured([])
    assert found.to_summary() == {"grams_never_matched": 4}
    assert found.to_json()["rollouts"] == {"number": 0, "without": 0, "without_fraction": None, "share": {}}
    assert coverage_verdict(found, CoverageConfig()) == ("ok", "")


@pytest.fixture(scope="module")
def tokenizer(nano_path) -> Tokenizer:
    return Tokenizer.from_file(str(nano_path / "tokenizer.json"))


def test_with_token_ids_the_share_is_that_of_the_planning_mask(tokenizer):
    texts = ["wait, let me check 7 times", "so we have", "nothing at all"]
    ids = [np.array(tokenizer.encode(text, add_special_tokens=False).ids, dtype=np.int32) for text in texts]
    found = measured([row(text, token_ids=each) for text, each in zip(texts, ids, strict=True)], tokenizer=tokenizer)
    masks = PlanningMatcher(GRAMS, tokenizer).planning_masks(ids)
    assert found.unit == "tokens"
    assert (found.tokens.planning, found.tokens.total) == (sum(map(sum, masks)), sum(map(len, masks)))
    assert found.rollout_shares.tolist() == [float(mask.mean()) for mask in masks]
    assert found.moves["backtracing"].share.planning == masks[0].sum()
    assert found.moves["deduction"].share.planning == masks[1].sum()


def test_where_only_some_rollouts_have_token_ids_the_overall_share_is_in_pieces(tokenizer):
    ids = np.array(tokenizer.encode("so we have", add_special_tokens=False).ids, dtype=np.int32)
    found = measured([row("so we have", token_ids=ids), row("so we have it")], tokenizer=tokenizer)
    assert found.unit == "mixed"
    assert found.share.fraction == 6 / 7
    assert found.to_summary()["planning_tokens"] == 1.0


WORDS = st.sampled_from(["wait", "let", "me", "check", "so", "we", "have", "7", "x", "have.", "\n"])


@settings(deadline=None)
@given(st.lists(st.lists(WORDS, max_size=14).map(" ".join), max_size=6))
def test_the_parts_add_up(texts):
    found = measured([row(text, step=len(text) % 2) for text in texts])
    assert found.rollouts == sum(each.rollouts for each in found.checkpoints.values())
    assert found.without == sum(each.without for each in found.checkpoints.values())
    assert found.pieces.planning == sum(each.share.planning for each in found.checkpoints.values())
    by_move = sum(use.share.planning for use in found.moves.values())
    assert max([use.share.planning for use in found.moves.values()], default=0) <= found.pieces.planning <= by_move
    assert sum(use.occurrences for use in found.grams) == sum(use.occurrences for use in found.moves.values())
    assert found.pieces.planning <= found.words.total <= found.pieces.total + 14 * len(texts)


def covering(planning, total):
    """One rollout with `planning` of `total` pieces inside grams; planning is a multiple of 3."""
    return measured([row(" ".join(["so we have."] * (planning // 3) + ["x"] * (total - planning)))])


@pytest.mark.parametrize(
    ("planning", "total", "verdict", "words"),
    [
        (3, 60, "ok", ""),  # 5 %
        (3, 600, "ok", ""),  # 0.5 % is inside
        (3, 601, "low", "0.50% of the 601 pieces are inside grams, outside 0.5% to 15.0%"),
        (3, 20, "ok", ""),  # 15 % is inside
        (3, 19, "high", "15.79% of the 19 pieces are inside grams"),
        (0, 50, "none", "none of the 50 words in 1 rollouts lies inside a gram"),
    ],
)
def test_the_gate_is_that_of_training(planning, total, verdict, words):
    found, sentence = coverage_verdict(covering(planning, total), CoverageConfig())
    assert (found, words in sentence, bool(words) == bool(sentence)) == (verdict, True, True)
