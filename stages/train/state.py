"""What survives a step: weights, optimizer, three small numbers and alpha's gate. A checkpoint holds exactly this."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from hicra_cli.rl.alpha import AdaptiveAlpha
from hicra_cli.rl.checkpoint import is_whole, latest_checkpoint, load_checkpoint, prune_checkpoints, save_checkpoint
from hicra_cli.rl.model import Policy
from hicra_cli.rl.parallel import Workers


@dataclass(slots=True)
class TrainState:
    """step: optimizer updates done. cursor: prompts taken from the task's stream. limit_index: which response limit.

    adaptive: the gate of an adaptive alpha, unused under other schedules. unrecorded: the record of `step` as long as
    it is not in the step record, for want of its evaluation say: whoever takes the state over completes it. torn:
    weights and numbers do not belong together (an update was taken whose step is not over): such a state is not saved.
    """

    policy: Policy
    optimizer: torch.optim.Optimizer
    step: int = 0
    cursor: int = 0
    limit_index: int = 0
    adaptive: AdaptiveAlpha = field(default_factory=AdaptiveAlpha)
    unrecorded: dict[str, Any] | None = None
    torn: bool = False

    @property
    def model(self) -> Any:
        """The HF model inside the policy."""
        return self.policy.model

    @property
    def recorded_step(self) -> int:
        """The last step whose line is in the step record."""
        return self.step - (self.unrecorded is not None)

    def save(self, folder: Path, workers: Workers, *, keep: int) -> None:
        """Write a checkpoint of the present state and drop old ones; all workers call this, the first one writes.

        Where each holds a shard all write, and wait for each other.
        """
        numbers = {
            "cursor": self.cursor,
            "limit_index": self.limit_index,
            "adaptive": asdict(self.adaptive),
            "unrecorded": self.unrecorded,
        }
        if workers.lockstep:
            from hicra_cli.rl.sharded_checkpoint import save_sharded

            save_sharded(folder, self.step, self.model, self.optimizer, numbers, workers)
        elif workers.rank == 0:
            save_checkpoint(folder, self.step, self.model, self.optimizer, numbers)
        if workers.rank == 0:
            prune_checkpoints(folder, keep=keep)

    def restore(self, folder: Path, workers: Workers) -> bool:
        """Go back to the newest checkpoint that the first worker finds intact; False where there is none.

        It may have been written by another number of workers, with weights sharded or whole.
        """
        found = workers.gather(latest_checkpoint(folder) if workers.rank == 0 else None)[0]
        if found is None:
            return False
        path, numbers = found
        if workers.lockstep or not is_whole(path):
            from hicra_cli.rl.sharded_checkpoint import load_resharded

            load_resharded(path, self.model, self.optimizer)
        else:
            load_checkpoint(path, self.model, self.optimizer)
        self.step, self.cursor, self.limit_index = numbers["step"], numbers["cursor"], numbers["limit_index"]
        self.unrecorded = numbers.get("unrecorded")
        gate = numbers["adaptive"]
        self.adaptive = AdaptiveAlpha(**{**gate, "perplexities": tuple(gate["perplexities"])})
        return True
