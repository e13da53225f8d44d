"""The memory plan of a run: read from a policy's folder alone, told before the first step, compared after it."""

import json

import pytest
import torch

from hicra_cli.config.root import HicraConfig
from hicra_cli.core.progress import SilentProgress
from hicra_cli.core.registry import Registry
from hicra_cli.embedded import policy_path
from hicra_cli.stages.base import execute
from hicra_cli.stages.train import plan as plans
from hicra_cli.stages.train.plan import (
    Machine,
    MemoryLines,
    Team,
    available_memory,
    count_parameters,
    describe_memory,
    plan_run,
    wants_checkpointing,
)
from hicra_cli.stages.train.run import STAGE
from tests.stages.runs import small_config


def nano():
    path = policy_path("nano")
    assert path is not None
    return path


def configured(**train):
    return HicraConfig.model_validate({"device": "cpu", "train": train})


def plan_of(config, total=64 << 30, **options):
    plan = plan_run(nano(), config, Machine(True, total), longest_prompt=40, **options)
    assert not isinstance(plan, str)
    return plan


def test_the_plan_counts_the_parameters_of_the_files():
    plan = plan_of(configured())
    # float32 weights and gradients, two float32 moments
    count = count_parameters(nano())
    assert (plan.memory.weights, plan.memory.gradients, plan.memory.optimizer) == (4 * count, 4 * count, 8 * count)


def test_memory_grows_with_the_token_budget():
    budgets = (1024, 2048, 4096, 8192)
    peaks = [plan_of(configured(token_budget=budget, layout="padded")).memory.update for budget in budgets]
    assert peaks == sorted(peaks)
    assert peaks[-1] > 2 * peaks[0]


def test_packed_rows_of_a_small_model_are_planned_as_short_as_they_are_cut_on_cpu():
    config = configured(token_budget=8192)
    assert plan_of(config).tokens == 384
    assert plan_run(nano(), config, Machine(True, None), longest_prompt=150).tokens == 4 * 150
    assert plan_run(nano(), config, Machine(False, None)).tokens == 8192


def test_a_sequence_longer_than_the_budget_decides_the_micro_batch():
    config = configured(token_budget=64, sampling={"max_new_tokens": 200})
    assert plan_of(config).tokens == 240
    few = configured(num_prompts=1, group_size=2, sampling={"max_new_tokens": 60})
    assert plan_of(few).tokens == 2 * 100  # more than the step has cannot come together


def test_auto_recomputes_activations_only_where_the_run_would_not_fit():
    roomy = plan_of(configured())
    assert not roomy.checkpointing
    without = roomy.memory.peak
    tight = plan_of(configured(), total=int(without / 0.8) - (1 << 20))
    assert tight.checkpointing
    assert tight.memory.update < roomy.memory.update
    assert "without it" in tight.reason
    assert not plan_of(configured(), total=int(without / 0.8) + (1 << 20)).checkpointing
    assert plan_of(configured(gradient_checkpointing=True)).checkpointing
    assert not plan_of(configured(gradient_checkpointing=False), total=1).checkpointing


def test_a_reference_costs_its_weights_unless_adapters_make_it_the_base():
    full = plan_of(configured(kl_beta=0.1)).memory
    assert full.reference == full.weights
    assert plan_of(configured(kl_beta=0.1, lora={"rank": 4})).memory.reference == 0


def test_shards_take_less_and_their_engine_a_copy():
    alone, sharded = plan_of(configured()).memory, plan_of(configured(), team=Team(4, 4)).memory
    assert sharded.optimizer == alone.optimizer // 4
    assert sharded.engine == 4 * count_parameters(nano())
    assert alone.engine == 0


def test_shards_that_are_kept_whole_take_more_of_weights_alone():
    freed, kept = (plan_of(configured(), team=Team(4, 4, keeps)).memory for keeps in (False, True))
    assert kept.weights > freed.weights
    assert (kept.gradients, kept.optimizer, kept.engine) == (freed.gradients, freed.optimizer, freed.engine)


def test_a_dry_run_tells_every_part_and_the_decision(tmp_path):
    lines = describe_memory(nano(), configured(token_budget=1024, layout="padded"))
    assert lines["parameters"] == f"{count_parameters(nano()):,}"
    assert lines["micro-batch"] == "1,024 tokens"
    assert lines["gradient checkpointing"].startswith("off: ")
    assert {"memory, weights", "memory, optimizer", "memory, activations of a micro-batch", "memory, peak"} <= set(
        lines
    )
    assert dict(MemoryLines(nano(), configured(token_budget=1024, layout="padded"))).keys() == lines.keys()


def test_what_cannot_be_planned_says_why_and_recomputes(tmp_path):
    assert "no safetensors" in describe_memory(tmp_path, configured())["memory"]
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "unheard-of"}))
    reason = plan_run(tmp_path, configured(), Machine(True, 1 << 30))
    assert isinstance(reason, str)
    assert "config.json cannot be read" in reason
    assert wants_checkpointing(reason, configured().train)
    assert not wants_checkpointing(reason, configured(gradient_checkpointing=False).train)


def test_main_memory_is_what_is_free():
    assert 1 << 28 < available_memory() < 1 << 44


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_here_has_a_plan_of_unknown_size():
    config = HicraConfig.model_validate({"device": "cuda"})
    machine = plans.this_machine(config)
    assert machine == Machine(on_cpu=False, total=None)
    plan = plan_run(nano(), config, machine)
    assert not isinstance(plan, str)
    assert not plan.checkpointing


def test_a_run_tells_predicted_and_measured_memory_and_records_both(tmp_path):
    class Noting(SilentProgress):
        def note(self, text):
            notes.append(text)

    notes: list[str] = []
    with Registry.open(tmp_path) as registry:
        artifact = execute(STAGE, small_config(tmp_path, steps=1), registry, Noting()).artifact
    (record,) = [json.loads(line) for line in (artifact.path / "steps.jsonl").read_text().splitlines()]
    assert record["memory/peak_bytes"] > 0
    assert record["memory/predicted_bytes"] > 0
    told = [each for each in notes if each.startswith("memory")]
    assert len(told) == 2
    assert "gradient checkpointing off" in told[0]
    assert "measured after a step" in told[1]


def test_a_run_with_recomputed_activations_has_the_same_weights(tmp_path):
    digests = []
    for switch in (False, True):
        config = small_config(tmp_path / str(switch), steps=2, gradient_checkpointing=switch)
        with Registry.open(config.home) as registry:
            artifact = execute(STAGE, config, registry, SilentProgress()).artifact
            policy = registry.resolve(artifact.summary["policies"][-1]["policy"])
            digests.append((policy.path / "model.safetensors").read_bytes())
    assert digests[0] == digests[1]
