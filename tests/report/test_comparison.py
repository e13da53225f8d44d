"""Two evaluations compared: known matrices in, known numbers out; and what must not be compared is refused."""

import json

import pytest

from hicra_cli.core.errors import ArtifactError, UsageError
from hicra_cli.report.comparison import compare, csv_rows, document, grid, p_text
from hicra_cli.report.scored import read_scored
from hicra_cli.report.tables import to_csv
from tests.report.evaluated import write_evaluation

BEFORE = {"aime24": {"a": [1, 0], "b": [0, 0], "c": [1, 1], "d": [0, 1]}}
AFTER = {"aime24": {"a": [1, 1], "b": [1, 0], "c": [1, 1], "d": [1, 1]}}


def scored(tmp_path, name, rewards, **about):
    return read_scored(name, write_evaluation(tmp_path / name, rewards, **about))


def test_a_comparison_by_hand(tmp_path):
    found = compare(scored(tmp_path, "A", BEFORE), scored(tmp_path, "B", AFTER, cut=2))
    (bench,) = found.benches
    # means 1/2 0 1 1/2 against 1 1/2 1 1: differences 1/2 1/2 0 1/2
    assert (bench.first.mean, bench.second.mean, bench.pair.interval.mean) == (0.5, 0.875, 0.375)
    # s = 0.25, t(3) = 3.182446: reach 3.182446 * 0.25 / 2 = 0.397806
    assert bench.pair.interval.high == pytest.approx(0.375 + 0.397806, abs=1e-6)
    # three of three in one direction: 2 / 2^3
    assert (bench.pair.test.p, bench.p_holm, bench.pair.test.deciding) == (0.25, 0.25, 3)
    assert (bench.pair.better, bench.pair.worse, bench.pair.equal) == (3, 0, 1)
    assert bench.truncated == (0.0, 0.25)
    assert (found.mean, found.warnings) == (None, ())


def test_the_table_for_people(tmp_path):
    made = grid(compare(scored(tmp_path, "A", BEFORE), scored(tmp_path, "B", AFTER, cut=2)))
    assert list(made.columns[:8]) == ["benchmark", "k", "A: A", "cut", "B: B", "cut", "B - A", "p"]
    cells = [str(cell) for cell in made.rows[0].cells]
    assert cells[:2] == ["aime24", "2"]
    assert cells[2].startswith("50.0 [")
    assert cells[3:] == ["0.0%", cells[4], "25.0%", "+37.5 [-2.3, +77.3]", "0.25", "0.25", "3", "0", "1"]


def test_several_benchmarks_have_a_mean_and_adjusted_p_values(tmp_path):
    one = {**BEFORE, "amc23": {"x": [0], "y": [0]}}
    other = {**AFTER, "amc23": {"x": [0], "y": [1]}}
    found = compare(scored(tmp_path, "A", one), scored(tmp_path, "B", other))
    assert [each.p_holm for each in found.benches] == [0.5, 1.0]
    mean = found.mean
    assert mean is not None
    assert mean.difference.mean == pytest.approx((0.375 + 0.5) / 2)
    # weights 1/4 and 1/2 of the questions: 1/8 1/8 1/8 1/4; only all signs alike reach the sum 5/8: 2 / 2^4
    assert mean.test.p == 0.125
    shown = document(found)
    assert shown["mean"]["difference"] == mean.difference.mean
    assert json.loads(json.dumps(shown))["bench"]["amc23"]["deciding"] == 1
    lines = to_csv(*csv_rows(found)).splitlines()
    assert [line.split(",")[0] for line in lines] == ["bench", "aime24", "amc23", "mean"]
    assert "0.375" in lines[1]


def test_the_direction_turns_the_sign_and_keeps_the_p_value(tmp_path):
    a, b = scored(tmp_path, "A", BEFORE), scored(tmp_path, "B", AFTER)
    there, back = compare(a, b).benches[0].pair, compare(b, a).benches[0].pair
    assert back.interval.low == -there.interval.high
    assert back.test == there.test
    assert (back.better, back.worse) == (there.worse, there.better)


def test_only_shared_questions_are_compared_and_that_is_said(tmp_path):
    part = {"aime24": {name: AFTER["aime24"][name] for name in ("a", "b")}}
    found = compare(scored(tmp_path, "A", BEFORE), scored(tmp_path, "B", part))
    assert found.benches[0].first.mean == 0.25  # of a and b alone
    assert found.benches[0].first.num_questions == 2
    assert found.warnings == ("aime24: compared over the 2 questions both have; 2 are only in A, 0 only in B",)


def test_other_questions_are_refused(tmp_path):
    a = scored(tmp_path, "A", BEFORE)
    with pytest.raises(UsageError, match="share no question"):
        compare(a, scored(tmp_path, "B", {"aime24": {"z": [1]}}))
    with pytest.raises(UsageError, match="share no benchmark"):
        compare(a, scored(tmp_path, "C", {"math500": {"a": [1]}}))
    with pytest.raises(UsageError, match=r"1 of 4 questions of the same id have other gold answers .* other questions"):
        compare(a, scored(tmp_path, "D", AFTER, golds={"c": "7"}))


def test_what_else_differs_is_told(tmp_path):
    summary = {
        "sampling": {"temperature": 1.0, "max_new_tokens": 64},
        "grader": {"version": "1"},
        "prompt_template_sha256": "ef" * 32,
        "bench": {"aime24": {"data_sha256": "01" * 32}},
    }
    more = {"aime24": {name: each * 2 for name, each in AFTER["aime24"].items()}, "gsm8k": {"q": [1]}}
    found = compare(scored(tmp_path, "A", BEFORE), scored(tmp_path, "B", more, summary=summary))
    assert found.warnings == (
        "only B has gsm8k: not compared",
        "aime24: the numbers of samples differ: 2 and 4",
        "aime24: the data differ (sha256): cdcdcdcdcdcd and 010101010101",
        "aime24: the prompt templates differ (sha256): abababababab and efefefefefef",
        "aime24: the sampling differs: temperature 0.6 and temperature 1.0",
        "aime24: the grader versions differ (grade again with one): 2 and 1",
    )


def test_a_folder_without_a_summary_is_told_of(tmp_path):
    folder = write_evaluation(tmp_path / "B", AFTER)
    (folder / "summary.json").unlink()
    found = compare(scored(tmp_path, "A", BEFORE), read_scored("B", folder))
    assert found.warnings == ("B has no summary.json: how it was made is unknown",)


def test_missing_samples_are_refused_by_file(tmp_path):
    folder = write_evaluation(tmp_path / "B", {"aime24": {"a": [1, 1], "b": [1]}})
    with pytest.raises(ArtifactError, match="between 1 and 2 samples") as caught:
        read_scored("B", folder)
    assert str(caught.value.where).endswith("samples.jsonl")
    path = folder / "samples.jsonl"
    path.write_text(path.read_text().splitlines()[0] + "\n" + path.read_text())
    with pytest.raises(ArtifactError, match="twice") as caught:
        read_scored("B", folder)
    assert str(caught.value.where).endswith("samples.jsonl:2")


@pytest.mark.parametrize("content", ["", "{}\n", "[1]\n", '{"bench": 1}\n', "[" * 100_000 + "\n", "{\n", "\ud800"])
def test_what_are_no_samples_is_an_error_of_the_file(tmp_path, content):
    (tmp_path / "samples.jsonl").write_bytes(content.encode("utf-8", "surrogatepass"))
    with pytest.raises(ArtifactError) as caught:
        read_scored("B", tmp_path)
    assert "samples.jsonl" in str(caught.value.where)


def test_p_values_for_people():
    assert [p_text(p) for p in (1.0, 0.25, 0.0996, 0.042, 0.0012, 0.00003)] == [
        "1.00", "0.25", "0.10", "0.042", "0.0012", "<0.0001",
    ]  # fmt: skip
