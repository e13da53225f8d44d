import json

import pytest

from hicra_cli.core.diff import Change, GramDiff, diff_configs
from hicra_cli.core.errors import ArtifactError
from hicra_cli.core.registry import Registry
from tests.core.helpers import fill, make


@pytest.fixture
def registry(tmp_path):
    with Registry.open(tmp_path / "home") as opened:
        yield opened


def gram_set(registry, moves):
    lines = "".join(json.dumps({"gram": gram, "move": move}, ensure_ascii=False) + "\n" for gram, move in moves.items())
    return make(registry, "gram-set:g", {"grams.jsonl": lines})


def test_grams_that_came_went_and_moved(registry):
    kept = {"let's try a different": "branching"}
    before = gram_set(registry, {**kept, "but that is not": "backtracing", "we know that": None})
    after = gram_set(registry, {**kept, "we know that": "deduction", "since\u2028we need": "deduction"})
    diff = registry.diff(before, after)
    assert diff.grams == GramDiff(
        added=("since\u2028we need",), removed=("but that is not",), moved=(Change("we know that", None, "deduction"),)
    )
    assert (diff.config, diff.same_content) == ((), False)
    assert registry.diff(before, before).grams == GramDiff((), (), ())


def test_a_malformed_gram_set_names_the_line(registry):
    bad = make(registry, "gram-set:g", {"grams.jsonl": '{"gram": "we know that"}\n[1]\n'})
    with pytest.raises(ArtifactError, match=r"grams\.jsonl:2"):
        registry.diff(bad, bad)


def test_configurations_differ_by_dotted_path():
    before = {"train": {"alpha": 0.2, "steps": 40, "kl": {"beta": 0}}, "seed": 1, "old": {}}
    after = {"train": {"alpha": 0.2, "steps": 80, "kl": {"beta": 0.0}}, "seed": True, "new": [1, 2]}
    # 0 and 0.0, 1 and True are equal in Python, not in a configuration
    assert diff_configs(before, after) == (
        Change("new", None, [1, 2]),
        Change("old", {}, None),
        Change("seed", 1, True),
        Change("train.kl.beta", 0, 0.0),
        Change("train.steps", 40, 80),
    )


def test_artifacts_are_compared_by_the_configuration_of_their_runs(registry):
    made = []
    for alpha in (0.0, 0.2):
        run_id = registry.start_run("train", ["hicra"], {"train": {"alpha": alpha}}, {})
        draft = registry.begin("policy", "nano", run_id=run_id)
        fill(draft.path, {"model.safetensors": "same"})
        made.append(draft.publish())
    diff = registry.diff(*made)
    assert (diff.grams, diff.config, diff.same_content) == (None, (Change("train.alpha", 0.0, 0.2),), True)
