"""What the memory plan says, against hand counts and against what a process really takes."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from hicra_cli.rl.activations import AliveBytes, trace_model
from hicra_cli.rl.memory import Sizes, cache_bytes, gib, head_bytes, plan_memory
from tests.rl.models import CONFIGS

NANO = {
    "vocab_size": 550,
    "hidden_size": 128,
    "intermediate_size": 384,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": False,
}
QWEN3_4B = {
    "vocab_size": 151936,
    "hidden_size": 2560,
    "intermediate_size": 9728,
    "num_hidden_layers": 36,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "max_position_embeddings": 40960,
    "tie_word_embeddings": True,
}
SIZES_4B = Sizes(
    layers=36, hidden=2560, kv_width=1024, vocabulary=151936, rows=256, columns=4608, head_chunk=4096, shards=1
)


def traced(config=NANO, *, tokens=1024, checkpointing=False, stored=torch.float32, compute=torch.float32, rank=0):
    return trace_model(
        AutoConfig.for_model("qwen3", **config),
        tokens=tokens,
        stored=stored,
        compute=compute,
        checkpointing=checkpointing,
        lora_rank=rank,
    )


def test_the_weights_of_qwen3_4b_by_hand():
    # embedding 151936 * 2560 = 388,956,160 (tied). A layer: q and o 2 * 2560 * 4096, k and v 2 * 2560 * 1024,
    # mlp 3 * 2560 * 9728, norms 2 * 2560 + 2 * 128: 100,930,816. 36 of them, a last norm of 2560: 4,022,468,096.
    model = traced(QWEN3_4B, tokens=64)
    assert model.parameters == model.trained == 4_022_468_096
    plan = plan_memory(model, SIZES_4B, stored=torch.float32, compute=torch.bfloat16, on_cpu=False)
    assert (plan.weights, plan.gradients, plan.optimizer) == tuple(factor * 4_022_468_096 for factor in (4, 4, 8))


def test_compensated_bfloat16_takes_ten_bytes_a_weight():
    model = traced(stored=torch.bfloat16, compute=torch.bfloat16)
    plan = plan_memory(model, SIZES_4B, stored=torch.bfloat16, compute=torch.bfloat16, on_cpu=False)
    # weight 2, gradient 2, two moments and a remainder 6
    assert plan.weights + plan.gradients + plan.optimizer == 10 * model.parameters


def test_adapters_have_gradients_and_moments_and_the_base_has_none():
    model = traced(stored=torch.bfloat16, compute=torch.bfloat16, rank=2)
    plan = plan_memory(model, SIZES_4B, stored=torch.bfloat16, compute=torch.bfloat16, on_cpu=False)
    # rank 2, per layer: (in + out) * 2 for q 128+128, k and v 128+64, o 128+128, gate and up 128+384, down 384+128
    assert model.trained == 4 * 2 * (256 + 2 * 192 + 256 + 3 * 512)
    assert (plan.gradients, plan.optimizer) == (4 * model.trained, 8 * model.trained)
    assert plan.weights == 4 * model.trained + 2 * (model.parameters - model.trained)


def test_keys_and_values_of_qwen3_4b_by_hand():
    # 36 layers * 2 (keys, values) * 8 heads * 128 * 2 bytes = 147,456 bytes a token, for 256 rows of 4608 tokens
    assert cache_bytes(SIZES_4B, itemsize=2) == 147_456 * 256 * 4608


def test_the_head_on_a_gpu_by_hand():
    # 4096 tokens * 151936 words * (4 + 4 + 2) bytes, a bfloat16 copy of the weight, twice its float32 gradient
    found = head_bytes(SIZES_4B, stored=torch.float32, compute=torch.bfloat16, trained=True, on_cpu=False)
    assert found == 4096 * 151936 * 10 + 151936 * 2560 * (2 + 8)


def test_shards_divide_weights_gradients_and_moments():
    model = traced()
    small = replace(SIZES_4B, layers=4, hidden=128, vocabulary=550)
    alone = plan_memory(model, small, stored=torch.float32, compute=torch.float32, on_cpu=False)
    four = plan_memory(model, replace(small, shards=4), stored=torch.float32, compute=torch.float32, on_cpu=False)
    assert four.gradients == alone.gradients // 4
    assert four.optimizer == alone.optimizer // 4
    # whole embedding and head, and two of four layers, are gathered beside a quarter of all
    ends = 2 * 550 * 128 * 4
    assert four.weights == alone.weights // 4 + ends + 2 * (alone.weights - ends) // 4


def test_shards_that_are_kept_whole_take_the_room_of_a_copy_in_the_compute_precision():
    model = traced(compute=torch.bfloat16)
    small = replace(SIZES_4B, layers=4, hidden=128, vocabulary=550, shards=4)
    freed, kept = (
        plan_memory(
            model, replace(small, keeps_whole=keeps), stored=torch.float32, compute=torch.bfloat16, on_cpu=False
        )
        for keeps in (False, True)
    )
    assert (
        (kept.gradients, kept.optimizer)
        == (freed.gradients, freed.optimizer)
        == (model.parameters, 2 * model.parameters)
    )
    # a quarter of 4 bytes a weight, all of them in 2 bytes, and the buffer of one of four layers, 2 bytes a weight
    layer = 2 * (model.parameters - 2 * 550 * 128) // 4
    assert kept.weights == model.parameters + 2 * model.parameters + layer


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_trace_equals_the_tensors_of_a_real_pass(kind, checkpointing):
    config = CONFIGS[kind]()
    tokens = 96
    found = trace_model(config, tokens=tokens, stored=torch.float32, compute=torch.float32, checkpointing=checkpointing)
    model = AutoModelForCausalLM.from_config(config).train(checkpointing)
    if checkpointing:
        model.gradient_checkpointing_enable()
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    gradients = [each.grad for each in model.parameters()]
    with AliveBytes([*model.parameters(), *model.buffers(), *gradients]) as alive:
        states = model.base_model(input_ids=torch.zeros(1, tokens, dtype=torch.int64), use_cache=False)[0]
        kept = alive.now
        states.backward(torch.ones_like(states))
    assert found.kept_bytes == pytest.approx(kept, rel=0.05)
    assert found.peak_bytes == pytest.approx(alive.peak, rel=0.1)


def test_activations_grow_linearly_with_tokens_and_checkpointing_keeps_few():
    small, large = traced(tokens=1024), traced(tokens=4096)
    assert large.kept_bytes == pytest.approx(4 * small.kept_bytes, rel=0.01)
    assert large.peak_bytes == pytest.approx(4 * small.peak_bytes, rel=0.01)
    assert traced(tokens=4096, checkpointing=True).kept_bytes < large.kept_bytes / 5


def test_sizes_are_told_in_readable_units():
    assert (gib(3 * 2**29), gib(5 * 2**20)) == ("1.50 GiB", "5 MiB")


@pytest.mark.slow
@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_real_update_takes_what_was_predicted(checkpointing):
    require_prediction(NANO, tokens=4096, checkpointing=checkpointing)


@pytest.mark.slow
@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_real_update_over_a_large_vocabulary_takes_what_was_predicted(checkpointing):
    require_prediction({**NANO, "vocab_size": 151936}, tokens=2048, checkpointing=checkpointing)


@pytest.mark.slow
@pytest.mark.parametrize("keeps_whole", [False, True])
def test_real_updates_with_shards_take_what_was_predicted(keeps_whole):
    sizes = {"hidden_size": 512, "intermediate_size": 1536, "num_hidden_layers": 8, "vocab_size": 8000}
    case = {"config": {**NANO, **sizes}, "tokens": 512, "keeps_whole": keeps_whole}
    found = json.loads(run("tests.rl.sharded_memory_process", case, mmap_from=1 << 16)[-1])
    assert found["measured"] == pytest.approx([found["predicted"]] * 2, rel=0.1)


def require_prediction(config, *, tokens, checkpointing):
    """A resident set is only ever too large: a busy machine keeps freed pages for a while (three tries), and the heap
    keeps holes, which weigh most where little is alive: with checkpointing 0.74 to 1.01 were seen.
    """
    ratios = []
    for _ in range(3):
        measured, predicted = measure(config, tokens=tokens, checkpointing=checkpointing)
        ratios.append(predicted / measured)
        if 0.7 < ratios[-1] < 1.5:
            return
    pytest.fail(f"predicted over measured: {ratios}")


def measure(config, *, tokens, checkpointing):
    """Bytes of the update in a process of its own, whose heap keeps no holes."""
    case = {"config": config, "tokens": tokens, "checkpointing": checkpointing, "head_chunk": 512}
    case |= {"stored": "float32", "compute": "float32", "lora_rank": 0}
    found = json.loads(run("tests.rl.memory_process", case, mmap_from=1 << 20)[-1])
    return found["measured"], found["predicted"]


def run(module, case, *, mmap_from):
    """The lines that a module prints of a case. mmap_from: bytes of an allocation beyond which no hole can stay."""
    done = subprocess.run(
        [sys.executable, "-m", module, json.dumps(case)],
        capture_output=True,
        text=True,
        timeout=1500,
        env={**os.environ, "MALLOC_MMAP_THRESHOLD_": str(mmap_from)},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()
