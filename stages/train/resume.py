"""Going on with a run: from the newest intact checkpoint, saying what is damaged and what is different here."""

import json
from importlib import metadata
from pathlib import Path

import torch

from hicra_cli.core.errors import ArtifactError
from hicra_cli.core.filesystem import write_durably
from hicra_cli.core.progress import Progress
from hicra_cli.rl.checkpoint import damage
from hicra_cli.rl.parallel import Workers

from .state import TrainState

MACHINE = "machine.json"


def restore(state: TrainState, folder: Path, workers: Workers, progress: Progress) -> bool:
    """Put the newest intact checkpoint of `folder` into `state`; False where none was ever written.

    Damaged newer ones are named in a warning and put aside as `damaged-step-NNNNNN`. ArtifactError where all are
    damaged: beginning again would throw the rest of the work away.
    """
    found = state.restore(folder, workers)
    if workers.rank == 0:
        newer = [path for path in sorted(folder.glob("step-*")) if not found or _step(path) > state.step]
        for path in newer if found else ():
            progress.warn(f"checkpoint {path.name} is damaged ({damage(path)}): going on from step {state.step}")
            path.rename(path.with_name(f"damaged-{path.name}"))
        if newer and not found:
            faults = "; ".join(f"{each.name} ({damage(each)})" for each in newer)
            raise ArtifactError(
                f"all checkpoints of this run are damaged: {faults}",
                where=str(folder),
                fix="Bring the files back from a copy and --resume, or leave out --resume to begin again; nothing was "
                "deleted",
            )
    return found


def compare_machine(folder: Path, progress: Progress) -> None:
    """Remember what decides the last bits of sums besides the settings; warn where a resumed run has it different.

    Threads and versions are no part of the cache key: a run on another machine is the same experiment. But a run whose
    halves differ in them does not end with the bytes of one that was never stopped, and the user should hear it.
    """
    here = {
        "threads": str(torch.get_num_threads()),
        "torch": torch.__version__,
        "transformers": metadata.version("transformers"),
    }
    path = folder / MACHINE
    if not path.exists():
        folder.mkdir(exist_ok=True)
        write_durably(path, json.dumps(here, indent=1).encode())
        return
    before = json.loads(path.read_text())
    changed = [f"{name} {before.get(name)} -> {value}" for name, value in here.items() if before.get(name) != value]
    if changed:
        progress.warn(
            f"this run was begun with other {', '.join(changed)}: it goes on, but its numbers may differ in their last "
            "bits from those of a run that was never stopped"
        )


def _step(path: Path) -> int:
    number = path.name.removeprefix("step-")
    return int(number) if number.isdigit() else -1
