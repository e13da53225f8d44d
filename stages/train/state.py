"""What survives a step: weights, optimizer, three small numbers and alpha's gate. A checkpoint holds exactly this."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from hicra_cli.rl.alpha import AdaptiveAlpha
from hicra_cli.rl.checkpoint import latest_checkpoint, load_checkpoint, prune_checkpoints, save_checkpoint
from hicra_cli.rl.model import Policy


@dataclass(slots=True)
class TrainState:
    """step: optimizer updates done. cursor: prompts taken from the task's stream. limit_index: which response limit.

    adaptive: the gate of an adaptive alpha, unused under other schedules. torn: weights and numbers do not belong
    together (an update was taken whose step is not recorded yet): such a state is not saved.
    """

    policy: Policy
    optimizer: torch.optim.Optimizer
    step: int = 0
    cursor: int = 0
    limit_index: int = 0
    adaptive: AdaptiveAlpha = field(default_factory=AdaptiveAlpha)
    torn: bool = False

    @property
    def model(self) -> Any:
        """The HF model inside the policy."""
        return self.policy.model

    def save(self, folder: Path, *, keep: int) -> None:
        """Write a checkpoint of the present state and drop old ones."""
        numbers = {"cursor": self.cursor, "limit_index": self.limit_index, "adaptive": asdict(self.adaptive)}
        save_checkpoint(folder, self.step, self.model, self.optimizer, numbers)
        prune_checkpoints(folder, keep=keep)

    def restore(self, folder: Path) -> bool:
        """Go back to the newest intact checkpoint; False where there is none."""
        found = latest_checkpoint(folder)
        if found is None:
            return False
        path, numbers = found
        load_checkpoint(path, self.model, self.optimizer)
        self.step, self.cursor, self.limit_index = numbers["step"], numbers["cursor"], numbers["limit_index"]
        gate = numbers["adaptive"]
        self.adaptive = AdaptiveAlpha(**{**gate, "perplexities": tuple(gate["perplexities"])})
        return True
