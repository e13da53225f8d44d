"""The shipped gram-set `default-en` is what curate makes of its list and its decisions."""

from pathlib import Path

from hicra_cli.config.root import HicraConfig
from hicra_cli.core.progress import SilentProgress
from hicra_cli.core.registry import Registry
from hicra_cli.grams import GramSet
from hicra_cli.grams.builtin import builtin_path
from hicra_cli.stages import curate


def test_default_en_is_rebuilt_from_its_list_and_its_decisions(tmp_path, monkeypatch):
    shipped = builtin_path("default-en")
    assert shipped is not None
    monkeypatch.chdir(shipped.parent)
    settings = {
        "annotations": "none",
        "imports": [Path("phrases.txt")],
        "decisions": Path("decisions.jsonl"),
        "max_grams": 2000,
    }
    with Registry.open(tmp_path / "home") as registry:
        config = HicraConfig.model_validate({"home": registry.home, "curate": settings})
        artifact = curate.run(config, registry, SilentProgress())
        rebuilt = GramSet.load(artifact.file("grams.jsonl"))
    assert rebuilt.canonical == shipped.read_bytes()
    assert artifact.summary["accepted_by"]["person"] > 0
    assert artifact.summary["rejected"]["decision"] > 0
