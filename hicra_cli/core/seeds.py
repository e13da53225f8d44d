"""All randomness is a pure function of (seed, purpose, step, prompt, sample): nothing needs to be replayed."""

import hashlib

import numpy as np
from numpy.typing import NDArray


def seed_for(seed: int, purpose: str, *, step: int = 0, prompt: str = "", sample: int = 0) -> int:
    """A 63-bit seed for one purpose. Equal arguments give the same number on every machine and Python.

    The parts are joined by a character that none of them can contain in full, so that ("a", "bc") and ("ab", "c")
    differ.
    """
    parts = "\x1f".join((str(seed), purpose, str(step), repr(prompt), str(sample)))
    return int.from_bytes(hashlib.blake2b(parts.encode(), digest_size=8).digest(), "big") >> 1


def generator_for(seed: int, purpose: str, *, step: int = 0, prompt: str = "", sample: int = 0) -> np.random.Generator:
    """A numpy generator (Philox, counter based) for `seed_for` of the same arguments."""
    return np.random.Generator(np.random.Philox(seed_for(seed, purpose, step=step, prompt=prompt, sample=sample)))


def uniforms_for(
    count: int, seed: int, purpose: str, *, step: int = 0, prompt: str = "", sample: int = 0
) -> NDArray[np.float64]:
    """(count,) float64 in [0, 1): position t of the result belongs to position t of the sample, whatever `count`."""
    return generator_for(seed, purpose, step=step, prompt=prompt, sample=sample).random(count)
