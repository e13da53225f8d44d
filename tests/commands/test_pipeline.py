"""Pipeline files: refusals with step and line, order, references, caching, dry runs."""

import json

import pytest

from hicra_cli.commands.pipeline import read_pipeline, resolve_step
from hicra_cli.config.load import override_layers
from hicra_cli.core.errors import ConfigError
from tests.commands.run_hicra import ROOT, document, hicra


@pytest.mark.parametrize(
    ("text", "where", "words"),
    [
        ("", "p.yaml", "a list `steps`"),
        ("steps: []\n", "p.yaml:1", "a list `steps`"),
        ("steps:\n  - stage: trian\n", "p.yaml:2", "no known stage: 'trian'"),
        ("steps:\n  - train\n", "p.yaml:2", "no known stage"),
        ("steps:\n  - stage: train\n    sets: {}\n", "p.yaml:3", "unknown key sets"),
        ("stages: []\nsteps:\n  - stage: train\n", "p.yaml:1", "unknown key stages"),
        ("steps:\n  - stage: train\n  - stage: train\n", "p.yaml:3", "two steps are named train"),
        ("steps:\n  - {stage: train, name: a/b}\n", "p.yaml:2", "letters, digits"),
        ("steps:\n  - stage: eval\n    set: {eval.policy: '${steps.train.policy}'}\n", "p.yaml:2", "no step before it"),
        ("config: [nowhere.yaml]\nsteps:\n  - stage: train\n", "p.yaml:1", "nowhere.yaml"),
        ("config: {a: 1}\nsteps:\n  - stage: train\n", "p.yaml:1", "list of presets"),
    ],
)
def test_a_malformed_pipeline_is_refused_with_its_line(text, where, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_pipeline("p.yaml")
    assert (caught.value.where or "").startswith(where)
    assert words in str(caught.value)


def test_a_fault_in_a_step_names_step_and_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.yaml").write_text("steps:\n  - stage: train\n    name: first\n    set:\n      train.alhpa: 0.1\n")
    pipeline = read_pipeline("p.yaml")
    with pytest.raises(ConfigError) as caught:
        resolve_step(pipeline.steps[0], override_layers(environ={}), {}, None)
    assert caught.value.where == "step first (p.yaml:2): p.yaml:5"
    assert "Did you mean train.alpha?" in str(caught.value)


def test_the_command_line_stands_above_a_step_and_a_step_above_the_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "base.yaml").write_text("train: {alpha: 0.1, lr: 1e-5, steps: 1, group_size: 2}\n")
    (tmp_path / "p.yaml").write_text(
        "config: base.yaml\nset: {train: {lr: 2e-5, steps: 2, group_size: 3}}\n"
        "steps:\n  - stage: train\n    set: {train.steps: 3, train.group_size: 4}\n"
    )
    step = read_pipeline("p.yaml").steps[0]
    overrides = override_layers(["train.group_size=5"], environ={"HICRA_TRAIN__CLIP_LOW": "0.1"})
    train = resolve_step(step, overrides, {}, None).config.train
    assert (train.alpha, train.lr, train.steps, train.group_size, train.clip_low) == (0.1, 2e-5, 3, 5, 0.1)


def test_the_shipped_pipeline_and_all_examples_are_valid():
    examples = ROOT / "examples"
    pipelines = sorted(set(examples.glob("*.yaml")) - set(examples.glob("accelerate_*.yaml")))  # for another program
    for name in ["quickstart", *map(str, pipelines)]:
        pipeline = read_pipeline(name)
        for step in pipeline.steps:
            resolve_step(step, override_layers(environ={}), {}, None)
    steps = {step.name: step for step in read_pipeline("quickstart").steps}
    grpo, hicra_ = (resolve_step(steps[f"train-{algo}"], [], {}, None).config for algo in ("grpo", "hicra"))
    same = {"name": "", "algo": "grpo"}
    assert grpo.train.model_copy(update=same) == hicra_.train.model_copy(update=same)  # one difference only
    assert grpo.model_copy(update={"train": hicra_.train}) == hicra_


ROLLOUTS = [
    {
        "problem": f"p{i}",
        "response": f"let's try a different way with {i}. since we need more we go on.",
        "correct": True,
    }
    for i in range(6)
]


def test_a_pipeline_runs_in_order_and_repeats_only_what_changed(tmp_path):
    (tmp_path / "runs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROLLOUTS))
    command = ("run", ROOT / "examples" / "grams_from_rollouts.yaml", "--set", "collect.rollouts=runs.jsonl")

    planned = document(hicra(*command, "--dry-run", "--json", cwd=tmp_path, check=0))
    assert [each["state"] for each in planned["data"]["steps"]] == [
        "run and publish candidates:default",
        "run after the steps before it",
        "run after the steps before it",
    ]
    assert not (tmp_path / ".hicra").exists()

    first = document(hicra(*command, "--json", cwd=tmp_path, check=0))
    assert [each["ref"] for each in first["artifacts"]] == [
        "candidates:default@v1",
        "annotations:default@v1",
        "gram-set:default@v1",
    ]
    assert (first["cached"], [each["cached"] for each in first["data"]["steps"]]) == (False, [False] * 3)
    assert first["metrics"]["collect-grams/solutions"] == 6

    changed = document(hicra(*command, "--set", "curate.min_confidence=0.4", "--json", cwd=tmp_path, check=0))
    assert [each["cached"] for each in changed["data"]["steps"]] == [True, True, False]
    again = hicra(*command, "--set", "curate.export=grams.txt", cwd=tmp_path, check=0)
    assert again.stdout.count("cached") == 3
    assert "let's try a different" in (tmp_path / "grams.txt").read_text()
    assert "[3/3] curate" in again.stderr


def test_a_failing_step_is_named_and_what_was_done_is_kept(tmp_path):
    (tmp_path / "runs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROLLOUTS))
    command = ("run", ROOT / "examples" / "grams_from_rollouts.yaml", "--set", "collect.rollouts=runs.jsonl")
    done = hicra(*command, "--set", "curate.min_document_frequency=1000", "--json", cwd=tmp_path, check=2)
    error = document(done)["error"]
    assert error["where"].startswith(f"step curate ({ROOT / 'examples' / 'grams_from_rollouts.yaml'}:")
    assert len(document(hicra("artifacts", "list", "--json", cwd=tmp_path, check=0))["artifacts"]) == 3
