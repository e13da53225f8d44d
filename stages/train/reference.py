"""The reference policy of the KL term: frozen, in the same layout and precision as the policy that learns."""

from collections.abc import Callable
from pathlib import Path

import torch

from hicra_cli.config.root import HicraConfig
from hicra_cli.core.errors import UsageError
from hicra_cli.engine.policy import LoadedPolicy, load_policy
from hicra_cli.rl.lora import adapters_off
from hicra_cli.rl.model import Forward, Policy
from hicra_cli.rl.packing import MicroBatch

from .precision import stored_dtype

Reference = Callable[[MicroBatch], Forward]


def load_reference(
    config: HicraConfig, source: LoadedPolicy, policy: Policy, path: Path | None, device: torch.device
) -> Reference | None:
    """The frozen reference where there is a KL term (`path` is set), else None.

    A policy with adapters whose reference is where it started needs no second copy: it is its own base. Raises
    UsageError for a reference of another vocabulary.
    """
    if path is None:
        return None
    train = config.train
    if train.lora.rank and train.reference is None:
        return _base_of(policy)
    loaded = load_policy(path, dtype=stored_dtype(train, on_cpu=device.type == "cpu"), device=device)
    require_same_vocabulary(source, loaded)
    loaded.model.requires_grad_(False)
    return Policy(loaded.model, temperature=train.sampling.temperature, head_chunk=train.head_chunk)


def _base_of(policy: Policy) -> Reference:
    # Through the policy's own call, so that a wrapper around it (sharding) sees this use of the weights too.
    def base(micro: MicroBatch) -> Forward:
        with adapters_off(policy):
            seen: Forward = policy(micro)
        return seen

    return base


def require_same_vocabulary(source: LoadedPolicy, reference: LoadedPolicy) -> None:
    """KL compares the two distributions token by token: ids must mean the same."""
    ours, theirs = (each.tokenizer.get_vocab() for each in (source, reference))
    if ours != theirs:
        different = sorted(ours.items() ^ theirs.items())
        raise UsageError(
            f"the reference policy has another vocabulary than the policy: {len(different)} entries differ, first "
            f"{different[0]!r}",
            where=f"train.reference: {reference.path}",
            fix="Use a reference with the policy's own tokenizer, for example the policy that training starts from",
        )
