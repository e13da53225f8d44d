"""Questions completed by heart: a tiny model that learnt one question is told from one that did not."""

import json

import pytest
import torch

from hicra_cli.commands.eval_contamination import _views
from hicra_cli.config.root import HicraConfig
from hicra_cli.core.output import Table
from hicra_cli.core.progress import SilentProgress
from hicra_cli.core.records import Prompt
from hicra_cli.stages.completion_probe import halves, probe_completions, probe_summary
from hicra_cli.tasks.benchmarks import Benchmark
from tests.commands.run_hicra import document, hicra
from tests.engine.tiny_models import tiny_model, tiny_tokenizer

KNOWN = "What is the sum of all the digits of the number $2^{10}$?"
UNKNOWN = "How many ways are there to seat 5 people around a table?"


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    """A model that was trained on KNOWN until it knew it by heart."""
    folder = tmp_path_factory.mktemp("learnt")
    model, tokenizer = tiny_model("llama").train(), tiny_tokenizer()
    ids = torch.tensor([tokenizer(KNOWN)["input_ids"]])
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(150):
        optimizer.zero_grad()
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def probed(policy, **questions):
    benches = [
        Benchmark(name, "maths", tuple(Prompt(f"{name}/{at}", text, "1") for at, text in enumerate(texts)), 1, "", name)
        for name, texts in questions.items()
    ]
    config = HicraConfig.model_validate({"device": "cpu", "threads": 1})
    return probe_completions(benches, policy, config, SilentProgress())


def test_a_question_known_by_heart_is_completed_and_another_one_is_not(policy):
    scores, completions = probed(policy, old=[KNOWN], new=[UNKNOWN])
    assert [(each.bench, each.exact) for each in completions] == [("old", True), ("new", False)]
    # 60 % of 13 words are 7: "What is the sum of all the"
    assert completions[0].written.strip() == completions[0].rest.strip() == "digits of the number $2^{10}$?"
    assert completions[0].rouge == scores["old"].rouge.mean == 1.0
    assert completions[1].rouge < 0.5
    assert probe_summary(scores)["bench"]["old"]["exact"] == 1.0
    json.dumps(probe_summary(scores), allow_nan=False)


def test_short_questions_are_left_out_and_counted(policy):
    scores, completions = probed(policy, b=[KNOWN, "Find $x$."])
    assert (scores["b"].questions, scores["b"].left_out, len(completions)) == (1, 1, 1)
    assert probed(policy, b=["Find $x$."]) == ({}, [])


def test_texts_are_cut_between_words():
    # 10 words: 6 are shown
    assert halves("a b c d e f g h i j", shown=0.6) == ("a b c d e f", " g h i j")
    assert halves("a b c d e f g h", shown=1.0) == ("a b c d e f g", " h")
    assert halves("a b c", shown=0.6) is None


@pytest.mark.slow
def test_the_command_gives_scores_and_writes_every_completion(policy, tmp_path):
    rows = [{"problem": KNOWN, "answer": "7"}, {"problem": UNKNOWN, "answer": "24"}]
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments = ("eval", "--bench", "mine.jsonl", "--policy", policy, "--probe-contamination")
    done = hicra(*arguments, "--output", "probe.json", "--json", cwd=tmp_path, check=0)
    found = document(done)
    assert found["metrics"]["probe/mine/exact_fraction"] == 0.5
    assert json.loads((tmp_path / "probe.json").read_text()) == found["data"]


def test_what_was_completed_exactly_is_shown_first(policy):
    scores, completions = probed(policy, b=[UNKNOWN, KNOWN])
    table, *views = _views(scores, completions, None)
    assert isinstance(table, Table)
    assert table.rows[0][:3] == ("b", "2", "50.0%")
    assert next(view for view in views if str(view).startswith("──")) == "── b/1 · exact"
