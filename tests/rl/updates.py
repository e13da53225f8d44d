"""The learning half of a step on given rollouts: `learn` as a run calls it, and the gradients its optimizer gets."""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from hicra_cli.config.train import TrainConfig
from hicra_cli.core.records import Rollout
from hicra_cli.rl.model import Policy
from hicra_cli.rl.packing import PackedRollouts, pack
from hicra_cli.rl.parallel import OneWorker
from hicra_cli.stages.train.objective import choose_objective
from hicra_cli.stages.train.record import Learned
from hicra_cli.stages.train.state import TrainState
from hicra_cli.stages.train.stop import StopSignal
from hicra_cli.stages.train.tools import StepTools
from hicra_cli.stages.train.update import Batch, learn


def train_config(**settings: Any) -> TrainConfig:
    """No clipping of the gradient, no limit on ratios: what is compared are gradients."""
    lenient = {"max_grad_norm": 1e30, "watch": {"max_ratio": 1e30, "max_grad_norm": 1e30}}
    return TrainConfig.model_validate(lenient | settings)


def learner(model: Any, config: TrainConfig, *, lr: float = 0.0, reference: Any = None) -> tuple[TrainState, StepTools]:
    """A policy with plain gradient descent and the tools that learning needs; it samples and grades nothing."""
    policy = Policy(model, temperature=config.sampling.temperature, head_chunk=config.head_chunk)
    state = TrainState(policy, torch.optim.SGD(model.parameters(), lr=lr))
    nothing: Any = None
    tools = StepTools(
        task=nothing,
        engine=nothing,
        matcher=None,
        render=nothing,
        credit=nothing,
        objective=choose_objective(config),
        learns_from_all=config.algo == "entropy-reg" or config.kl_beta > 0,
        needs_entropy=False,
        reference=None if reference is None else Policy(reference, temperature=1.0, head_chunk=config.head_chunk),
        workers=OneWorker(torch.device("cpu")),
        autocast=nullcontext,
        publish=nothing,
        seed=0,
    )
    return state, tools


def learning_batch(
    rollouts: Sequence[Rollout],
    token_advantages: Tensor,
    *,
    useful: Sequence[int] | None = None,
    counted: Tensor | None = None,
    response_limit: int = 16,
    packed: PackedRollouts | None = None,
) -> Batch:
    """All rollouts are useful and counted unless said; in padded rows unless `packed` otherwise."""
    return Batch(
        packed or pack(rollouts),
        useful=range(len(rollouts)) if useful is None else useful,
        lengths=torch.tensor([len(each.token_ids) for each in rollouts]),
        counted=torch.ones(len(rollouts), dtype=torch.bool) if counted is None else counted,
        token_advantages=token_advantages,
        response_limit=response_limit,
    )


def updates(
    batch: Batch, state: TrainState, tools: StepTools, config: TrainConfig, *, lr: float = 0.0
) -> tuple[Learned, list[dict[str, Tensor]]]:
    """What `learn` reports, and the gradients by parameter name of each of its optimizer steps."""
    gradients: list[dict[str, Tensor]] = []

    def keep(*_: Any) -> None:
        named = state.model.named_parameters()
        gradients.append({name: each.grad.clone() for name, each in named if each.grad is not None})

    hook = state.optimizer.register_step_pre_hook(keep)
    learned = learn(batch, state, tools, config, StopSignal(), lr=lr)
    hook.remove()
    return learned, gradients


def relative_difference(found: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    """Norm of the difference over the norm of what is expected, of all tensors together; 0 where both vanish."""
    assert found.keys() == expected.keys()
    difference = sum(float((found[name] - each).double().square().sum()) for name, each in expected.items())
    norm = sum(float(each.double().square().sum()) for each in expected.values())
    return float((difference / norm) ** 0.5) if difference else 0.0
