"""How a run lays out its micro-batches: padded rows or one packed row, with or without shared prompts. Chosen once."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from hicra_cli.core.errors import TrainingError
from hicra_cli.rl.balance import TokenCost, cost_of

# Gathering the prompt's keys per response costs too; below this share of the work sharing does not pay. Measured on one
# core: saving 1.4 % of the work changed the time by 0.4 %, saving 5 % by 1.7 %, saving 26 % by 13 %.
_SHARE_FROM = 0.05
# On CPU longer rows need more memory and little less time. Small models are all activations: an update of nano took
# 0.414 CPU seconds and 63 MiB in rows of 1024 tokens, 0.434 and 42 in rows of 512, 0.458 and 35 in rows of 384. Of
# large ones the gradient of every weight is added up once a row.
_CPU_ROW_TOKENS = 1024
_SMALL_MODEL = 4_000_000
_CPU_ROW_TOKENS_OF_SMALL = 384
# A shared prompt that takes more of a row than one part in four is not repeated in further rows to save memory.
PROMPTS_PER_ROW = 4


@dataclass(frozen=True, slots=True)
class Layout:
    """packed: one row without padding, else rows padded on the right. share_from: a prompt runs once for the responses
    of its group where that saves at least this share of the step's work; 0 is always, above 1 never. cost: of tokens;
    by default one that cuts into the fewest micro-batches. row_tokens: packed rows are not filled beyond this, but for
    the responses to a shared prompt that is long itself.
    """

    packed: bool = False
    share_from: float = 2.0
    cost: TokenCost = field(default_factory=lambda: TokenCost(per_call=1e9))
    row_tokens: int = 1 << 62

    def shares(self, groups: Sequence[tuple[int, Sequence[int]]]) -> bool:
        """Whether these (prompt length, response lengths) run with shared prompts."""
        if not self.packed or self.share_from > 1:
            return False
        alone = sum(self.cost.sequence(prompt, each) for prompt, responses in groups for each in responses)
        together = sum(self.cost.shared(prompt, responses) for prompt, responses in groups)
        return together <= (1 - self.share_from) * alone


def choose_layout(model: Any, *, layout: str, share_prompts: str, dtype: torch.dtype, device: torch.device) -> Layout:
    """The layout of a run. layout: `auto`, `padded` or `packed`; share_prompts: `auto`, `always` or `never`; dtype: of
    the computation.

    auto is packed wherever the model can: by torch's variable-length kernel on a GPU in 16 bits, by one call per
    sequence on CPU, where that is as fast as sorted padding (nano, one core: 624 against 636 ms for 64 rollouts of 51
    to 153 tokens, 1131 against 1130 ms for 8 of 256 to 2048) and lets prompts be shared (517 ms; 0.25 of the time for
    prompts of 512 and responses of 64). Other devices and precisions are padded. Raises TrainingError where `packed`
    is asked of a model that cannot, or `always` goes without packed rows.
    """
    from hicra_cli.rl.attention import packing_refusal, varlen_refusal

    refusal = packing_refusal(model)
    if layout == "packed" and refusal is not None:
        raise TrainingError(
            f"layout packed is refused for {type(model).__name__}: {refusal}", fix="Use --set train.layout=padded"
        )
    by_kernel = device.type == "cuda" and dtype in (torch.float16, torch.bfloat16) and varlen_refusal(model) is None
    served = by_kernel or device.type == "cpu"
    packed = layout == "packed" or (layout == "auto" and refusal is None and served)
    if share_prompts == "always" and not packed:
        raise TrainingError(
            "share_prompts always needs packed rows, and this run has padded ones",
            fix="Use --set train.layout=packed, or --set train.share_prompts=auto",
        )
    share_from = {"auto": _SHARE_FROM, "always": 0.0, "never": 2.0}[share_prompts]
    parameters = sum(each.numel() for each in model.parameters())
    return Layout(packed, share_from, _cost(model), row_limit(parameters, on_cpu=device.type == "cpu"))


def row_limit(parameters: int, *, on_cpu: bool) -> int:
    """Tokens beyond which a packed row is not filled, for a model of so many parameters."""
    if not on_cpu:
        return 1 << 62
    return _CPU_ROW_TOKENS_OF_SMALL if parameters < _SMALL_MODEL else _CPU_ROW_TOKENS


def _cost(model: Any) -> TokenCost:
    head = model.get_output_embeddings().weight.numel()
    embedding = model.get_input_embeddings().weight
    tied = model.get_output_embeddings().weight is embedding
    total = sum(each.numel() for each in model.parameters())
    layers = total - embedding.numel() - (0 if tied else head)
    config = model.config.get_text_config(decoder=True)
    return cost_of(config, head_weights=head, layer_weights=layers, all_weights=total)
