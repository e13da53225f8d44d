"""Contamination checks: each kind of pair by hand, agreement with the slow way, real data."""

import json
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hicra_cli.config.task import TaskConfig
from hicra_cli.core.errors import ConfigError, DataError
from hicra_cli.core.records import Prompt
from hicra_cli.tasks.overlap import NEAR, PAIRS_KEPT, STOCK_ROWS, OverlapCheck, TrainingText, overlap_summary
from hicra_cli.tasks.overlap_index import MOST_OWNERS, GramIndex
from hicra_cli.tasks.training_texts import training_texts
from hicra_cli.text.question_words import characters, grams, jaccard, question_words

QUESTION = (
    "A train leaves the station at noon and travels $60$ miles per hour. A second train follows it one hour later at "
    "$80$ miles per hour. After how many hours does the second train catch up with the first?"
)


def checked(questions, texts):
    """questions: {bench: [text, …]}; the ids are bench/0, bench/1, …"""
    check = OverlapCheck(
        {name: [Prompt(f"{name}/{at}", text, "1") for at, text in enumerate(each)] for name, each in questions.items()}
    )
    rows = [TrainingText(f"train:{at}", text, f"t{at}") for at, text in enumerate(texts, start=1)]
    assert sum(check.read(rows)) == len(rows)
    return check.result()


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (QUESTION.replace("$", "").upper(), "exact"),
        (f"Solve this step by step.\n{QUESTION}\nPut the answer into a box.", "contained"),
        (QUESTION.replace("60", "45").replace("80", "-90"), "variant"),
        (QUESTION.replace("train", "bus").replace("80", "75"), "near"),
    ],
)
def test_every_kind_of_pair(text, kind):
    found = checked({"b": [QUESTION]}, ["How old is Ann?", text])
    assert [(pair.kind, pair.question, pair.training, pair.place) for pair in found.pairs] == [
        (kind, "b/0", "t2", "train:2")
    ]
    assert found.benches["b"].kinds == {"exact": 0, "contained": 0, "variant": 0, "near": 0} | {kind: 1}
    assert found.questions_found == (kind in ("exact", "contained"))


def test_another_problem_is_no_pair():
    other = "A rectangle is twice as long as it is wide, and its diagonal is $10$. What is its area?"
    assert checked({"b": [QUESTION]}, [other]).pairs == ()


def test_a_question_counts_once_by_its_closest_text_and_the_closest_pairs_come_first():
    variant, near = QUESTION.replace("60", "45"), QUESTION.replace("train", "bus")
    found = checked({"b": [QUESTION, "What is the sum of 2 and 3?"]}, [near, variant, QUESTION])
    assert [pair.kind for pair in found.pairs] == ["exact", "variant", "near"]
    assert found.benches["b"].kinds == {"exact": 1, "contained": 0, "variant": 0, "near": 0}
    assert found.found == {"exact": 1, "contained": 0, "variant": 1, "near": 1}


def test_a_text_that_comes_again_is_a_copy():
    found = checked({"b": [QUESTION]}, [QUESTION, "Else?", QUESTION.lower(), f"{QUESTION} "])
    assert [(pair.place, pair.copies) for pair in found.pairs] == [("train:1", 3)]
    assert found.found["exact"] == 1


def test_texts_without_words_are_counted_and_match_nothing():
    found = checked({"b": ["[asy] draw(A--B); [/asy] ?", QUESTION]}, ["", "???", "[asy] draw(A--B); [/asy]"])
    assert (found.texts, found.empty, found.pairs) == (3, 3, ())


def test_thirteen_words_in_a_row_are_common_unless_they_are_a_stock_phrase():
    phrase = "where m and n are relatively prime positive integers find the sum of m and n"  # 15 words, 3 13-grams
    questions = [f"The area of a hexagon of side nine is the fraction {phrase}"]
    for rows in (1, STOCK_ROWS, STOCK_ROWS + 1):
        texts = [f"Number {'abcdefghijklmnop'[at]} is drawn, {phrase}" for at in range(rows)]
        bench = checked({"b": questions}, [*texts, *texts]).benches["b"]
        # 25 words have 13 13-grams, of which the phrase holds 3: less than half
        assert (bench.ngram, bench.ngram_half) == ((1, 0) if rows <= STOCK_ROWS else (0, 0))
    assert checked({"b": questions}, questions).benches["b"].ngram_half == 1


def test_numbers_tell_13_grams_apart():
    words = "alpha beta gamma delta epsilon zeta {} eta theta iota kappa lambda mu"  # 13 words
    assert checked({"b": [words.format(7)]}, [f"So {words.format(7)} then"]).benches["b"].ngram == 1
    assert checked({"b": [words.format(7)]}, [f"So {words.format(8)} then"]).benches["b"].ngram == 0


def test_the_worst_pairs_are_kept_and_all_are_counted():
    # four words between the numbers, so that an 8-gram of characters is shared by all: similar, all different
    texts = [QUESTION.replace("60", str(number)) for number in range(100, 100 + PAIRS_KEPT + 5)]
    found = checked({"b": [QUESTION]}, [*texts, QUESTION])
    assert found.pairs[0].kind == "exact"
    assert len(found.pairs) == PAIRS_KEPT
    assert found.found == {"exact": 1, "contained": 0, "variant": PAIRS_KEPT + 5, "near": 0}


def test_a_benchmark_pasted_into_one_row_is_found_question_by_question():
    letters = "bcdfghjklmnpqrstvwxz"
    questions = [
        f"The {a}a{b}o has {a}e{b}i sides and {b}u{a}a corners; its {a}o{b}u area is?"
        for a, b in product(letters, letters)
    ]
    found = checked({"b": questions}, ["\n\n".join(questions)])
    assert found.benches["b"].kinds["contained"] == len(questions) == 400


def test_templated_benchmarks_stay_cheap_and_exact_ones_are_found():
    questions = [f"Using the numbers {a}, {a + 1} and {a + 2}, make {3 * a}." for a in range(MOST_OWNERS + 200)]
    found = checked({"b": questions}, [questions[450], "Using the numbers 3000, 5000 and 7000, make 10."])
    assert [pair.question for pair in found.pairs if pair.kind == "exact"] == ["b/450"]


def test_the_summary_is_rates_by_benchmark():
    summary = overlap_summary(checked({"b": [QUESTION, "Who?"], "c": ["Why is that?"]}, [QUESTION]))
    assert summary["training_texts"] == 1
    assert summary["bench"]["b"] == {
        "questions": 2, "exact": 1, "contained": 0, "variant": 0, "near": 0, "common_13gram": 1, "half_of_13grams": 1,
        "found_fraction": 0.5,
    }  # fmt: skip
    assert summary["bench"]["c"]["found_fraction"] == 0.0
    json.dumps(summary, allow_nan=False)


WORDS = st.lists(st.sampled_from("abcde"), max_size=12)


@given(st.lists(WORDS, min_size=1, max_size=6), st.lists(WORDS, max_size=6))
@settings(deadline=None)
def test_the_index_counts_shared_runs_like_sets_do(known, others):
    index = GramIndex(known, n=3)
    runs = [{tuple(text[at : at + 3]) for at in range(len(text) - 2)} for text in known]
    assert index.grams_of.tolist() == [len(each) for each in runs]
    found = {
        (row, owner): count for row, owner, count in zip(*(each.tolist() for each in index.shared(others)), strict=True)
    }
    expected = {
        (row, owner): len(shared)
        for row, text in enumerate(others)
        for owner, run in enumerate(runs)
        if (shared := run & {tuple(text[at : at + 3]) for at in range(len(text) - 2)})
    }
    assert found == expected


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ({"problem": " P? ", "answer": "1", "id": 7}, "P?"),
        ({"question": "P?"}, "P?"),
        ({"prompt": [{"role": "system", "content": "S"}, {"role": "user", "content": "P?"}]}, "P?"),
        ({"messages": [{"role": "user", "content": "P?"}, {"role": "assistant", "content": "A"}]}, "P?"),
        ({"conversations": [{"from": "human", "value": "P?"}, {"from": "gpt", "value": "A"}]}, "P?"),
        ({"problem": "P?Let's think step by step and output the final answer within \\boxed{}."}, "P?"),
        ({"solution": "no problem here"}, ""),
        ({"problem": {"nested": "P?"}, "messages": [{"role": "user", "content": 3}, "x"]}, ""),
    ],
)
def test_every_layout_of_training_data_is_read(tmp_path, row, text):
    path = tmp_path / "train.jsonl"
    path.write_text(json.dumps(row) + "\n")
    (found,) = training_texts(str(path), TaskConfig(), named_by="--check-overlap")
    assert found.text == text
    assert found.place == f"{path}:1"
    assert found.id == ("7" if "id" in row else "")


def test_parquet_and_folders_are_read(tmp_path):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table({"problem": ["P?", "Q?"]}), tmp_path / "train.parquet")
    for source in (tmp_path / "train.parquet", tmp_path):
        assert [each.text for each in training_texts(str(source), TaskConfig(), named_by="-")] == ["P?", "Q?"]


def test_bad_sources_are_named(tmp_path):
    with pytest.raises(ConfigError, match=r"--check-overlap: .*nothing\.txt"):
        list(training_texts("nothing.txt", TaskConfig(), named_by="--check-overlap"))
    (tmp_path / "bad.jsonl").write_text('{"problem": "P?"}\n{"problem": \n')
    with pytest.raises(DataError, match=r"bad\.jsonl:2"):
        list(training_texts(str(tmp_path / "bad.jsonl"), TaskConfig(), named_by="-"))


BENCHES = ("aime24", "aime25", "amc22_23", "gsm8k", "hmmt_24_25", "math500", "minerva", "olympiad")
TRAIN = ("math_train", "aime_1983_2023", "dapo_sample", "gsm8k_train")
# What the data's README lists as close relatives that stay: another number, another function, another wording.
RELATIVES = {
    ("math-train/05535", "math500/number_theory-466"): "variant",
    ("math-train/07433", "math500/precalculus-695"): "near",
    ("math-train/04823", "math500/number_theory-483"): "near",
}


def rows_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def test_real_data_hold_no_benchmark_question_but_its_relatives(data_dir):
    benches = {name: [Prompt(row["id"], row["problem"], "") for row in rows_of(data_dir / f"bench/{name}.jsonl")]
               for name in BENCHES}  # fmt: skip
    check = OverlapCheck(benches)
    for name in TRAIN:
        for _ in check.read(training_texts(str(data_dir / f"train/{name}.jsonl"), TaskConfig(), named_by="-")):
            pass
    found = check.result()
    assert (found.texts, found.empty) == (15_933, 0)
    assert found.found["exact"] == found.found["contained"] == 0
    pairs = {(pair.training, pair.question): pair.kind for pair in found.pairs}
    assert {pair: pairs.get(pair) for pair in RELATIVES} == RELATIVES
    # Read by eye: both ask the same of the same figure or sequence, in other words at the end.
    assert pairs["aime-hist/1995-I-09", "math500/precalculus-1281"] == "near"
    assert pairs["aime-hist/2002-I-12", "math500/intermediate_algebra-1063"] == "near"
    assert found.pairs[0].training == "math-train/05535"


@pytest.mark.slow
def test_real_pairs_are_those_of_comparing_everything_with_everything(data_dir):
    # What has no 5 words in common with a question, numbers left out, may be alike by characters and is passed over:
    # at most 1 in 20 of all pairs.
    questions = {row["id"]: row["problem"] for row in rows_of(data_dir / "bench/math500.jsonl")}
    texts = {row["id"]: row["problem"] for row in rows_of(data_dir / "train/math_train.jsonl")}
    check = OverlapCheck({"math500": [Prompt(name, text, "") for name, text in questions.items()]})
    for _ in check.read(TrainingText(name, text, name) for name, text in texts.items()):
        pass
    found = {(pair.training, pair.question) for pair in check.result().pairs}
    asked = {name: _sets(text) for name, text in questions.items()}
    expected = set()
    for training, text in texts.items():
        given_characters, given_grams = _sets(text)
        for question, (some, others) in asked.items():
            if max(jaccard(some, given_characters), jaccard(others, given_grams)) >= NEAR:
                expected.add((training, question))
    full = {question for _, question in expected if sum(each[1] == question for each in expected) > PAIRS_KEPT}
    missed = {pair for pair in expected - found if pair[1] not in full}
    assert found <= expected
    assert len(missed) <= 0.05 * len(expected), sorted(missed)


def _sets(text):
    plain = question_words(text).plain
    return characters(plain, 8), grams(plain, 5)
