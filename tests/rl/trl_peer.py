"""A real TRL GRPOTrainer on a given batch: its loss, its gradients, its updates.

TRL sees (B, T) tensors: prompts padded on the left, completions on the right, cut into micro-batches of equal numbers
of rows. Nothing of TRL is replaced; only the tensors that it would have made by sampling are handed to it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hicra_cli.core.records import Prompt, Rollout


def trl_trainer(
    model: Any,
    tokenizer: Any,
    folder: Path,
    *,
    prompts: Sequence[Prompt] = (),
    reward: Callable[..., list[float]] | None = None,
    **settings: Any,
) -> Any:
    """A GRPOTrainer around `model` itself, on CPU in the model's precision unless `settings` say otherwise.

    prompts, reward: for a trainer that samples; others are handed their batch. settings: of GRPOConfig;
    per_device_train_batch_size is the rows of a micro-batch.
    """
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    defaults: dict[str, Any] = {
        "output_dir": str(folder), "report_to": [], "bf16": False, "use_cpu": True, "disable_tqdm": True,
        "save_strategy": "no", "logging_strategy": "no", "lr_scheduler_type": "constant", "max_grad_norm": 1e9,
        "dataloader_pin_memory": False,
    }  # fmt: skip
    rows = [{"prompt": each.text, "answer": each.answer} for each in prompts]
    trainer = GRPOTrainer(
        model=model,
        reward_funcs=reward or _no_reward,
        args=GRPOConfig(**defaults | settings),
        train_dataset=Dataset.from_list(rows or [{"prompt": "w5 w6", "answer": ""}] * 8),
        processing_class=tokenizer,
    )
    trainer.current_gradient_accumulation_steps = trainer.args.gradient_accumulation_steps
    model.train()
    return trainer


def load_model(folder: Path) -> Any:
    """A float32 model from a HF directory, where TRL finds its reference model too."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


@dataclass(frozen=True, slots=True)
class PeerBatch:
    """Rollouts and (N,) figures of their response tokens in the order of the rollouts; None where TRL has no use for
    them. counted: (B,) bool, False where TRL masks a truncated completion.
    """

    rollouts: Sequence[Rollout]
    token_advantages: Tensor
    old_logprobs: Tensor | None = None
    ref_logprobs: Tensor | None = None
    importance: Tensor | None = None
    counted: Tensor | None = None

    @property
    def response_mask(self) -> Tensor:
        """(B, T) bool."""
        lengths = torch.tensor([len(each.token_ids) for each in self.rollouts])
        return torch.arange(int(lengths.max())) < lengths[:, None]

    def padded(self, values: Tensor) -> Tensor:
        """(N,) → (B, T), zeros on the right."""
        mask = self.response_mask
        return torch.zeros(mask.shape, dtype=values.dtype).masked_scatter(mask, values)

    def inputs(self) -> dict[str, Tensor]:
        """What TRL's `_generate_and_score_completions` would return."""
        prompts = [each.prompt_token_ids for each in self.rollouts]
        width = max(map(len, prompts))
        rows = [np.pad(each, (width - len(each), 0)) for each in prompts]
        prompt_mask = [np.pad(np.ones(len(each)), (width - len(each), 0)) for each in prompts]
        mask = self.response_mask.long()
        if self.counted is not None:
            mask = mask * self.counted[:, None]
        tokens = torch.from_numpy(np.concatenate([each.token_ids for each in self.rollouts]).astype(np.int64))
        optional = {
            "old_per_token_logps": self.old_logprobs,
            "ref_per_token_logps": self.ref_logprobs,
            "importance_sampling_ratio": self.importance,
        }
        return {
            "prompt_ids": torch.from_numpy(np.stack(rows).astype(np.int64)),
            "prompt_mask": torch.from_numpy(np.stack(prompt_mask).astype(np.int64)),
            "completion_ids": self.padded(tokens),
            "completion_mask": mask,
            "advantages": self.padded(self.token_advantages),
            **{name: self.padded(values) for name, values in optional.items() if values is not None},
        }


def peer_micro_batches(trainer: Any, batch: PeerBatch) -> Iterator[dict[str, Tensor]]:
    """The inputs of TRL's accumulation steps, in order; each counts the tokens of them all."""
    inputs = batch.inputs()
    rows = trainer.args.per_device_train_batch_size
    count = inputs["completion_mask"].sum()
    for start in range(0, len(batch.rollouts), rows):
        yield {name: values[start : start + rows] for name, values in inputs.items()} | {"num_items_in_batch": count}


def peer_loss(trainer: Any, batch: PeerBatch) -> float:
    """TRL's loss, summed over the accumulation steps, with its gradient left in the model's parameters."""
    trainer.model.zero_grad(set_to_none=True)
    total = 0.0
    for inputs in peer_micro_batches(trainer, batch):
        loss = trainer._compute_loss(trainer.model, inputs)
        loss.backward()
        total += float(loss.detach())
    return total


def peer_logprobs(trainer: Any, model: Any, batch: PeerBatch) -> Tensor:
    """(N,) log-probs of the response tokens by TRL's own forward pass through `model`."""
    inputs = batch.inputs()
    with torch.no_grad():
        logprobs, _, _ = trainer._get_per_token_logps_and_entropies(
            model,
            torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1),
            torch.cat([inputs["prompt_mask"], batch.response_mask.long()], dim=1),
            inputs["completion_ids"].shape[1],
        )
    found: Tensor = logprobs[batch.response_mask]
    return found


def _no_reward(completions: list[str], **_: Any) -> list[float]:
    return [0.0] * len(completions)
