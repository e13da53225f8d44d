"""The shipped model: small, untied, loaded like any other, mediocre for strategic reasons; and how it is rebuilt."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from hicra_cli.core.records import FinishReason, Rollout
from hicra_cli.embedded import NANO_PATH, grams_path, policy_path
from hicra_cli.embedded.build import Recipe, build
from hicra_cli.embedded.evaluate import evaluate_countdown, is_careless, question_ids
from hicra_cli.grading.boxed import last_box
from hicra_cli.tasks.countdown import countdown_prompt


def test_the_name_nano_means_the_shipped_folder():
    assert policy_path("nano") == NANO_PATH
    assert policy_path("Qwen/Qwen3-4B-Base") is None
    assert grams_path().is_file()


def test_naming_the_model_loads_no_heavy_library():
    code = "import hicra_cli.embedded as e, sys; e.policy_path('nano'); print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


def test_the_shipped_model_is_small_and_untied():
    model = AutoModelForCausalLM.from_pretrained(NANO_PATH)
    assert model.config.model_type == "qwen3"
    assert model.dtype == torch.float32
    assert sum(parameter.numel() for parameter in model.parameters()) <= 3_000_000
    assert (NANO_PATH / "model.safetensors").stat().st_size <= 6_000_000
    assert not model.config.tie_word_embeddings
    assert model.lm_head.weight.data_ptr() != model.get_input_embeddings().weight.data_ptr()


def test_model_tokenizer_and_generation_settings_fit_each_other():
    config, tokenizer = AutoConfig.from_pretrained(NANO_PATH), AutoTokenizer.from_pretrained(NANO_PATH)
    generation = json.loads((NANO_PATH / "generation_config.json").read_text())
    assert config.vocab_size == len(tokenizer)
    assert config.eos_token_id == generation["eos_token_id"] == tokenizer.eos_token_id
    assert config.max_position_embeddings == tokenizer.model_max_length == 4096


def test_a_long_foreign_question_runs_through_the_model():
    model, tokenizer = AutoModelForCausalLM.from_pretrained(NANO_PATH), AutoTokenizer.from_pretrained(NANO_PATH)
    ids = question_ids(tokenizer, "Find the number of ordered pairs $(x, y)$ of naïve integers. " * 30)
    assert 1500 < len(ids) < 4096
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits
    assert torch.isfinite(logits).all()


def test_greedy_decoding_writes_a_trace():
    model, tokenizer = AutoModelForCausalLM.from_pretrained(NANO_PATH), AutoTokenizer.from_pretrained(NANO_PATH)
    ids = question_ids(tokenizer, countdown_prompt([3, 5, 7], 22).text)
    with torch.no_grad():
        output = model.generate(torch.tensor([ids]), do_sample=False, max_new_tokens=160)[0, len(ids) :]
    assert output[-1] == tokenizer.eos_token_id
    assert last_box(tokenizer.decode(output, skip_special_tokens=True)) is not None


def test_how_the_model_was_built_is_recorded():
    record = json.loads((NANO_PATH / "hicra.json").read_text())
    assert record["recipe"]["seed"] == 0
    assert record["weights_sha256"] == hashlib.sha256((NANO_PATH / "model.safetensors").read_bytes()).hexdigest()
    assert 0.2 <= record["held_out"]["avg_at_k"] <= 0.5
    assert record["held_out"]["careless_fraction_of_failures"] <= 0.2


@pytest.mark.parametrize(
    ("text", "finish_reason", "careless"),
    [
        ("7 * 3 = 21, 21 - 5 = 16. So the answer is \\boxed{(7 * 3) - 5}.", FinishReason.STOP, False),
        ("7 * 3 = 20, 20 + 5 = 25. So the answer is \\boxed{(7 * 3) + 5}.", FinishReason.STOP, True),
        ("7 * 3 = 21, 21 - 5 = 16. So the answer is \\boxed{(7 * 3) + 5}.", FinishReason.STOP, True),
        ("7 * 3 = 21, 21 - 7 = 14. So the answer is \\boxed{(7 * 3) - 7}.", FinishReason.STOP, True),
        ("7 * 3 = 21, 21 - 5 = 16. So the answer is \\boxed{(7 * 3}.", FinishReason.STOP, True),
        ("So the answer is \\boxed{(7 * 3) - 5}.", FinishReason.STOP, True),
        ("7 * 3 = 21, not 22. Let's", FinishReason.LENGTH, False),
        ("7 / 0 = 21, not 22. Let's", FinishReason.LENGTH, True),
        ("I give up.", FinishReason.STOP, True),
    ],
)
def test_a_careless_failure_holds_something_false(text: str, finish_reason: FinishReason, careless: bool):
    nothing = np.zeros(0, np.int32)
    rollout = Rollout(
        countdown_prompt([3, 5, 7], 22), 0, nothing, nothing, text, finish_reason, np.zeros(0, np.float32)
    )
    assert is_careless(rollout) is careless


def test_a_short_build_is_byte_identical_twice(tmp_path: Path):
    recipe = Recipe(steps=3, traces_per_step=8, warmup_steps=2)
    for name in ("one", "two"):
        build(tmp_path / name, recipe, problems=8)
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert files == sorted(path.name for path in NANO_PATH.iterdir())
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name


@pytest.mark.slow
def test_the_shipped_model_solves_a_fifth_to_a_half_and_fails_by_strategy():
    model, tokenizer = AutoModelForCausalLM.from_pretrained(NANO_PATH).eval(), AutoTokenizer.from_pretrained(NANO_PATH)
    figures = evaluate_countdown(model, tokenizer, problems=512, samples=4, max_new_tokens=160, seed=1)
    assert 0.2 <= figures.avg_at_k <= 0.5
    assert figures.careless_fraction_of_failures <= 0.2
