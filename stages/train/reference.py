"""The reference policy of the KL term: frozen, in the same layout and precision as the policy that learns."""

from pathlib import Path

import torch

from hicra_cli.config.root import HicraConfig
from hicra_cli.core.errors import UsageError
from hicra_cli.engine.policy import LoadedPolicy, load_policy
from hicra_cli.rl.model import Policy


def load_reference(config: HicraConfig, source: LoadedPolicy, path: Path | None, device: torch.device) -> Policy | None:
    """The frozen reference where there is a KL term, else None. Raises UsageError for one of another vocabulary."""
    if path is None:
        return None
    loaded = load_policy(path, dtype=torch.float32, device=device)
    require_same_vocabulary(source, loaded)
    loaded.model.requires_grad_(False)
    train = config.train
    return Policy(loaded.model, temperature=train.sampling.temperature, head_chunk=train.head_chunk)


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
