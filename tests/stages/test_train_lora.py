"""Training adapters: what is trained, what is stored and published, and that a resumed run is the same run."""

import json
from contextlib import ExitStack, contextmanager

import pytest
import torch
from safetensors.torch import load_file

from hicra_cli.core.errors import Interrupted, UsageError
from hicra_cli.core.progress import SilentDashboard, SilentProgress
from hicra_cli.core.registry import Registry
from hicra_cli.embedded import policy_path
from hicra_cli.engine.policy import load_policy
from hicra_cli.rl.packing import pack
from hicra_cli.stages.base import execute
from hicra_cli.stages.train.run import STAGE
from hicra_cli.stages.train.setup import build_run
from tests.rl.models import random_rollouts
from tests.stages.runs import comparable_steps, digests, small_config

LORA = {"rank": 4, "alpha": 8.0}
SETTINGS = {"algo": "grpo", "lora": LORA, "lr": 3e-3, "warmup_steps": 0}


def outcome(artifact, registry):
    policies = [registry.resolve(each["policy"]) for each in artifact.summary["policies"]]
    return (
        comparable_steps(artifact.path),
        digests(artifact.path, "rollouts/*"),
        [digests(policy.path, "**/*.*") for policy in policies],
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    home = tmp_path_factory.mktemp("lora")
    with Registry.open(home) as registry:
        artifact = execute(STAGE, small_config(home, **SETTINGS), registry, SilentProgress()).artifact
        policies = [registry.resolve(each["policy"]) for each in artifact.summary["policies"]]
        yield artifact, policies, outcome(artifact, registry)


def start_path():
    path = policy_path("nano")
    assert path is not None
    return path


def test_a_published_policy_is_plain_and_equals_the_base_with_its_adapter_on_top(run):
    from peft import PeftModel

    _, policies, _ = run
    base = load_policy(start_path(), dtype=torch.float32).model
    merged = load_policy(policies[-1].path, dtype=torch.float32).model
    assert type(merged) is type(base)
    assert merged.state_dict().keys() == base.state_dict().keys()
    ids = torch.arange(3, 40).reshape(1, -1)
    with torch.no_grad():
        start = base(input_ids=ids).logits
        expected = merged(input_ids=ids).logits
        adapted = PeftModel.from_pretrained(base, policies[-1].path / "adapter")(input_ids=ids).logits
    # A published policy has the precision of its source (bfloat16 here or float32): rounding, not another function.
    tolerance = 1e-4 if base.config.dtype is torch.float32 else 0.05 * float((expected - start).abs().max()) + 0.02
    torch.testing.assert_close(adapted, expected, atol=tolerance, rtol=0)
    assert float((expected - start).abs().max()) > 0
    config = json.loads((policies[-1].path / "adapter" / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["base_model_name_or_path"]) == (4, 8.0, "nano")


def test_weights_without_an_adapter_stay_those_of_the_base(run):
    _, policies, _ = run
    before, after = (load_file(path / "model.safetensors") for path in (start_path(), policies[-1].path))
    changed = {name.rsplit(".", 2)[1] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


def test_engine_and_trainer_agree_on_the_adapted_policy(run):
    artifact, _, _ = run
    for record in comparable_steps(artifact.path):
        assert record["policy/probe_nats"] < 1e-4


def test_four_steps_are_two_and_a_resume_and_two(tmp_path, run):
    config = small_config(tmp_path, **SETTINGS)
    interrupt_after(tmp_path, config, steps=2)
    (checkpoint,) = tmp_path.glob("staging/*/files/checkpoints/step-*")
    stored = load_file(checkpoint / "model.safetensors")
    assert stored
    assert all(".lora_" in name for name in stored)
    with Registry.open(tmp_path) as registry:
        artifact = execute(STAGE, config, registry, SilentProgress(), resume=True).artifact
        assert outcome(artifact, registry) == run[2]


def interrupt_after(home, config, *, steps):
    """Train until the record of step `steps` is written, then as if SIGINT had come."""

    class Stopping(SilentDashboard):
        done = 0

        def advance(self, count=1, *, status=""):
            self.done += count
            if self.done >= steps:
                raise Interrupted("stopped by the test")

    class StoppingProgress(SilentProgress):
        @contextmanager
        def dashboard(self, label, total, *, done=0):
            yield Stopping()

    with Registry.open(home) as registry, pytest.raises(Interrupted):
        execute(STAGE, config, registry, StoppingProgress())


def test_the_reference_of_adapters_is_the_base_without_a_second_copy(tmp_path):
    config = small_config(tmp_path, **SETTINGS, kl_beta=0.1)
    with ExitStack() as stack:
        state, tools, _ = build_run(config, start_path(), start_path(), None, SilentProgress(), stack)
        (micro,) = pack(random_rollouts(0, [(3, 9), (5, 4)])).micro_batches([0, 1], token_budget=4096)
        with torch.no_grad():
            start = state.policy(micro).logprobs
            for name, parameter in state.model.named_parameters():
                if "lora_B" in name:
                    parameter.add_(0.1)
            moved = state.policy(micro).logprobs
            assert tools.reference is not None
            reference = tools.reference(micro).logprobs
    assert torch.equal(reference, start)
    assert not torch.equal(moved, start)


def test_a_run_with_a_reference_reports_a_divergence_that_starts_at_zero(tmp_path):
    config = small_config(tmp_path, **{**SETTINGS, "steps": 3, "kl_beta": 0.01})
    with Registry.open(tmp_path) as registry:
        artifact = execute(STAGE, config, registry, SilentProgress()).artifact
    divergence = [record["policy/kl_nats"] for record in comparable_steps(artifact.path)]
    assert divergence[0] == pytest.approx(0.0, abs=1e-6)
    assert divergence[2] > 0


def test_adapters_in_a_compensated_precision_are_refused(tmp_path):
    with Registry.open(tmp_path) as registry, pytest.raises(UsageError, match="adapters are trained in float32"):
        execute(STAGE, small_config(tmp_path, **SETTINGS, precision="bfloat16-kahan"), registry, SilentProgress())


@pytest.mark.parametrize("precision", ["bfloat16", "bfloat16-kahan"])
def test_training_in_16_bits_moves_the_weights_and_repeats_itself(tmp_path, precision):
    results = []
    for name in ("one", "two"):
        config = small_config(tmp_path / name, algo="grpo", steps=2, lr=1e-3, warmup_steps=0, precision=precision)
        with Registry.open(tmp_path / name) as registry:
            artifact = execute(STAGE, config, registry, SilentProgress()).artifact
            results.append(outcome(artifact, registry))
    assert results[0] == results[1]
    assert all(record["policy/grad_norm"] > 0 for record in results[0][0])
