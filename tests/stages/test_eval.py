"""The eval stage on the embedded model: rows, summary, caching, hostile questions, and resuming after a kill."""

import json
import re
import shutil
from collections import Counter

import pytest

from hicra_cli.config.root import HicraConfig
from hicra_cli.core.errors import ConfigError, DataError, RunError
from hicra_cli.core.progress import SilentProgress
from hicra_cli.core.registry import Registry
from hicra_cli.core.seeds import seed_for
from hicra_cli.grams.gram_set import GramSet
from hicra_cli.stages.base import execute
from hicra_cli.stages.eval import STAGE
from hicra_cli.stages.eval_questions import evaluation_name, read_exam
from hicra_cli.stages.eval_summary import bench_summary

SMALL = {"bench": ["countdown"], "samples": 2, "countdown_questions": 8, "sampling": {"max_new_tokens": 64}}


def config(home, data_dir=None, **settings):
    return HicraConfig.model_validate(
        {"home": home, "data_dir": data_dir, "seed": 5, "device": "cpu", "threads": 1, "eval": SMALL | settings}
    )


def evaluate(configuration, *, resume=False, progress=None):
    with Registry.open(configuration.home) as registry:
        return execute(STAGE, configuration, registry, progress or SilentProgress(), resume=resume)


def rows_of(artifact):
    return [json.loads(line) for line in (artifact.path / "samples.jsonl").read_text().splitlines()]


def summary_of(artifact):
    return json.loads((artifact.path / "summary.json").read_text())


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory, nano_path):
    """Countdown and two questions of a file, under a gram-set, on a model whose context is 100 tokens."""
    home = tmp_path_factory.mktemp("eval")
    questions = home / "two.jsonl"
    questions.write_text(
        '{"id": "one", "problem": "What is 1 + 1?", "answer": "2", "alternatives": ["II"]}\n'
        '{"id": "long", "problem": "' + "2 + " * 60 + '2?", "answer": "122"}\n'
    )
    policy = shutil.copytree(nano_path, home / "short")
    model = json.loads((policy / "config.json").read_text())
    (policy / "config.json").write_text(json.dumps(model | {"max_position_embeddings": 100}))
    with Registry.open(home) as registry:
        draft = registry.begin("gram-set", "default")
        GramSet.from_phrases(["let's start with", "is not the target", "the answer is"]).save(draft.path)
        draft.publish(inputs=[], summary={})
    progress = SilentProgress()
    settings = {"bench": ["countdown", str(questions)], "gram_set": "gram-set:default", "policy": str(policy)}
    return evaluate(config(home, **settings), progress=progress).artifact, progress.warnings


def test_there_is_a_row_for_every_sample_in_canonical_order(evaluation):
    rows = rows_of(evaluation[0])
    keys = [(row["bench"], row["question"], row["sample"]) for row in rows]
    assert len(keys) == len(set(keys)) == 8 * 2 + 2 * 2
    assert [key[0] for key in keys] == ["countdown"] * 16 + ["two"] * 4
    assert [key[2] for key in keys] == [0, 1] * 10
    assert set(rows[0]) == {
        "bench", "question", "sample", "seed", "num_tokens", "finish_reason", "planning_tokens", "reward", "outcome",
        "answer", "detail", "lenient_reward", "gold", "prompt", "text",
    }  # fmt: skip


def test_a_row_names_every_gold_that_counts(evaluation):
    golds = {row["question"]: row["gold"] for row in rows_of(evaluation[0]) if row["bench"] == "two"}
    assert golds == {"one": ["2", "II"], "long": "122"}


def test_the_summary_can_be_recomputed_from_the_rows(evaluation):
    rows, summary = rows_of(evaluation[0]), summary_of(evaluation[0])
    countdown = [row for row in rows if row["bench"] == "countdown"]
    shown = summary["bench"]["countdown"]
    assert shown["average"] == pytest.approx(sum(row["reward"] for row in countdown) / 16)
    assert shown["low"] <= shown["average"] <= shown["high"]
    assert shown["pass_at_k"]["1"] == pytest.approx(shown["average"])
    solved = {row["question"] for row in countdown if row["reward"] > 0}
    assert shown["pass_at_k"]["2"] == pytest.approx(len(solved) / 8)
    counts = Counter(row["outcome"] for row in countdown)
    assert {name: count for name, count in shown["outcomes"].items() if count} == counts
    assert shown["mean_tokens"] == pytest.approx(sum(row["num_tokens"] for row in countdown) / 16)
    planning = sum(row["planning_tokens"] for row in countdown) / sum(row["num_tokens"] for row in countdown)
    assert shown["planning_fraction"] == pytest.approx(planning)
    assert 0 < planning < 1
    for name in ("policy_digest", "prompt_template_sha256", "engine", "grader", "seed", "sampling"):
        assert summary[name] is not None


def test_answers_outside_boxes_are_scored_leniently_and_told_of(tmp_path):
    """Golds that the embedded model writes, but in its own words: the last number of its response."""
    questions = tmp_path / "free.jsonl"
    asked = [{"id": name, "problem": name, "answer": "0"} for name in ("a", "b")]
    questions.write_text("".join(json.dumps(row) + "\n" for row in asked))
    cut = {"bench": [str(questions)], "sampling": {"max_new_tokens": 10}, "samples": 4}
    rows = rows_of(evaluate(config(tmp_path / "first", **cut)).artifact)
    unboxed = [row for row in rows if row["answer"] is None]
    assert unboxed
    assert {row["outcome"] for row in unboxed} == {"truncated"}
    number = re.findall(r"\d+", unboxed[0]["text"])[-1]
    questions.write_text("".join(json.dumps(row | {"answer": number}) + "\n" for row in asked))
    progress = SilentProgress()
    again = evaluate(config(tmp_path / "again", **cut), progress=progress).artifact
    row = next(row for row in rows_of(again) if row["text"] == unboxed[0]["text"])
    assert (row["reward"], row["lenient_reward"]) == (0.0, 1.0)
    lenient = summary_of(again)["bench"]["free"]["lenient"]["average"]
    assert lenient > summary_of(again)["bench"]["free"]["average"]
    assert any("lenient extraction would score" in warning for warning in progress.warnings)


def test_a_gold_in_doubt_is_scored_both_ways(tmp_path):
    """One question has a corrected gold, one none that is right: of four the second score knows three."""
    questions = [
        {"id": name, "problem": f"Use each of 1, 2, 3 exactly once to make {target}.", "answer": str(target)}
        for name, target in (("a", 6), ("b", 7), ("c", 5), ("d", 0))
    ]
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in questions))
    (tmp_path / "doubted.yaml").write_text(
        "name: doubted\npath: q.jsonl\nsamples: 2\ndoubtful:\n"
        "  - {id: a, reason: misprint, corrected: '(1 + 2) * 3'}\n  - {id: b, reason: no answer}\n"
    )
    artifact = evaluate(config(tmp_path / "h", bench=[str(tmp_path / "doubted.yaml")])).artifact
    rows, shown = rows_of(artifact), summary_of(artifact)["bench"]["doubted"]
    assert {row["question"] for row in rows if "corrected_reward" in row} == {"a"}
    assert (shown["doubtful"]["questions"], shown["doubtful"]["left_out"]) == (2, 1)


def test_the_seed_of_a_row_is_that_of_its_question_and_number(evaluation):
    rows = rows_of(evaluation[0])
    for row in rows:
        expected = (
            None if row["question"] == "long" else seed_for(5, "eval", prompt=row["question"], sample=row["sample"])
        )
        assert row["seed"] == expected


def test_a_question_that_does_not_fit_is_a_visible_error(evaluation):
    artifact, warnings = evaluation
    long = [row for row in rows_of(artifact) if row["question"] == "long"]
    assert [(row["outcome"], row["reward"], row["finish_reason"]) for row in long] == [("error", 0.0, "none")] * 2
    assert "context" in long[0]["detail"]
    shown = summary_of(artifact)["bench"]["two"]
    assert (shown["questions"], shown["prompts_too_long"], shown["outcomes"]["error"]) == (2, 1, 2)
    assert any("do not fit" in warning for warning in warnings)


def test_equal_settings_are_cached_and_a_repetition_gives_the_same_bytes(tmp_path):
    first = evaluate(config(tmp_path / "one"))
    again = evaluate(config(tmp_path / "one"))
    other = evaluate(config(tmp_path / "two"))
    assert (first.cached, again.cached, other.cached) == (False, True, False)
    assert again.artifact.ref == first.artifact.ref == "evaluation:nano-countdown@v1"
    for name in ("samples.jsonl", "summary.json"):
        assert (first.artifact.path / name).read_bytes() == (other.artifact.path / name).read_bytes()
    assert sorted(path.name for path in first.artifact.path.iterdir()) == ["samples.jsonl", "summary.json"]


def test_more_samples_keep_the_first_ones(tmp_path):
    few = rows_of(evaluate(config(tmp_path, samples=1)).artifact)
    more = rows_of(evaluate(config(tmp_path, samples=3)).artifact)
    assert [row for row in more if row["sample"] == 0] == few


def test_missing_samples_are_refused_not_padded():
    row = {"reward": 1.0, "outcome": "correct", "finish_reason": "stop", "num_tokens": 3}
    rows = [{**row, "question": "a"}, {**row, "question": "a"}, {**row, "question": "b"}]
    with pytest.raises(RunError, match="between 1 and 2 samples"):
        bench_summary(rows, ks=[])


def test_known_rewards_give_known_numbers():
    # a: 1 of 2, b: 2 of 2. average (0.5 + 1)/2 = 0.75; pass@1 the same; pass@2 = (1 + 1)/2
    rewards = {"a": [1.0, 0.0], "b": [1.0, 1.0]}
    rows = [
        {
            "question": question,
            "reward": reward,
            "outcome": "correct" if reward else "truncated",
            "finish_reason": "stop" if reward else "length",
            "num_tokens": 10,
        }
        for question, each in rewards.items()
        for reward in each
    ]
    shown = bench_summary(rows, ks=[])
    assert shown["average"] == 0.75
    assert shown["pass_at_k"] == {"1": 0.75, "2": 1.0}
    assert shown["truncated_fraction"] == 0.25
    assert shown["outcomes"]["truncated"] == 1
    assert bench_summary(rows[::-1], ks=[]) == shown


def test_an_evaluation_is_named_after_policy_and_benchmarks_without_folders(tmp_path):
    (tmp_path / "my.questions.jsonl").write_text('{"problem": "1 + 1?", "answer": "2"}\n')
    names = {
        "nano-countdown-my.questions": ["countdown", str(tmp_path / "my.questions.jsonl")],
        "nano-countdown": ["countdown", "countdown"],
    }
    for name, bench in names.items():
        asked = config(tmp_path, bench=bench)
        assert evaluation_name(asked, read_exam(asked)) == name


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"bench": []}, "no benchmark"),
        ({"bench": ["aime42"]}, "no benchmark 'aime42'"),
        ({"bench": ["one/q.jsonl", "two/q.jsonl"]}, "same name"),
        ({"shard": "3/2"}, "no shard 3/2"),
        ({"shard": "9/9"}, "shard 9/9 has no question"),
        ({"pass_k": [4]}, "pass@4 cannot be estimated from 2 samples"),
        ({"pass_k": [0]}, "pass@0"),
    ],
)
def test_wrong_settings_are_refused_before_anything_is_made(tmp_path, settings, what):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "q.jsonl").write_text('{"problem": "1 + 1?", "answer": "2"}\n')
    settings["bench"] = [str(tmp_path / name) if "/" in name else name for name in settings.get("bench", ["countdown"])]
    with pytest.raises(ConfigError, match=what):
        evaluate(config(tmp_path, **settings))
    assert list(tmp_path.glob("staging/*")) == []


def test_another_response_limit_leaves_the_temperature_of_evaluations(tmp_path):
    assert config(tmp_path).eval.sampling.temperature == HicraConfig().eval.sampling.temperature == 0.6


def test_a_benchmark_without_answers_names_file_and_line(tmp_path):
    path = tmp_path / "q.jsonl"
    path.write_text('{"problem": "1 + 1?", "answer": "2"}\n{"problem": "2 + 2?"}\n')
    with pytest.raises(DataError, match="no answer") as failure:
        evaluate(config(tmp_path, bench=[str(path)]))
    assert failure.value.where == f"{path}:2"


def test_the_embedded_model_is_told_honestly_that_aime_is_too_hard(tmp_path, data_dir):
    artifact = evaluate(config(tmp_path, data_dir, bench=["aime24"], samples=1)).artifact
    shown = summary_of(artifact)["bench"]["aime24"]
    assert (shown["questions"], shown["average"], shown["low"]) == (30, 0.0, 0.0)
    assert shown["high"] == pytest.approx(0.1157, abs=1e-4)
    assert len(rows_of(artifact)) == 30
