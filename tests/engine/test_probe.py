"""The probe notices an engine that samples from other weights than the trainer's."""

import numpy as np
import pytest
import torch

from hicra_cli.core.errors import EngineError
from hicra_cli.core.records import Rollout
from hicra_cli.engine.probe import TrainerLogprobs, check_probe, default_tolerance
from hicra_cli.engine.transformers_engine import TransformersEngine
from tests.engine.tiny_models import STOP_IDS, full_forward, request_of, tiny_model, tiny_tokenizer


def logprobs_of(model: torch.nn.Module, *, temperature: float = 0.7) -> TrainerLogprobs:
    def trainer_logprobs(rollout: Rollout) -> np.ndarray:
        whole = full_forward(model, rollout.prompt_token_ids, rollout.token_ids, temperature=temperature)
        return whole.gather(1, torch.from_numpy(rollout.token_ids.astype(np.int64))[:, None])[:, 0].float().numpy()

    return trainer_logprobs


def check(trainer: torch.nn.Module, sampler: torch.nn.Module, *, tolerance: float = 1e-3) -> float:
    engine = TransformersEngine(sampler, tiny_tokenizer(), stop_ids=STOP_IDS, version=3)
    return check_probe(
        engine, logprobs_of(trainer), request_of("probe", 9, 1), temperature=0.7, tolerance=tolerance, seed=5
    )


def test_equal_weights_pass_with_the_difference():
    model = tiny_model()
    assert 0 <= check(model, model) < 1e-5


def test_stale_weights_stop_with_version_number_and_cause():
    with pytest.raises(
        EngineError, match=r"weights version 3: log-probs of \d probe tokens differ by up to .* nats"
    ) as caught:
        check(tiny_model(seed=1), tiny_model(seed=2))
    assert caught.value.where == "prompt 'probe'"
    assert "kept older weights" in str(caught.value.fix)


def test_a_tolerance_that_covers_the_difference_passes():
    assert check(tiny_model(seed=1), tiny_model(seed=2), tolerance=100.0) > 1e-3


def test_trainer_log_probs_that_are_not_finite_do_not_pass():
    model = tiny_model()
    engine = TransformersEngine(model, tiny_tokenizer(), stop_ids=STOP_IDS)
    with pytest.raises(EngineError, match="nan"):
        check_probe(
            engine,
            lambda rollout: np.full(len(rollout.token_ids), np.nan, np.float32),
            request_of("probe", 9, 1),
            temperature=1.0,
            tolerance=1.0,
            seed=0,
        )


def test_the_default_tolerance_knows_rounding():
    assert (default_tolerance(sixteen_bits=False), default_tolerance(sixteen_bits=True)) == (1e-3, 0.25)
