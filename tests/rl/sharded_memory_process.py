"""Two processes with shards take real updates and tell what they cost: python -m tests.rl.sharded_memory_process JSON

JSON: {"config": Qwen3 sizes, "tokens": of a micro-batch, "keeps_whole": bool}. Prints JSON: predicted bytes of the
update and measured ones of each process, as tests/rl/memory_process.py does for one process.
"""

import json
import sys

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from hicra_cli.config.launch import read_launch
from hicra_cli.core.resident import peak_resident_bytes, resident_bytes
from hicra_cli.rl.activations import trace_model
from hicra_cli.rl.exchange import Board, Exchange
from hicra_cli.rl.memory import Sizes, plan_memory
from hicra_cli.rl.model import Policy
from hicra_cli.rl.objective import Objective, TokenTerms
from hicra_cli.rl.optim import build_optimizer, optimizer_step
from hicra_cli.rl.packing import pack
from hicra_cli.rl.sharded import Sharded
from tests.rl.forks import launch
from tests.rl.models import random_rollouts, tiny_model

SIZE = 2
ROW = 256  # tokens of a sequence, three quarters of them response


def work(case):
    torch.set_num_threads(1)
    mine = read_launch()
    assert mine is not None
    exchange = Exchange(Board(mine), torch.device("cpu"), timeout_s=60)
    workers = Sharded(exchange, compute_dtype=torch.float32, keeps_whole=case["keeps_whole"])
    hf_config = AutoConfig.for_model("qwen3", **case["config"])
    predicted = predict(hf_config, case)
    update(tiny_model(), workers, tokens=64)
    before = resident_bytes()
    update(AutoModelForCausalLM.from_config(hf_config, dtype=torch.float32), workers, tokens=case["tokens"])
    measured = workers.gather(peak_resident_bytes() - before)
    if workers.rank == 0:
        print(json.dumps({"measured": measured, "predicted": predicted}))
    torch.distributed.destroy_process_group()


def predict(hf_config, case):
    full = torch.float32
    traced = trace_model(hf_config, tokens=case["tokens"], stored=full, compute=full, checkpointing=False)
    sizes = Sizes(
        layers=hf_config.num_hidden_layers,
        hidden=hf_config.hidden_size,
        kv_width=hf_config.num_key_value_heads * hf_config.head_dim,
        vocabulary=hf_config.vocab_size,
        rows=0,
        columns=0,
        head_chunk=case["tokens"] * 3 // 4,
        shards=SIZE,
        keeps_whole=case["keeps_whole"],
    )
    return plan_memory(traced, sizes, stored=full, compute=full, on_cpu=True).update


def update(model, workers, *, tokens):
    """Two updates of two micro-batches each: from the second on every buffer that lasts is there."""
    policy = Policy(model.eval(), temperature=1.0, head_chunk=tokens)
    workers.prepare(policy)
    optimizer = build_optimizer(policy.model, lr=1e-4, beta1=0.9, beta2=0.95, weight_decay=0.0)
    row = min(ROW, tokens)
    rollouts = random_rollouts(0, [(row // 4, row - row // 4)] * (2 * tokens // row))
    objective = Objective(lambda logprobs, entropy, terms: -terms.advantages * logprobs, True, False)
    for step in range(2):
        for micro in pack(rollouts).micro_batches(range(len(rollouts)), token_budget=tokens):
            ones = torch.ones(len(micro.targets))
            policy(micro, objective, TokenTerms(ones, ones, ones, None, None, micro.lengths)).loss.backward()
        norm = workers.clip_gradients(policy, max_norm=1.0)
        optimizer_step(optimizer, lr=1e-4, grad_norm=norm, step=step)


if __name__ == "__main__":
    codes = launch(SIZE, lambda: work(json.loads(sys.argv[1])))
    sys.exit(any(codes))
