"""Build the embedded model from nothing: `python -m hicra_cli.embedded.build --out DIR`.

A tokenizer made of the task's words, a small Qwen3 with random weights, and supervised steps on freshly generated
traces of training problems. Every random choice is a function of the seed, so the same call with the same number of
threads on the same torch gives the same bytes. Afterwards the model is sampled on held-out problems, and its figures
and the recipe are written beside the weights in `hicra.json`.
"""

import argparse
import hashlib
import json
import math
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from hicra_cli.core.records import Prompt
from hicra_cli.core.seeds import generator_for, seed_for
from hicra_cli.embedded.evaluate import Figures, evaluate_countdown, question_ids
from hicra_cli.embedded.tokenizer import build_tokenizer
from hicra_cli.embedded.traces import trace
from hicra_cli.tasks.countdown import CountdownTask

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

MAX_POSITIONS = 4096  # a long benchmark question in single bytes and its answer fit
MAX_NEW_TOKENS = 160
_IGNORED = -100
_ROWS_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything the weights are a function of, besides the code and torch."""

    steps: int = 2500
    traces_per_step: int = 64
    lr: float = 7e-3
    warmup_steps: int = 50
    weight_decay: float = 0.01
    hidden_size: int = 96
    num_layers: int = 3
    num_heads: int = 3
    intermediate_size: int = 256
    seed: int = 0
    threads: int = 1


def main(arguments: list[str] | None = None) -> None:
    options = _parse(arguments)
    recipe = Recipe(steps=options.steps, seed=options.seed, threads=options.threads)
    figures = build(options.out, recipe, problems=options.problems)
    sys.stderr.write(f"{figures}\n")


def build(out: Path, recipe: Recipe, *, problems: int) -> Figures:
    """Train by `recipe`, measure on `problems` held-out problems, save model, tokenizer and `hicra.json` to `out`."""
    torch.set_num_threads(recipe.threads)
    tokenizer = build_tokenizer(model_max_length=MAX_POSITIONS)
    model = new_model(tokenizer, recipe)
    train(model, tokenizer, recipe)
    figures = evaluate_countdown(
        model, tokenizer, problems=problems, samples=4, max_new_tokens=MAX_NEW_TOKENS, seed=recipe.seed
    )
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    _describe(out, recipe, figures)
    return figures


def new_model(tokenizer: "PreTrainedTokenizerFast", recipe: Recipe) -> Any:
    """A Qwen3ForCausalLM with random float32 weights that depend on the seed."""
    from transformers import AutoModelForCausalLM, GenerationConfig, Qwen3Config

    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=recipe.hidden_size,
        intermediate_size=recipe.intermediate_size,
        num_hidden_layers=recipe.num_layers,
        num_attention_heads=recipe.num_heads,
        num_key_value_heads=recipe.num_heads,
        head_dim=recipe.hidden_size // recipe.num_heads,
        max_position_embeddings=MAX_POSITIONS,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        use_cache=True,
        dtype="float32",
    )
    torch.manual_seed(seed_for(recipe.seed, "embedded-init"))
    model = AutoModelForCausalLM.from_config(config)
    model.generation_config = GenerationConfig(
        do_sample=True, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    return model


def train(model: Any, tokenizer: "PreTrainedTokenizerFast", recipe: Recipe) -> None:
    """Supervised steps on fresh traces: linear warm-up, then cosine to a tenth."""
    task = CountdownTask()
    optimizers = _optimizers(model, recipe)
    started = time.monotonic()
    model.train()
    for step in range(recipe.steps):
        rows = _rows(task, tokenizer, step, recipe)
        for optimizer in optimizers:
            optimizer.param_groups[0]["lr"] = recipe.lr * _lr_scale(step, recipe)
            optimizer.zero_grad(set_to_none=True)
        loss = _backward(model, rows, int(tokenizer.pad_token_id))
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        if step % 50 == 0 or step + 1 == recipe.steps:
            seconds = time.monotonic() - started
            sys.stderr.write(f"step {step + 1}/{recipe.steps} loss {loss:.4f} {seconds:.0f} s\n")
    model.eval()


def _optimizers(model: Any, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for the layers' matrices, AdamW for embeddings, head and norms: it needs fewer steps than AdamW alone."""
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        (matrices if parameter.ndim == 2 and ".layers." in name else others).append(parameter)
    return [
        torch.optim.Muon(matrices, lr=recipe.lr, weight_decay=recipe.weight_decay, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=recipe.lr, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def _describe(out: Path, recipe: Recipe, figures: Figures) -> None:
    """Write `hicra.json`: what the weights are, how they were made, what they can do."""
    weights = out / "model.safetensors"
    weights.chmod(0o644)  # written as 0600, which an installed package must not be
    record = {
        "task": "countdown",
        "recipe": asdict(recipe),
        "torch": torch.__version__,
        "weights_sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "held_out": asdict(figures) | {"temperature": 1.0, "max_new_tokens": MAX_NEW_TOKENS},
    }
    (out / "hicra.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def _rows(
    task: CountdownTask, tokenizer: "PreTrainedTokenizerFast", step: int, recipe: Recipe
) -> list[tuple[list[int], list[int]]]:
    """(question ids, answer ids) of one step's traces, the shortest first."""
    count = recipe.traces_per_step
    rows = []
    for index, prompt in enumerate(task.stream(step * count, count, seed=recipe.seed)):
        generator = generator_for(recipe.seed, "embedded-trace", step=step, prompt=prompt.id, sample=index)
        answer = [*tokenizer.encode(_solution(prompt, generator)), int(tokenizer.eos_token_id)]
        rows.append((question_ids(tokenizer, prompt.text), answer))
    return sorted(rows, key=lambda row: len(row[0]) + len(row[1]))


def _backward(model: Any, rows: list[tuple[list[int], list[int]]], pad: int) -> float:
    """Add the gradient of the mean loss per answer token; returns that mean (nats). Cut by length, little padding."""
    num_answer_tokens = sum(len(answer) for _, answer in rows)
    total = 0.0
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        input_ids, labels = _padded(rows[start : start + _ROWS_AT_ONCE], pad)
        hidden = model.model(input_ids=input_ids, use_cache=False).last_hidden_state
        taught = labels != _IGNORED
        loss_sum = nn.functional.cross_entropy(model.lm_head(hidden[taught]), labels[taught], reduction="sum")
        (loss_sum / num_answer_tokens).backward()
        total += loss_sum.item()
    return total / num_answer_tokens


def _padded(rows: list[tuple[list[int], list[int]]], pad: int) -> tuple[Tensor, Tensor]:
    """(input ids, labels), both (rows, longest) int64: labels are the next answer tokens, else ignored.

    Padding is on the right, where causal attention never looks, so no attention mask is needed.
    """
    longest = max(len(question) + len(answer) for question, answer in rows)
    input_ids = torch.full((len(rows), longest), pad)
    labels = torch.full((len(rows), longest), _IGNORED)
    for row, (question, answer) in enumerate(rows):
        end = len(question) + len(answer)
        input_ids[row, :end] = torch.tensor(question + answer)
        labels[row, len(question) - 1 : end - 1] = torch.tensor(answer)
    return input_ids, labels


def _solution(prompt: Prompt, generator: Any) -> str:
    numbers, _, target = prompt.answer.partition(" -> ")
    return trace([int(number) for number in numbers.split()], int(target), generator)


def _lr_scale(step: int, recipe: Recipe) -> float:
    if step < recipe.warmup_steps:
        return (step + 1) / recipe.warmup_steps
    progress = (step - recipe.warmup_steps) / max(1, recipe.steps - recipe.warmup_steps)
    return 0.1 + 0.45 * (1 + math.cos(math.pi * progress))


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    defaults = Recipe()
    parser = argparse.ArgumentParser(prog="python -m hicra_cli.embedded.build", description="Build the embedded model.")
    parser.add_argument("--out", type=Path, required=True, help="Folder for model and tokenizer.")
    parser.add_argument("--steps", type=int, default=defaults.steps, help="Supervised steps (default %(default)s).")
    parser.add_argument("--seed", type=int, default=defaults.seed, help="Seed (default %(default)s).")
    parser.add_argument("--threads", type=int, default=defaults.threads, help="Threads of torch; part of the recipe.")
    parser.add_argument("--problems", type=int, default=512, help="Held-out problems to measure on, 4 samples each.")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
