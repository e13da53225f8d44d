"""What is asked, how answers are read, and the control items among the questions."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hicra_cli.grams.annotators.canaries import ROUTINE, STRATEGIC, control_items, misjudged, mixed
from hicra_cli.grams.annotators.lexicon import LexiconAnnotator
from hicra_cli.grams.annotators.prompt import Entry, item_id, read_answers, render_items, tidy_reason
from hicra_cli.grams.candidates import Candidate

from .asking import GRAMS, candidates


@given(st.lists(st.text(), max_size=5, unique=True), st.lists(st.text(), max_size=3))
def test_any_text_travels_as_data_in_printable_ascii(grams, contexts):
    items = [Candidate(gram, 3, 1, 1, 1, (), tuple(contexts)) for gram in grams]
    text = render_items(items)
    assert text.isascii()
    assert text.isprintable()
    parsed = json.loads(text)["items"]
    assert [item["id"] for item in parsed] == [item_id(gram) for gram in grams]
    assert all(item["gram"].isprintable() and len(item["gram"]) <= 400 for item in parsed)


def answer(gram: str, **changes: object) -> dict[str, object]:
    return {"id": item_id(gram), "move": "none", "confidence": 0.5, "reason": "r", **changes}


def test_an_answer_in_any_order_is_read_by_id():
    ids = [item_id(gram) for gram in GRAMS]
    text = json.dumps({"answers": [answer(gram, reason=gram) for gram in reversed(GRAMS)]})
    found = read_answers(text, ids)
    assert isinstance(found, dict)
    assert [found[each].reason for each in ids] == list(GRAMS)


@given(st.lists(st.sampled_from([*GRAMS, "never asked"]), max_size=8))
def test_only_exactly_the_asked_ids_are_accepted(named):
    ids = [item_id(gram) for gram in GRAMS]
    found = read_answers(json.dumps({"answers": [answer(gram) for gram in named]}), ids)
    assert isinstance(found, dict) == (sorted(named) == sorted(GRAMS))


@pytest.mark.parametrize(
    "changes",
    [{"move": "Branching"}, {"move": "backtracking"}, {"move": None}, {"confidence": True}, {"confidence": -0.1},
     {"confidence": float("inf")}, {"reason": None}, {"reason": 3}, {"id": 3}, {"other": 1}],
)  # fmt: skip
def test_an_entry_of_another_form_is_refused(changes):
    found = read_answers(json.dumps({"answers": [answer(GRAMS[0], **changes)]}), [item_id(GRAMS[0])])
    assert isinstance(found, str)


@given(st.text())
def test_no_text_makes_the_reader_stumble(text):
    assert isinstance(read_answers(text, ["g1"]), str)


def test_a_reason_is_one_short_printable_line():
    assert tidy_reason("a\x1b[31m\nb\u2028c " + "d" * 999) == "a [31m b c " + "d" * 189


def test_control_items_are_drawn_by_seed_and_request_and_are_none_of_the_batch():
    assert control_items(2, set(), seed=0, request="r") == control_items(2, set(), seed=0, request="r")
    drawn = {tuple(each.gram for each in control_items(2, set(), seed=0, request=str(at))) for at in range(50)}
    assert len(drawn) > 10
    left = next(iter(STRATEGIC))
    others = set(STRATEGIC) - {left}
    for at in range(20):
        grams = [each.gram for each in control_items(4, others, seed=0, request=str(at))]
        assert grams[1] == left
        assert len(set(grams)) == len(grams) == 3  # both routine ones and the only strategic one left
        assert {grams[0], grams[2]} < set(ROUTINE)


def test_a_control_item_looks_like_any_other_item():
    (item,) = json.loads(render_items(control_items(1, set(), seed=0, request="r")))["items"]
    (other,) = json.loads(render_items(candidates("let me check")))["items"]
    assert item.keys() == other.keys()
    assert all(item["gram"] in context for context in item["contexts"])


@given(st.integers(1, 12), st.integers(0, 4), st.text(max_size=4))
def test_mixing_keeps_the_order_of_the_batch_and_strategic_control_items_off_the_ends(size, count, request):
    batch = candidates(*(f"gram number {at}" for at in range(size)))
    controls = control_items(count, set(), seed=0, request=request)
    items = mixed(batch, controls, seed=0, request=request)
    assert [each for each in items if each not in controls] == batch
    assert len(items) == size + count
    assert items[0].gram not in STRATEGIC
    assert items[-1].gram not in STRATEGIC


def test_a_control_item_is_misjudged_when_strategic_and_routine_are_confused():
    controls = control_items(2, set(), seed=0, request="r")
    routine, strategic = (item_id(each.gram) for each in controls)

    def entries(for_routine: str, for_strategic: str) -> dict[str, Entry]:
        said = {routine: for_routine, strategic: for_strategic}
        return {
            each: Entry.model_validate({"id": each, "move": move, "confidence": 0.5, "reason": ""})
            for each, move in said.items()
        }

    assert misjudged(controls, entries("none", "backtracing")) is None
    assert misjudged(controls, entries("none", "deduction")) is None  # which move may be argued about
    assert controls[0].gram in (misjudged(controls, entries("branching", "branching")) or "")
    assert controls[1].gram in (misjudged(controls, entries("none", "none")) or "")


def test_the_lexicon_calls_no_routine_control_item_strategic():
    from hicra_cli.core.progress import SilentProgress

    found = LexiconAnnotator().annotate(candidates(*ROUTINE), SilentProgress())
    assert [each.gram for each in found if each.move is not None] == []
