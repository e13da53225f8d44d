"""The diagnose stage over small trainings published through a real registry."""

import csv
import io
import json
import math

import pytest
from tokenizers import Tokenizer

from hicra_cli.config.root import HicraConfig
from hicra_cli.core.errors import ArtifactError
from hicra_cli.core.progress import SilentProgress
from hicra_cli.core.registry import Registry
from hicra_cli.grams.gram_set import GramSet
from hicra_cli.grams.matcher import PlanningMatcher
from hicra_cli.stages.base import execute
from hicra_cli.stages.diagnose import STAGE, run
from tests.report.artifacts import publish_grams, publish_training, rollout

GRAMS = ("let me think", "but that is wrong")
CONFIG = {"home": "/secret/home", "seed": 3, "train": {"algo": "hicra", "alpha": 0.2, "name": "x"}}
# step 1: planning log-probs -1 -1, execution -0.5 -0.5; step 2: planning -0.75, execution -0.1
STEPS = {
    1: [
        rollout("p", 0, "let me think of it now", mask="10", logprobs=[-1, -0.5], entropy=[1.0, 0.4]),
        rollout("p", 1, "let me think of a sum", mask="10", logprobs=[-1, -0.5], entropy=[2.0, 0.4], correct=False),
    ],
    2: [
        rollout("q", 0, "let me think of it now", mask="10", logprobs=[-0.75, -0.1], entropy=[1.0, 0.1]),
        rollout("q", 1, "but that is wrong so we add", mask="10", logprobs=[-0.75, -0.1], entropy=[1.0, 0.1]),
    ],
}
RECORDS = [
    {"step": 1, "reward/accuracy": 0.5, "policy/token_entropy_planning_nats": 1.5, "eval/accuracy": 0.4},
    {"step": 2, "reward/accuracy": 1.0, "policy/token_entropy_planning_nats": 1.0},
]


@pytest.fixture
def registry(tmp_path):
    with Registry.open(tmp_path / "home") as opened:
        yield opened


def config(**diagnose) -> HicraConfig:
    return HicraConfig.model_validate({"diagnose": diagnose})


def diagnosis_of(artifact):
    return json.loads(artifact.file("diagnosis.json").read_text())


def test_the_numbers_are_those_worked_by_hand(registry):
    grams = publish_grams(registry, *GRAMS)
    publish_training(registry, "hicra", STEPS, records=RECORDS, inputs=[(grams, "gram_set")], config=CONFIG)
    found = diagnosis_of(run(config(), registry, SilentProgress()))
    (shown,) = found["runs"]
    series = shown["series"]
    assert shown["steps"] == [1, 2]
    assert series["reward/accuracy"] == [0.5, 1.0]
    assert series["policy/token_entropy_planning_nats"] == pytest.approx([1.5, 1.0])
    assert series["policy/token_entropy_execution_nats"] == pytest.approx([0.4, 0.1])
    # exp(-0.25) = 0.778801, exp(-0.4) = 0.670320
    assert series["policy/relative_perplexity_planning"] == pytest.approx([1.0, 0.778801], abs=1e-6)
    assert series["policy/relative_perplexity_execution"] == pytest.approx([1.0, 0.670320], abs=1e-6)
    assert series["hicra/semantic_entropy_nats"] == pytest.approx([0.0, math.log(2)])
    assert series["hicra/semantic_entropy_normalised"] == pytest.approx([0.0, 1.0])
    # after the gram: "of it now" and "of a sum", then one outcome per gram
    assert series["hicra/conditional_entropy_nats"] == pytest.approx([math.log(2), 0.0])
    assert series["hicra/semantic_entropy_rarefied_nats"] == [None, None]
    assert series["hicra/planning_fraction"] == [0.5, 0.5]
    assert all(check["largest"] < 1e-6 for check in shown["checks"])
    assert [check["name"] for check in shown["checks"]] == ["policy/token_entropy_planning_nats", "reward/accuracy"]
    assert shown["validation"] == [[1, 0.4, None, None]]
    assert [(use["gram"], use["first_share"], use["last_share"]) for use in shown["grams"]] == [
        ("but that is wrong", 0.0, 0.5), ("let me think", 1.0, 0.5),
    ]  # fmt: skip
    assert shown["settings"] == {"seed": "3", "train.algo": "hicra", "train.alpha": "0.2"}
    assert [line["ref"] for line in found["lineage"]] == ["training:hicra@v1", "gram-set:default@v1"]


def test_everything_a_reader_takes_away_is_published(registry):
    publish_training(registry, "hicra", STEPS, inputs=[(publish_grams(registry, *GRAMS), "gram_set")])
    artifact = run(config(), registry, SilentProgress())
    paths = {each.path for each in artifact.files}
    assert {"report.html", "diagnosis.json", "tables/steps.csv", "figures/dynamics-0-semantic-entropy.svg"} <= paths
    assert (artifact.kind, artifact.name) == ("diagnosis", "default")
    assert {role for _, role in registry.inputs(artifact)} == {"training-1", "gram_set"}
    table = list(csv.DictReader(io.StringIO(artifact.file("tables/steps.csv").read_text())))
    assert [row["step"] for row in table] == ["1", "2"]
    ends = [artifact.summary[f"hicra/{place}/reward/accuracy"] for place in ("first", "last")]
    assert ends == [0.5, 1.0]
    assert artifact.summary["hicra/last/hicra/semantic_entropy_rarefied_nats"] is None


def test_equal_inputs_give_equal_bytes_in_any_home(tmp_path):
    pages = []
    for home in ("a", "b/c"):
        with Registry.open(tmp_path / home) as registry:
            grams = publish_grams(registry, *GRAMS)
            publish_training(registry, "hicra", STEPS, inputs=[(grams, "gram_set")], config=CONFIG)
            artifact = run(config(), registry, SilentProgress())
            pages.append([(each.path, each.sha256) for each in artifact.files])
            assert str(tmp_path) not in artifact.file("report.html").read_text()
            assert "/secret/home" not in artifact.file("diagnosis.json").read_text()
    assert pages[0] == pages[1]


def test_an_unchanged_diagnosis_is_not_computed_again(registry):
    publish_training(registry, "hicra", STEPS, inputs=[(publish_grams(registry, *GRAMS), "gram_set")])
    assert not execute(STAGE, config(), registry, SilentProgress()).cached
    assert execute(STAGE, config(), registry, SilentProgress()).cached
    assert not execute(STAGE, config(unit="bits"), registry, SilentProgress()).cached


def test_a_record_that_does_not_hold_is_a_warning(registry):
    wrong = [{"step": 1, "reward/accuracy": 0.9}, {"step": 2, "reward/accuracy": 1.0}]
    grams = publish_grams(registry, *GRAMS)
    publish_training(registry, "hicra", STEPS, records=wrong, inputs=[(grams, "gram_set")])
    progress = SilentProgress()
    artifact = run(config(), registry, progress)
    assert progress.warnings == ["hicra: reward/accuracy in the record differs from the rollouts by 4.0e-01 at step 1"]
    assert artifact.summary["failed_checks"] == 1
    assert "its record does not hold: reward/accuracy" in artifact.file("report.html").read_text()


def test_several_runs_are_comparable_and_keep_their_order(registry):
    grams = publish_grams(registry, *GRAMS)
    many = {1: [rollout("p", n, "let me think of it now", mask="10") for n in range(80)]}
    few = {1: [rollout("p", n, "but that is wrong so we add", mask="10") for n in range(60)]}
    for name, steps in (("grpo", many), ("hicra", few)):
        publish_training(registry, name, steps, inputs=[(grams, "gram_set")], config={"train": {"algo": name}})
    found = diagnosis_of(run(config(), registry, SilentProgress()))
    assert [each["label"] for each in found["runs"]] == ["grpo", "hicra"]
    assert found["rarefaction"] == {"floor": 50, "occurrences": 60, "pairs": 60}
    assert "The runs differ in train.algo." in found["notes"]
    turned = diagnosis_of(run(config(trainings=["training:hicra", "training:grpo"]), registry, SilentProgress()))
    assert [each["label"] for each in turned["runs"]] == ["hicra", "grpo"]


def test_two_versions_of_one_name_are_told_apart(registry):
    for steps in (STEPS, {1: STEPS[1]}):
        publish_training(registry, "hicra", steps)
    found = diagnosis_of(run(config(trainings=["training:hicra@v1", "training:hicra@v2"]), registry, SilentProgress()))
    assert [each["label"] for each in found["runs"]] == ["hicra@v1", "hicra@v2"]


def test_without_any_gram_set_the_token_classes_remain(registry):
    publish_training(registry, "grpo", STEPS)
    found = diagnosis_of(run(config(), registry, SilentProgress()))
    assert found["gram_set"] is None
    assert found["runs"][0]["series"]["hicra/semantic_entropy_nats"] == [None, None]
    assert found["runs"][0]["series"]["policy/token_entropy_planning_nats"] == pytest.approx([1.5, 1.0])


def test_masks_are_recomputed_from_the_token_ids_and_must_be_equal(registry, nano_path):
    tokenizer = Tokenizer.from_file(str(nano_path / "tokenizer.json"))
    text = "let's try a different approach. 7 * 3 = 21"
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    own = GramSet.from_phrases(["let's try a different approach"])
    right = "".join("1" if each else "0" for each in PlanningMatcher(own, tokenizer).planning_mask(ids))
    assert 0 < right.count("1") < len(right)
    wrong = "0" * len(right)
    grams = publish_grams(registry, "let's try a different approach")
    external = {"policy": {"ref": "nano", "digest": "d"}}
    for name, mask in (("right", right), ("wrong", wrong)):
        steps = {1: [rollout("p", 0, text, mask=mask, token_ids=ids)]}
        publish_training(registry, name, steps, inputs=[(grams, "gram_set")], external=external)
    found = diagnosis_of(run(config(), registry, SilentProgress()))
    checks = {each["label"]: each["checks"][-1] for each in found["runs"]}
    assert checks["right"]["name"] == "planning mask: differing tokens"
    assert (checks["right"]["largest"], checks["wrong"]["largest"]) == (0.0, float(right.count("1")))
    assert [each["series"]["hicra/planning_fraction"] for each in found["runs"]] == [
        [right.count("1") / len(right)]
    ] * 2


def test_another_gram_set_is_counted_and_said(registry):
    own, other = publish_grams(registry, *GRAMS), publish_grams(registry, "of it now", name="other")
    publish_training(registry, "hicra", STEPS, records=RECORDS, inputs=[(own, "gram_set")])
    found = diagnosis_of(run(config(gram_set=other.ref), registry, SilentProgress()))
    assert found["runs"][0]["series"]["hicra/gram_occurrences"] == [1.0, 1.0]
    assert any("trained with another gram-set; its tokenizer cannot be reached" in note for note in found["notes"])
    assert [check["name"] for check in found["runs"][0]["checks"]] == ["reward/accuracy"]


def publish_evaluation(registry, name, policy, rewards):
    draft = registry.begin("evaluation", name)
    rows = [
        {
            "bench": "countdown",
            "question": f"q{n}",
            "sample": 0,
            "reward": each,
            "num_tokens": 5,
            "finish_reason": "stop",
            "outcome": "correct" if each else "wrong",
        }
        for n, each in enumerate(rewards)
    ]
    (draft.path / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    if isinstance(policy, str):
        return draft.publish(summary={"external_inputs": {"policy": {"ref": policy, "digest": f"digest of {policy}"}}})
    return draft.publish(inputs=[(policy, "policy")])


def test_evaluations_of_the_shown_runs_are_found_and_set_before_against_after(registry):
    draft = registry.begin("policy", "hicra")
    (draft.path / "config.json").write_text("{}")
    trained = draft.publish()
    start = {"policy": {"ref": "nano", "digest": "digest of nano"}}
    publish_training(registry, "hicra", STEPS, inputs=[(trained, "step-2")], external=start)
    publish_evaluation(registry, "before", "nano", [0, 0, 1, 0])
    publish_evaluation(registry, "other", "a stranger", [1, 1, 1, 1])
    publish_evaluation(registry, "after", trained, [1, 0, 1, 1])
    rows = diagnosis_of(run(config(), registry, SilentProgress()))["evaluations"]
    assert [(row["policy"], row["run"], row["average"]) for row in rows] == [
        ("nano", "", 0.25),
        ("policy:hicra@v1", "hicra", 0.75),
    ]
    assert rows[1]["difference"] == 0.5
    named = diagnosis_of(run(config(evaluations=["evaluation:other"]), registry, SilentProgress()))["evaluations"]
    assert [row["policy"] for row in named] == ["a stranger"]


def test_without_a_training_there_is_a_remedy(registry):
    with pytest.raises(ArtifactError, match="no training to diagnose") as caught:
        run(config(), registry, SilentProgress())
    assert "hicra train" in str(caught.value.fix)


def test_a_training_without_rollouts_is_refused_with_the_reason(registry):
    publish_training(registry, "hicra", {}, records=[{"step": 1}])
    with pytest.raises(ArtifactError, match="kept no rollouts") as caught:
        run(config(), registry, SilentProgress())
    assert "save_rollouts_every" in str(caught.value.fix)
    assert registry.list("diagnosis") == []


def test_a_malformed_record_names_its_line(registry):
    draft = registry.begin("training", "hicra")
    (draft.path / "steps.jsonl").write_text('{"step": 1}\n{"step": \n')
    draft.publish()
    with pytest.raises(ArtifactError) as caught:
        run(config(), registry, SilentProgress())
    assert str(caught.value.where).endswith("steps.jsonl:2")
