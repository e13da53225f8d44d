"""The tools of a step, chosen once: task, engine, mask, credit, loss. The step itself compares no strings."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hicra_cli.core.progress import SilentDashboard
from hicra_cli.core.records import Prompt
from hicra_cli.engine.base import Engine
from hicra_cli.grams.matcher import PlanningMatcher
from hicra_cli.rl.layout import Layout
from hicra_cli.rl.model import Policy
from hicra_cli.rl.objective import Objective
from hicra_cli.rl.parallel import Workers
from hicra_cli.tasks.base import Task

from .credit import Credit
from .live import LiveView
from .reference import Reference


@dataclass(frozen=True, slots=True)
class StepTools:
    """render: prompt → (P,) int32 token ids. credit: the step's signals → (N,). learns_from_all: rollouts of groups
    without signal still have a gradient (entropy regularisation, KL), so they are computed too. needs_entropy: credit
    looks at the entropy of each token. reference: figures under the policy of the KL term. autocast: of the compute
    precision. publish: hand the policy's weights to the engine as a version. view: is told what the step is busy with.
    layout: of the micro-batches. predicted_bytes: of memory at the highest, None where no plan could be made.
    """

    task: Task
    engine: Engine
    matcher: PlanningMatcher | None
    render: Callable[[Prompt], NDArray[np.int32]]
    credit: Credit
    objective: Objective
    learns_from_all: bool
    needs_entropy: bool
    reference: Reference | None
    workers: Workers
    autocast: Callable[[], AbstractContextManager[Any]]
    publish: Callable[[Policy, int], None]
    seed: int
    layout: Layout = field(default_factory=Layout)
    predicted_bytes: int | None = None
    view: LiveView = field(default_factory=lambda: LiveView(SilentDashboard(), []))

    @property
    def device(self) -> torch.device:
        return self.workers.device
