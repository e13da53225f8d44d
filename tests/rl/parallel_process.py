"""Makes what tests/rl/test_parallel.py looks at, by 2, 4 and 1 processes: python -m tests.rl.parallel_process FOLDER"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from hicra_cli.config.launch import read_launch
from hicra_cli.rl.checkpoint import latest_checkpoint, load_checkpoint, save_checkpoint
from hicra_cli.rl.exchange import Board, Exchange
from hicra_cli.rl.model import Policy
from hicra_cli.rl.objective import Objective, TokenTerms
from hicra_cli.rl.optim import build_optimizer, optimizer_step
from hicra_cli.rl.packing import pack
from hicra_cli.rl.parallel import OneWorker
from hicra_cli.rl.replicated import Replicated
from hicra_cli.rl.sharded import Sharded
from hicra_cli.rl.sharded_checkpoint import load_resharded, save_sharded
from tests.rl.forks import launch
from tests.rl.models import random_rollouts, tiny_model

LENGTHS = [(3, 9), (2, 1), (5, 12), (1, 4), (6, 7), (2, 11), (4, 3)]
CHOSEN = {"uneven": range(7), "fewer-than-workers": [2], "none": []}
OBJECTIVE = Objective(
    lambda logprobs, entropy, terms: terms.weights * (logprobs * terms.advantages - 0.1 * entropy),
    by_token=True,
    with_entropy=True,
)


def work(folder):
    torch.set_num_threads(1)
    mine = read_launch()
    if mine is None:
        alone(folder, OneWorker(torch.device("cpu")))
        return
    exchange = Exchange(Board(mine), torch.device("cpu"), timeout_s=60)
    replicated = Replicated(exchange)
    sharded = Sharded(exchange, compute_dtype=torch.float32)
    kept = Sharded(exchange, compute_dtype=torch.float32, keeps_whole=True)
    assert torch.distributed.get_world_size() == mine.size
    write_gradients(folder, replicated)
    write_update(folder, sharded, "sharded")
    write_update(folder, kept, "kept")
    if mine.size == 2:
        write_held(folder, sharded, "sharded")
        write_held(folder, kept, "kept")
        write_checkpoints(folder, replicated, sharded, kept)
    else:
        write_resumed(folder, sharded, "sharded")
        write_resumed(folder, replicated, "replicated")
    torch.distributed.destroy_process_group()


def alone(folder, workers):
    write_gradients(folder, workers)
    write_update(folder, workers, "alone")
    if (folder / "from-2").is_dir():
        write_resumed(folder, workers, "alone")


def write_gradients(folder, workers):
    """Float64 gradients of each choice of rollouts, as every worker has them after the exchange."""
    for name, chosen in CHOSEN.items():
        policy = policy_of("qwen2-tied", dtype=torch.float64)
        gradient_of(policy, chosen, workers)
        found = {key: each.grad for key, each in policy.named_parameters() if each.grad is not None}
        save_file(found, folder / f"{name}-{workers.size}-{workers.rank}.safetensors")


def write_update(folder, workers, name):
    """The weights after two clipped updates, the second with fewer micro-batches than workers."""
    for kind in ("qwen3", "qwen2-tied"):
        policy, optimizer = prepared(workers, kind)
        norms = [update(policy, optimizer, chosen, workers) for chosen in (CHOSEN["uneven"], [2])]
        weights = whole(policy, workers)
        weights["norms"] = torch.tensor(norms)
        save_file(weights, folder / f"{kind}-{name}-{workers.size}-{workers.rank}.safetensors")


def write_held(folder, workers, name):
    """Bytes of weights in the model's own tensors before, between and after a forward and its backward."""
    policy, optimizer = prepared(workers, "qwen3")
    micro = pack(random_rollouts(3, LENGTHS)).micro_batch([0])
    held = {"before": held_bytes(policy)}
    with torch.no_grad():
        policy(micro)
    held["figures"] = held_bytes(policy)
    forward = policy(micro)
    held["between"] = held_bytes(policy)
    forward.logprobs.sum().backward()
    held["after"] = held_bytes(policy)
    old = whole(policy, workers)
    with torch.no_grad():
        first = policy(micro).logprobs
    optimizer.step()
    with torch.no_grad():
        second = policy(micro).logprobs
    held["moved"] = bool((first != second).any())
    held["renewed"] = any(not torch.equal(old[key], each) for key, each in whole(policy, workers).items())
    (folder / f"held-{name}-{workers.rank}.json").write_text(json.dumps(held))


def held_bytes(policy):
    local = [getattr(each, "_local_tensor", each) for each in policy.parameters()]
    return sum(each.numel() * each.itemsize for each in local)


def write_checkpoints(folder, replicated, sharded, kept):
    """One update, a checkpoint of each layout, one more update: what a resumed run must arrive at."""
    for workers, name in ((replicated, "replicated"), (sharded, "sharded"), (kept, "kept")):
        policy, optimizer = prepared(workers, "qwen2-tied")
        update(policy, optimizer, CHOSEN["uneven"], workers)
        place = folder / "from-2" / name
        if workers.lockstep:
            save_sharded(place, 1, policy.model, optimizer, {"cursor": 7}, workers)
        elif workers.rank == 0:
            save_checkpoint(place, 1, policy.model, optimizer, {"cursor": 7})
        update(policy, optimizer, CHOSEN["uneven"], workers)
        weights = whole(policy, workers)
        if workers.rank == 0:
            save_file(weights, place / "straight.safetensors")
        workers.gather(None)
        write_resumed(folder, workers, name)


def write_resumed(folder, workers, name):
    """Each checkpoint of two processes, taken up by these workers, after the same second update."""
    for layout in ("replicated", "sharded", "kept"):
        place = folder / "from-2" / layout
        if not (place / "step-000001").is_dir():
            continue
        policy, optimizer = prepared(workers, "qwen2-tied", seed=5)
        found = latest_checkpoint(place)
        assert found is not None
        path, state = found
        assert (state["step"], state["cursor"]) == (1, 7)
        if workers.lockstep or layout != "replicated":
            load_resharded(path, policy.model, optimizer)
        else:
            load_checkpoint(path, policy.model, optimizer)
        update(policy, optimizer, CHOSEN["uneven"], workers)
        weights = whole(policy, workers)
        if workers.rank == 0:
            save_file(weights, place / f"resumed-{name}-{workers.size}.safetensors")


def prepared(workers, kind, seed=0):
    policy = policy_of(kind, seed=seed)
    workers.prepare(policy)
    return policy, build_optimizer(policy.model, lr=0.01, beta1=0.9, beta2=0.95, weight_decay=0.1)


def policy_of(kind, dtype=torch.float32, seed=0):
    return Policy(tiny_model(kind, dtype=dtype, seed=seed), temperature=1.0, head_chunk=5)


def update(policy, optimizer, chosen, workers):
    gradient_of(policy, chosen, workers)
    norm = workers.clip_gradients(policy, max_norm=0.5)
    optimizer_step(optimizer, lr=0.01, grad_norm=norm, step=0)
    return norm


def gradient_of(policy, chosen, workers):
    """As in a step: this worker's micro-batches, with empty ones that weigh nothing where all must go in step."""
    packed = pack(random_rollouts(3, LENGTHS))
    generator = torch.Generator().manual_seed(1)
    advantages, weights = torch.randn((2, packed.num_tokens), generator=generator, dtype=torch.float64)
    weights = weights.abs() / packed.num_tokens
    for members in packed.plan(list(chosen), token_budget=24, workers=workers.size)[workers.rank]:
        if not members and not workers.lockstep:
            continue
        micro = packed.micro_batch(members or [1])
        share = weights[micro.flat] if members else torch.zeros(len(micro.flat), dtype=torch.float64)
        terms = TokenTerms(advantages[micro.flat], share, advantages[micro.flat], None, None, micro.lengths)
        policy(micro, OBJECTIVE, terms).loss.backward()
    workers.finish_gradients(policy)


def whole(policy, workers):
    return {name: tensor.detach().clone() for name, tensor in workers.named_tensors(policy)}


if __name__ == "__main__":
    for size in (2, 4, 1):
        codes = launch(size, lambda: work(Path(sys.argv[1])))
        if any(codes):
            sys.exit(f"{size} processes ended with {codes}")
