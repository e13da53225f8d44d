"""In which precision a run computes and stores its weights. One place, so that plan and run agree."""

import torch

from hicra_cli.config.root import HicraConfig
from hicra_cli.config.train import TrainConfig
from hicra_cli.core.errors import UsageError


def compute_dtype(train: TrainConfig, *, on_cpu: bool) -> torch.dtype:
    """The precision of matrix products: float32 or bfloat16."""
    if train.precision == "auto":
        return torch.float32 if on_cpu else torch.bfloat16
    return torch.float32 if train.precision == "float32" else torch.bfloat16


def stored_dtype(train: TrainConfig, *, on_cpu: bool) -> torch.dtype:
    """The precision in which the policy's weights lie in memory (adapters are float32 in any case).

    Raises UsageError for adapters with `bfloat16-kahan`, which would have no effect on them.
    """
    if train.lora.rank and train.precision == "bfloat16-kahan":
        raise UsageError(
            "bfloat16-kahan is about training all weights; adapters are trained in float32",
            where="train.precision",
            fix="Use `bfloat16` with adapters: the frozen base then lies in bfloat16",
        )
    if train.lora.rank:  # frozen weights need no more digits than are computed with
        return compute_dtype(train, on_cpu=on_cpu)
    return torch.bfloat16 if train.precision == "bfloat16-kahan" else torch.float32


def with_engine_dtype(config: HicraConfig, *, on_cpu: bool) -> HicraConfig:
    """An engine that decodes with the trainer's own module computes as the trainer does, unless told otherwise."""
    if config.engine.dtype != "auto" or config.engine.name != "transformers":
        return config
    name = str(compute_dtype(config.train, on_cpu=on_cpu)).removeprefix("torch.")
    return config.model_copy(update={"engine": config.engine.model_copy(update={"dtype": name})})
