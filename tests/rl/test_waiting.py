"""How often an update makes the host wait for the device: a fixed number of times, and no more per micro-batch than the
head does, which looks for tokens without a gradient once per chunk. Figures stay on the device until the end.
"""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from hicra_cli.rl.layout import Layout
from hicra_cli.rl.packing import pack
from tests.rl.models import random_rollouts, tiny_model
from tests.rl.updates import learner, learning_batch, train_config, updates

LENGTHS = [(4, 9)] * 8
WAITING = {"_local_scalar_dense", "nonzero", "masked_select", "_unique2"}


class Waits(TorchDispatchMode):
    """Counts calls whose result, or its size, the host needs before it can go on."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        by_mask = name.startswith("index") and len(args) > 1 and isinstance(args[1], list | tuple)
        if name in WAITING or (by_mask and any(each is not None and each.dtype == torch.bool for each in args[1])):
            self.count += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("options", [{}, {"algo": "entropy-reg"}, {"dual_clip": 3.0}, {"loss": "cispo"}])
def test_only_the_head_makes_the_host_wait_within_a_micro_batch(options):
    # 8 rollouts of 12 tokens: rows of 96, 48 and 24 hold 8, 4 and 2 of them, so 1, 2 and 4 micro-batches;
    # on a CPU, where it costs nothing, the head also asks whether the loss is scaled: twice per micro-batch
    one, two, four = (waits(row_tokens, options) for row_tokens in (96, 48, 24))
    assert (two - one, four - one) == (2, 6)


def waits(row_tokens, options):
    """Of one update in packed rows of at most so many tokens."""
    config = train_config(num_prompts=2, group_size=4, **options)
    state, tools = learner(tiny_model(), config)
    rollouts = random_rollouts(0, LENGTHS)
    advantages = torch.from_numpy(np.random.default_rng(0).normal(size=72).astype(np.float32))
    batch = learning_batch(rollouts, advantages, packed=pack(rollouts, Layout(packed=True, row_tokens=row_tokens)))
    with Waits() as counted:
        updates(batch, state, tools, config)
    return counted.count
