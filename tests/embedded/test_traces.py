"""What the embedded model is taught: right calculation, mediocre strategy, words that the gram list knows."""

import re
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from hicra_cli.core.records import Move, Outcome
from hicra_cli.core.seeds import generator_for
from hicra_cli.embedded import grams_path
from hicra_cli.embedded.traces import Try, strategic_phrases, trace, tries
from hicra_cli.grading.boxed import last_box
from hicra_cli.grams.gram_set import GramSet
from hicra_cli.tasks.countdown import CountdownTask, evaluate, grade_countdown, solvable_targets

EQUATION = re.compile(r"(\d+ [-+*/] \d+) = (\d+)")


def test_every_try_is_exact_and_uses_the_three_numbers():
    for numbers in [(1, 1, 1), (2, 7, 9), (3, 5, 7), (4, 4, 8)]:
        found = tries(numbers)
        assert {attempt.value for attempt in found} == solvable_targets(numbers)
        assert len({attempt.expression for attempt in found}) == len(found)
        for attempt in found:
            value, used = evaluate(attempt.expression)
            assert value == attempt.value
            assert sorted(used) == sorted(numbers)
            assert all(1 <= step.result <= 99 for step in (attempt.first, attempt.second))


def test_a_try_is_written_as_a_person_would():
    # 5 * 3 = 15, 15 + 7 = 22
    [attempt] = [one for one in tries((3, 5, 7)) if one.expression == "(5 * 3) + 7"]
    assert (attempt.first.text, attempt.second.text, attempt.left_over) == ("5 * 3 = 15", "15 + 7 = 22", 7)
    assert isinstance(attempt, Try)


@given(st.integers(0, 2**32))
def test_calculation_in_traces_is_always_right_and_ends_in_a_box_that_uses_each_number_once(seed: int):
    for answer, text in traces(seed, 1):
        for left, right in EQUATION.findall(text):
            assert evaluate(left)[0] == int(right)
        box = last_box(text)
        assert box is not None
        numbers, _, target = answer.partition(" -> ")
        value, used = evaluate(box)
        assert sorted(used) == [int(number) for number in numbers.split()]
        assert (grade_countdown(text, answer).outcome is Outcome.CORRECT) == (value == int(target))


def test_traces_are_mediocre_and_short():
    sample = list(traces(0, 2000))
    solved = sum(grade_countdown(text, answer).reward for answer, text in sample) / len(sample)
    # the model, which cannot foresee every right first step, keeps less than a half of it
    assert 0.5 < solved < 0.65
    assert sum(text.count(" ") for _, text in sample) / len(sample) < 60
    assert any(text.count("= ") > 8 for _, text in sample)


def test_the_shipped_grams_are_the_strategic_phrases_of_the_traces():
    gram_set = GramSet.load(grams_path())
    grams = {gram.text: gram.move for gram in gram_set.grams}
    assert grams_path().read_bytes() == gram_set.canonical
    assert grams == {phrase.text.lower(): phrase.move for phrase in strategic_phrases()}
    assert all(3 <= len(gram.words) <= 5 for gram in gram_set.grams)
    assert set(grams.values()) == set(Move)


def test_every_strategic_phrase_occurs_in_traces():
    text = " ".join(text for _, text in traces(1, 6000))
    assert [phrase.text for phrase in strategic_phrases() if phrase.text not in text] == []


def traces(seed: int, count: int) -> Iterator[tuple[str, str]]:
    """(gold answer, trace) of the first problems of a stream."""
    for prompt in CountdownTask().stream(0, count, seed=seed):
        numbers, _, target = prompt.answer.partition(" -> ")
        generator = generator_for(seed, "test-trace", prompt=prompt.id)
        yield prompt.answer, trace([int(number) for number in numbers.split()], int(target), generator)
