"""Measures what training data and a user's reward cost: rendering in batches, and calls through a worker.

    python -m tests.benchmarks.bench_prompts TRAIN.jsonl [--prompts 17000] [--calls 2000]

Prints ratios of one run: rendering the prompts one by one to rendering them as the length audit does (a byte-level BPE
tokenizer of 32,000 tokens trained on the file, a chat template with a system message), and a reward function of some
30 microseconds called through a worker process to calling it here. Texts are the file's, repeated to the number asked.
"""

import argparse
import json
import tempfile
import time
from functools import partial
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from hicra_cli.config.task import TaskConfig
from hicra_cli.core.progress import SilentProgress
from hicra_cli.core.records import Prompt
from hicra_cli.grading.rewards import RewardCall, RewardPool
from hicra_cli.stages.train.audit import audit_prompts
from hicra_cli.tasks.countdown import CountdownTask
from hicra_cli.tasks.prompts import render, render_many

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
REWARD = "def score(prompt, response, answer, metadata, truncated):\n    return float(response.count('a') % 7 == 0)\n"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("data", type=Path)
    arguments.add_argument("--prompts", type=int, default=17_000)
    arguments.add_argument("--calls", type=int, default=2_000)
    options = arguments.parse_args()
    texts = [json.loads(line)["problem"] for line in options.data.read_text(encoding="utf-8").split("\n") if line]
    measure_rendering((texts * (options.prompts // len(texts) + 1))[: options.prompts], tokenizer_of(texts))
    measure_calls((texts * (options.calls // len(texts) + 1))[: options.calls])


def measure_rendering(texts: list[str], tokenizer: PreTrainedTokenizerFast) -> None:
    prompts = [Prompt(str(place), text, "") for place, text in enumerate(texts)]
    config = TaskConfig(kind="maths", system_prompt="Reason step by step.")
    start = time.perf_counter()
    one_by_one = [len(render(prompt, tokenizer, config)) for prompt in prompts]
    single_s = time.perf_counter() - start

    class Listed(CountdownTask):
        def problems(self) -> list[Prompt]:
            return prompts

    many = partial(render_many, tokenizer=tokenizer, task=config)
    start = time.perf_counter()
    audit = audit_prompts(Listed(), many, limit=None, policy="error", progress=SilentProgress())
    audit_s = time.perf_counter() - start
    assert audit.max_tokens == max(one_by_one)
    print(f"{len(prompts):,} prompts, median {audit.p50} tokens: one by one {single_s:.1f} s, audit {audit_s:.1f} s")
    print(f"  ratio {single_s / audit_s:.1f}")


def measure_calls(texts: list[str]) -> None:
    calls = [RewardCall(str(place), "q", text * 10, "1", truncated=False) for place, text in enumerate(texts)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "own.py"
        path.write_text(REWARD)
        with RewardPool(TaskConfig(reward=f"{path}:score")) as pool:
            pool.verdicts(calls[:50])
            start = time.perf_counter()
            rewards = [verdict.reward for verdict in pool.verdicts(calls)]
            pool_s = time.perf_counter() - start
    start = time.perf_counter()
    direct = [float(call.response.count("a") % 7 == 0) for call in calls]
    direct_s = time.perf_counter() - start
    assert rewards == direct
    added = (pool_s - direct_s) / len(calls) * 1e6
    print(f"{len(calls):,} calls: {pool_s / len(calls) * 1e6:.0f} us each through a worker, {added:.0f} us of it added")


def tokenizer_of(texts: list[str]) -> PreTrainedTokenizerFast:
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    special = ["<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(vocab_size=32_000, special_tokens=special, show_progress=False)
    backend.train_from_iterator(texts, trainer)
    made = PreTrainedTokenizerFast(tokenizer_object=backend)
    made.chat_template = TEMPLATE
    return made


if __name__ == "__main__":
    main()
