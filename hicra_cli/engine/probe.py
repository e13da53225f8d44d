"""The check after a weight update: does the engine sample from the weights the trainer has?

An engine with stale or half-loaded weights goes on without a word, and every ratio of the trainer is then wrong. A few
tokens of one fixed prompt show it: their sampler log-probs must be the trainer's own.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from hicra_cli.config.sampling import SamplingConfig
from hicra_cli.core.errors import EngineError
from hicra_cli.core.records import Rollout
from hicra_cli.engine.base import Draws, Engine, Request

TrainerLogprobs = Callable[[Rollout], NDArray[np.float32]]

_TOLERANCE_FLOAT32 = 1e-3
_TOLERANCE_16_BITS = 0.25


def default_tolerance(*, sixteen_bits: bool) -> float:
    """Largest log-prob difference (nats) that rounding explains, where none is configured."""
    return _TOLERANCE_16_BITS if sixteen_bits else _TOLERANCE_FLOAT32


def check_probe(
    engine: Engine,
    trainer_logprobs: TrainerLogprobs,
    request: Request,
    *,
    temperature: float,
    tolerance: float,
    seed: int,
    num_tokens: int = 8,
) -> float:
    """Sample `num_tokens` for one prompt and return the largest |sampler - trainer| log-prob difference in nats.

    trainer_logprobs: given a rollout, the trainer's (N,) float32 log-probs of its tokens at `temperature`. Raises
    EngineError above `tolerance`, and where either side is not finite.
    """
    sampling = SamplingConfig(temperature=temperature, max_new_tokens=num_tokens)
    one = Request(request.prompt, request.token_ids, request.samples[:1])
    (rollout,) = engine.generate([one], sampling, Draws(seed, "probe", engine.version))
    trainer = np.asarray(trainer_logprobs(rollout), dtype=np.float32)
    if trainer.shape != rollout.sampler_logprobs.shape:
        raise ValueError(f"{len(rollout.sampler_logprobs)} tokens were sampled, {trainer.shape} log-probs came back")
    difference = float(np.abs(rollout.sampler_logprobs - trainer).max())
    if not difference <= tolerance:
        raise EngineError(
            f"the {engine.name} engine disagrees with the trainer about weights version {engine.version}: log-probs of "
            f"{len(trainer)} probe tokens differ by up to {difference:.3g} nats, {tolerance:.3g} are allowed",
            where=f"prompt {one.prompt.id!r}",
            fix="Most likely the engine kept older weights or computes in another precision: try `--set "
            "engine.name=transformers`; raise engine.probe_tolerance only where rounding explains the difference.",
        )
    return difference
