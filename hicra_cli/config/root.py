"""The whole configuration: one tree, a section per stage."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from hicra_cli.config.annotate import AnnotateConfig
from hicra_cli.config.collect import CollectConfig
from hicra_cli.config.curate import CurateConfig
from hicra_cli.config.diagnose import DiagnoseConfig
from hicra_cli.config.engine import EngineConfig
from hicra_cli.config.eval import EvalConfig
from hicra_cli.config.section import Section
from hicra_cli.config.task import TaskConfig
from hicra_cli.config.train import TrainConfig


class HicraConfig(Section):
    home: Path = Field(Path(".hicra"), description="Registry and artifacts live here.")
    data_dir: Path | None = Field(
        None, description="Folder with benchmark JSONL files (BENCH.jsonl or bench/BENCH.jsonl)."
    )
    seed: int = Field(0, ge=0, description="Every random choice is a function of this seed.")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto takes a GPU where there is one.")
    threads: int | None = Field(None, ge=1, description="CPU threads of torch; by default one per core.")
    task: TaskConfig = Field(default_factory=TaskConfig, description="Problems and prompts.")
    engine: EngineConfig = Field(default_factory=EngineConfig, description="The sampling engine.")
    collect: CollectConfig = Field(default_factory=CollectConfig, description="collect-grams.")
    annotate: AnnotateConfig = Field(default_factory=AnnotateConfig, description="annotate-grams.")
    curate: CurateConfig = Field(default_factory=CurateConfig, description="curate.")
    train: TrainConfig = Field(default_factory=TrainConfig, description="train.")
    eval: EvalConfig = Field(default_factory=EvalConfig, description="eval.")
    diagnose: DiagnoseConfig = Field(default_factory=DiagnoseConfig, description="diagnose.")
