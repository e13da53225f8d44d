"""A process that takes real updates of a random model and tells what they cost: python -m tests.rl.memory_process JSON

JSON: {"config": Qwen3 sizes, "tokens": of a micro-batch, "checkpointing": bool, "head_chunk": rows, "stored": dtype,
"compute": dtype, "lora_rank": int}. Prints JSON: measured (growth of the resident set over its size before the model,
at its highest), predicted (bytes), model and update seconds aside. Linux counts the highest resident set since the
process began, so the process warms up small.
"""

import json
import sys

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from hicra_cli.core.resident import peak_resident_bytes, resident_bytes
from hicra_cli.rl.activations import trace_model
from hicra_cli.rl.lora import add_adapters
from hicra_cli.rl.memory import Sizes, plan_memory
from hicra_cli.rl.model import Policy
from hicra_cli.rl.objective import Objective, TokenTerms
from hicra_cli.rl.optim import build_optimizer, clip_gradients, optimizer_step
from hicra_cli.rl.packing import pack
from tests.rl.models import random_rollouts, tiny_model

ROW = 256  # tokens of a sequence, three quarters of them response


def main() -> None:
    case = json.loads(sys.argv[1])
    stored, compute = getattr(torch, case["stored"]), getattr(torch, case["compute"])
    torch.set_num_threads(1)
    hf_config = AutoConfig.for_model("qwen3", **case["config"])
    predicted = predict(hf_config, case, stored, compute)
    update(tiny_model(dtype=stored), {**case, "tokens": 64}, compute)
    before = resident_bytes()
    model = AutoModelForCausalLM.from_config(hf_config, dtype=stored)
    update(model, case, compute)
    peak = peak_resident_bytes()
    print(json.dumps({"measured": peak - before, "predicted": predicted.update, "parts": parts(predicted)}))


def predict(hf_config, case, stored, compute):
    traced = trace_model(
        hf_config,
        tokens=case["tokens"],
        stored=stored,
        compute=compute,
        checkpointing=case["checkpointing"],
        lora_rank=case["lora_rank"],
    )
    sizes = Sizes(
        layers=hf_config.num_hidden_layers,
        hidden=hf_config.hidden_size,
        kv_width=hf_config.num_key_value_heads * hf_config.head_dim,
        vocabulary=hf_config.vocab_size,
        rows=0,
        columns=0,
        head_chunk=min(case["head_chunk"], case["tokens"] * 3 // 4),
    )
    return plan_memory(traced, sizes, stored=stored, compute=compute, on_cpu=True)


def parts(plan):
    return {
        "weights": plan.weights,
        "gradients": plan.gradients,
        "optimizer": plan.optimizer,
        "activations": plan.activations,
        "kept": plan.kept_activations,
        "head": plan.head,
    }


def update(model, case, compute) -> None:
    """Two updates of two micro-batches each: from the second on every buffer that lasts is there."""
    if case["lora_rank"]:
        add_adapters(model, rank=case["lora_rank"], alpha=8.0, targets=["all-linear"], seed=0)
    model.train(case["checkpointing"])
    if case["checkpointing"]:
        model.gradient_checkpointing_enable()
    policy = Policy(model, temperature=1.0, head_chunk=case["head_chunk"])
    optimizer = build_optimizer(model, lr=1e-4, beta1=0.9, beta2=0.95, weight_decay=0.0)
    row = min(ROW, case["tokens"])
    rollouts = random_rollouts(0, [(row // 4, row - row // 4)] * (2 * case["tokens"] // row))
    objective = Objective(lambda logprobs, entropy, terms: -terms.advantages * logprobs, True, False)
    for step in range(2):
        for micro in pack(rollouts).micro_batches(range(len(rollouts)), token_budget=case["tokens"]):
            ones = torch.ones(len(micro.targets))
            terms = TokenTerms(ones, ones, ones, None, None, micro.lengths)
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=compute is torch.bfloat16):
                seen = policy(micro, objective, terms)
            seen.loss.backward()
        optimizer_step(optimizer, lr=1e-4, grad_norm=clip_gradients(model, max_norm=1.0), step=step)


if __name__ == "__main__":
    main()
