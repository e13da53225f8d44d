"""Evaluations in the report: recomputed from samples, paired by question."""

import json
import math

import pytest

from hicra_cli.core.errors import ArtifactError
from hicra_cli.core.registry import Artifact, Registry
from hicra_cli.report.evaluations import evaluation_rows


@pytest.fixture
def registry(tmp_path):
    with Registry.open(tmp_path / "home") as opened:
        yield opened


def publish(registry: Registry, name: str, rewards: dict[str, list[int]], *, bench: str = "amc23") -> Artifact:
    draft = registry.begin("evaluation", name)
    rows = [
        {"bench": bench, "question": question, "sample": sample, "reward": reward, "num_tokens": 10 * (sample + 1),
         "finish_reason": "stop" if reward else "length", "outcome": "correct" if reward else "truncated"}
        for question, each in rewards.items()
        for sample, reward in enumerate(each)
    ]  # fmt: skip
    (draft.path / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return draft.publish()


def test_a_row_is_worked_by_hand(registry):
    (row,) = evaluation_rows([(publish(registry, "a", {"p": [1, 0], "q": [1, 1], "r": [0, 0]}), "nano", "")])
    assert (row.questions, row.samples, row.bench, row.policy) == (3, 2, "amc23", "nano")
    # means 0.5, 1, 0: m = 0.5, v = 0.25 / 3 = w, so v' = v; 4.302653 * sqrt(1/12) / 0.25 = 4.968276 in log-odds:
    # 1 / (1 + e^4.968276) = 0.0069063
    assert (row.average, row.low, row.high) == pytest.approx((0.5, 0.0069063, 0.9930937), abs=1e-6)
    assert row.pass_at_k == pytest.approx({"1": 0.5, "2": 2 / 3})
    assert row.truncated_fraction == pytest.approx(0.5)
    assert row.mean_tokens == 15.0
    assert math.isnan(row.difference)


def test_differences_are_paired_over_common_questions(registry):
    before = publish(registry, "a", {"p": [0, 0], "q": [1, 0], "only here": [1, 1]})
    after = publish(registry, "b", {"p": [1, 0], "q": [1, 1], "only there": [0, 0]})
    first, second = evaluation_rows([(before, "nano", ""), (after, "policy:grpo@v1", "grpo")])
    # p and q: 0.5 and 0.5, no spread: 1 - 0.025^(1/2) = 0.841886; 0.5 - 0.841886 * 1.5 and 0.5 + 0.841886 * 0.5
    assert math.isnan(first.difference)
    assert (second.difference, second.difference_low, second.difference_high) == pytest.approx(
        (0.5, -0.762829, 0.920943), abs=1e-6
    )
    assert second.run == "grpo"


def test_a_question_that_was_never_asked_is_wrong_but_has_no_length(registry):
    draft = registry.begin("evaluation", "a")
    row = {
        "bench": "amc23",
        "sample": 0,
        "num_tokens": 8,
        "reward": 1.0,
        "finish_reason": "stop",
        "question": "p",
        "outcome": "",
    }
    unasked = {**row, "question": "q", "num_tokens": 0, "reward": 0.0, "finish_reason": "none"}
    (draft.path / "samples.jsonl").write_text(f"{json.dumps(row)}\n{json.dumps(unasked)}\n")
    (found,) = evaluation_rows([(draft.publish(), "nano", "")])
    assert (found.average, found.mean_tokens, found.truncated_fraction) == (0.5, 8.0, 0.0)


def test_benchmarks_stand_together_in_the_order_they_came(registry):
    one = publish(registry, "a", {"p": [1]}, bench="math500")
    two = publish(registry, "b", {"p": [1]}, bench="aime24")
    three = publish(registry, "c", {"p": [0]}, bench="math500")
    rows = evaluation_rows([(each, each.name, "") for each in (one, two, three)])
    assert [(row.bench, row.policy) for row in rows] == [("math500", "a"), ("math500", "c"), ("aime24", "b")]


def test_a_malformed_sample_names_its_line(registry):
    draft = registry.begin("evaluation", "a")
    (draft.path / "samples.jsonl").write_text('{"bench": "amc23"}\n')
    with pytest.raises(ArtifactError) as caught:
        evaluation_rows([(draft.publish(), "nano", "")])
    assert str(caught.value.where).endswith("samples.jsonl:1")
