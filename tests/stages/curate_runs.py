"""What the tests of curate share: rollouts that were collected and annotated, and short ways to curate them."""

import json
from pathlib import Path

from hicra_cli.config.root import HicraConfig
from hicra_cli.core.progress import SilentProgress
from hicra_cli.stages import annotate_grams, collect_grams, curate

TEXT = "So let me check 7 times. This implies that 4 is more. Red marbles are here"


class Talk(SilentProgress):
    """Keeps the notes too."""

    def __init__(self) -> None:
        super().__init__()
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def prepare(registry, path: Path, texts) -> None:
    """Collect and annotate texts, one problem each."""
    rows = [{"problem": f"p{at}", "response": text, "correct": True} for at, text in enumerate(texts)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = HicraConfig.model_validate(
        {"home": registry.home, "collect": {"rollouts": [path], "merge_phrases": False}}
    )
    collect_grams.run(config, registry, SilentProgress())
    annotate_grams.run(config, registry, SilentProgress())


def configured(registry, *, seed=0, **settings) -> HicraConfig:
    return HicraConfig.model_validate({"home": registry.home, "seed": seed, "curate": settings})


def curated(registry, *, ask=None, progress=None, seed=0, **settings):
    config = configured(registry, seed=seed, **settings)
    return curate.run(config, registry, progress or SilentProgress(), ask=ask)


def lines(artifact, name):
    return [json.loads(line) for line in artifact.file(name).read_text().splitlines()]


def grams(artifact):
    return [line["gram"] for line in lines(artifact, "grams.jsonl")]


def decisions_file(tmp_path, *rows):
    path = tmp_path / "decisions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
