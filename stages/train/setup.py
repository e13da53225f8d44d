"""Build what a run needs: model, optimizer, engine, task, matcher. Every check that can refuse a run is made here."""

from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hicra_cli.config.root import HicraConfig
from hicra_cli.config.train import ENTROPY_ALGOS, LoraConfig
from hicra_cli.core.progress import Progress
from hicra_cli.core.records import Rollout
from hicra_cli.core.resident import resident_bytes
from hicra_cli.engine.base import Draws, Engine, Request
from hicra_cli.engine.factory import build_engine, resolve_device, resolve_dtype, set_threads
from hicra_cli.engine.policy import LoadedPolicy, load_policy
from hicra_cli.engine.probe import check_probe, default_tolerance
from hicra_cli.engine.transformers_engine import context_length
from hicra_cli.grams.gram_set import GramSet
from hicra_cli.grams.matcher import PlanningMatcher
from hicra_cli.rl.alpha import AdaptiveAlpha
from hicra_cli.rl.exchange import Board
from hicra_cli.rl.layout import choose_layout
from hicra_cli.rl.lora import add_adapters, merged_weights
from hicra_cli.rl.model import Policy, check_forward
from hicra_cli.rl.optim import build_optimizer
from hicra_cli.rl.packing import pack
from hicra_cli.rl.parallel import Workers
from hicra_cli.tasks.base import Task
from hicra_cli.tasks.prompts import render, render_many

from ..base import build_task
from .audit import PromptAudit, audit_prompts, prompt_limit
from .credit import choose_credit
from .objective import choose_objective
from .plan import RunPlan, Team, plan_run, this_machine, wants_checkpointing
from .precision import compute_dtype, stored_dtype, with_engine_dtype
from .reference import load_reference
from .sample import longest_sampling, response_sampling
from .state import TrainState
from .tools import StepTools
from .workers import build_workers

FORWARD_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.5}  # nats, by the trainer's compute precision


def build_run(
    config: HicraConfig,
    policy_path: Path,
    reference_path: Path | None,
    gram_set: GramSet | None,
    progress: Progress,
    stack: ExitStack,
    board: Board | None = None,
) -> tuple[TrainState, StepTools, LoadedPolicy]:
    """Load the policy and put the tools around it; resources are closed by `stack`."""
    train = config.train
    set_threads(config, processes=1 if board is None else board.launch.local_size)
    workers = build_workers(config, resolve_device(config), policy_path, board, progress)
    device = workers.device
    compute = compute_dtype(train, on_cpu=device.type == "cpu")
    config = with_engine_dtype(config, on_cpu=device.type == "cpu")
    stored = stored_dtype(train, on_cpu=device.type == "cpu")
    resident = 0 if device.type == "cuda" else resident_bytes()  # peaks on a GPU are of tensors alone
    # What will be sharded is loaded on the host: no device needs room for the whole of it.
    source = load_policy(policy_path, dtype=stored, device=torch.device("cpu") if workers.lockstep else device)
    if train.lora.rank:
        add_adapters(source.model, **train.lora.model_dump(), seed=config.seed)
    task = stack.enter_context(build_task(config))
    audit = _audit(task, source, config, progress)
    longest_prompt = audit.max_tokens if audit.limit is None else min(audit.max_tokens, audit.limit)
    plan = _plan(config, policy_path, workers, longest_prompt, progress, board)
    _prepare_model(source.model, checkpointing=workers.any(wants_checkpointing(plan, train)))
    policy = Policy(source.model, temperature=train.sampling.temperature, head_chunk=train.head_chunk)
    layout = choose_layout(
        source.model, layout=train.layout, share_prompts=train.share_prompts, dtype=compute, device=device
    )
    workers.prepare(policy)
    optimizer = build_optimizer(
        policy.model, lr=train.lr, beta1=train.beta1, beta2=train.beta2, weight_decay=train.weight_decay
    )
    whole = _whole_policy(config, policy_path, workers) or source
    engine = stack.enter_context(
        build_engine(config, whole, sampling=longest_sampling(train), longest_prompt=longest_prompt)
    )
    tools = StepTools(
        task=task,
        engine=engine,
        matcher=None if gram_set is None else PlanningMatcher(gram_set, source.tokenizer),
        render=audit.limited(partial(render, tokenizer=source.tokenizer, task=config.task)),
        credit=choose_credit(train, seed=config.seed),
        objective=choose_objective(train),
        learns_from_all=train.algo == "entropy-reg" or train.kl_beta > 0,
        needs_entropy=train.algo in ENTROPY_ALGOS,
        reference=load_reference(config, source, policy, reference_path, device),
        workers=workers,
        autocast=partial(torch.autocast, device.type, dtype=torch.bfloat16, enabled=compute is torch.bfloat16),
        publish=partial(_publish, engine, workers, train.lora),
        seed=config.seed,
        layout=layout,
        predicted_bytes=None if isinstance(plan, str) else resident + plan.memory.peak,
    )
    state = TrainState(policy, optimizer, adaptive=AdaptiveAlpha(**train.adaptive.model_dump()))
    _self_check(state, tools, config, whole, FORWARD_TOLERANCE[compute], progress)
    return state, tools, source


def _plan(
    config: HicraConfig, path: Path, workers: Workers, longest_prompt: int, progress: Progress, board: Board | None
) -> RunPlan | str:
    """The memory plan of this run, told to the user."""
    machine = this_machine(config, processes=1 if board is None else board.launch.local_size)
    team = Team(workers.size, workers.size if workers.lockstep else 1, workers.keeps_whole)
    plan = plan_run(path, config, machine, longest_prompt=longest_prompt, team=team)
    progress.note(f"memory cannot be predicted: {plan}" if isinstance(plan, str) else plan.summary)
    return plan


def _whole_policy(config: HicraConfig, path: Path, workers: Workers) -> LoadedPolicy | None:
    """Where the trainer's weights are shards, an own whole copy for the engine, in its precision; else None."""
    if not workers.lockstep:
        return None
    return load_policy(path, dtype=resolve_dtype(config, workers.device), device=workers.device)


def _audit(task: Task, source: LoadedPolicy, config: HicraConfig, progress: Progress) -> PromptAudit:
    """How long the prompts are; what is too long for the model is refused, dropped or truncated here."""
    first_limit = response_sampling(config.train, 0).max_new_tokens
    return audit_prompts(
        task,
        partial(render_many, tokenizer=source.tokenizer, task=config.task),
        limit=prompt_limit(config.task, context=context_length(source.model), response_limit=first_limit),
        policy=config.task.long_prompts,
        progress=progress,
    )


def _publish(engine: Engine, workers: Workers, lora: LoraConfig, policy: Policy, version: int) -> None:
    """Hand the policy to the engine; adapters folded in where it does not decode with the trainer's own module."""
    if workers.lockstep or (lora.rank and engine.name != "transformers"):
        engine.load_weights(merged_weights(workers.named_tensors(policy), scale=lora.scale), version=version)
    else:
        engine.update_weights(policy.model, version=version)


def probe_engine(engine: Engine, state: TrainState, tools: StepTools, config: HicraConfig) -> float:
    """Compare the engine's log-probs of a few fresh tokens with the trainer's; EngineError beyond the tolerance."""

    def trainer_logprobs(rollout: Rollout) -> NDArray[np.float32]:
        micro = pack([rollout], tools.layout).micro_batch([0], tools.device)
        with torch.no_grad(), tools.autocast():
            logprobs: Tensor = state.policy(micro).logprobs
        return logprobs.float().cpu().numpy()

    dtype = resolve_dtype(with_engine_dtype(config, on_cpu=tools.device.type == "cpu"), tools.device)
    prompt = tools.task.stream(0, 1, seed=tools.seed)[0]
    request = Request(prompt, tools.render(prompt), (0,))
    return check_probe(
        engine,
        trainer_logprobs,
        request,
        temperature=config.train.sampling.temperature,
        tolerance=config.engine.probe_tolerance or default_tolerance(sixteen_bits=dtype is not torch.float32),
        seed=tools.seed,
    )


def _self_check(
    state: TrainState,
    tools: StepTools,
    config: HicraConfig,
    whole: LoadedPolicy,
    tolerance: float,
    progress: Progress,
) -> None:
    """Batched = single on the model at hand, and trainer = engine, before the first step."""
    prompts = tools.task.stream(0, 4, seed=tools.seed)
    requests = [Request(prompt, tools.render(prompt), (0, 1)) for prompt in prompts]
    short = config.train.sampling.model_copy(update={"max_new_tokens": min(16, config.train.sampling.max_new_tokens)})
    rollouts = tools.engine.generate(requests, short, Draws(tools.seed, "self-check"))
    micro = pack(rollouts, tools.layout).micro_batch(range(len(rollouts)), tools.device)
    with tools.autocast():
        forward = check_forward(whole.model, micro, tolerance=tolerance)
    probe = probe_engine(tools.engine, state, tools, config)
    progress.note(f"self-check: batched = single to {forward:.1e} nats, engine = trainer to {probe:.1e} nats")


def _prepare_model(model: nn.Module, *, checkpointing: bool) -> None:
    """Dropout off: the ratio and the sampler would see different models. Checkpointing on where asked."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if hasattr(module, "attention_dropout"):
            setattr(module, "attention_dropout", 0.0)  # noqa: B010 (a plain float beside Module's typed attributes)
    model.train(checkpointing)
    if checkpointing:
        model.gradient_checkpointing_enable()  # type: ignore[operator]
