"""Runs of `hicra train` by several processes for tests/stages/test_train_parallel.py.

    python -m tests.stages.parallel_runs FOLDER LAYOUT SCENARIO...

All ranks are forks of this process, which has imported everything once, and run the real command line. A run leaves
`RUN.home`, `RUN.codes` and what each rank wrote to stdout and stderr (`RUN.0.out` …).
"""

import json
import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import hicra_cli.rl.sharded
import hicra_cli.rl.sharded_checkpoint
import hicra_cli.stages.train.run  # noqa: F401 (before the forks)
from hicra_cli.app import main
from tests.config.accelerate_environment import deepspeed_environment
from tests.rl.forks import launch
from tests.stages.runs import small_config

STEPS = 6
DEADLINE_S = 100
OPTIONS: dict[str, dict[str, Any]] = {
    "several-updates": {"epochs": 2, "minibatches": 2, "kl_beta": 0.01},
    "adapters": {"lora": {"rank": 4}, "kl_beta": 0.01},
    "packed": {"layout": "packed", "gradient_checkpointing": True},
    "entropy": {"algo": "entropy-reg"},
}


class Runs:
    """Runs in one folder with one layout of the weights."""

    def __init__(self, folder: Path, layout: str) -> None:
        self.folder = folder
        self.layout = layout

    def straight(self):
        """Never stopped, on two processes."""
        self.train("straight", 2)

    def again(self):
        """The same command again, which finds the run published."""
        shutil.copytree(self.folder / "straight.home", self.folder / "again.home")
        self.train("again", 2)

    def stopped(self):
        """SIGTERM to both after some steps, then on with two."""

        def stop(pids):
            for each in pids:
                os.kill(each, signal.SIGTERM)

        self.train("stopped", 2, after_steps=3, meanwhile=stop)
        for size in (1, 2, 4):
            shutil.copytree(self.folder / "stopped.home", self.folder / f"resumed-{size}.home")
        self.train("resumed-2", 2, "--resume")

    def elsewhere(self):
        """What two left, on with one and with four."""
        for size in (1, 4):
            self.train(f"resumed-{size}", size, "--resume")

    def killed(self):
        """SIGKILL to the second one, then on with both."""
        self.train("killed", 2, after_steps=2, meanwhile=lambda pids: os.kill(pids[1], signal.SIGKILL))
        shutil.copytree(self.folder / "killed.home", self.folder / "revived.home")
        self.train("revived", 2, "--resume")

    def refusing(self):
        """The second one finds its engine too far from its trainer, the first one does not."""
        self.train("refusing", 2, environment=lambda rank: {"HICRA_ENGINE__PROBE_TOLERANCE": "1e-30"} if rank else {})

    def deepspeed(self):
        """Straight, then stopped and resumed, where accelerate asks for the ZeRO stage that the folder is named by."""
        stage = self.folder.name.removeprefix("zero-")
        os.environ.update(deepspeed_environment("--zero_stage", stage, "--gradient_clipping", "0.5"))
        self.train("straight", 2)
        self.stopped()

    def options(self):
        """Two steps with each of some options that meet the layout of the weights."""
        for name, settings in OPTIONS.items():
            self.train(name, 2, settings={"steps": 2, **settings})

    def train(self, name, size, *options, after_steps=0, meanwhile=None, environment=lambda rank: {}, settings=None):
        home = self.folder / f"{name}.home"
        home.mkdir(exist_ok=True)
        common = {"steps": STEPS, "parallel": self.layout, "eval_every": 3, "eval_prompts": 5, "eval_samples": 2}
        config = small_config(home, **(common | (settings or {})))
        path = self.folder / f"{name}.json"
        path.write_text(json.dumps(config.model_dump(mode="json", exclude={"home"}, exclude_defaults=True)))

        def command():
            rank = int(os.environ.get("RANK", "0"))
            os.environ.update(environment(rank))
            for number, stream in ((1, "out"), (2, "err")):
                os.dup2(os.open(self.folder / f"{name}.{rank}.{stream}", os.O_WRONLY | os.O_CREAT), number)
            sys.argv = ["hicra", "train", "-c", str(path), "--home", str(home), "--json", *options]
            main()

        started = time.monotonic()
        pids: list[int] = []
        if meanwhile is not None:
            threading.Thread(target=_when, args=(home, after_steps, pids, meanwhile), daemon=True).start()
        codes = launch(size, command, pids=pids)
        seconds = time.monotonic() - started
        (self.folder / f"{name}.codes").write_text(json.dumps({"codes": codes, "seconds": seconds}))


def _when(home, after_steps, pids, action):
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        found = [path.read_bytes().count(b"\n") for path in home.glob("staging/*/files/steps.jsonl")]
        if found and max(found) >= after_steps:
            action(pids)
            return
        time.sleep(0.01)


if __name__ == "__main__":
    runs = Runs(Path(sys.argv[1]), sys.argv[2])
    for scenario in sys.argv[3:]:
        getattr(runs, scenario)()
