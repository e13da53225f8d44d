"""Attention of packed rows: one row of whole sequences without padding, each query seeing its own sequence only.

`s` segments, `N` tokens of the row, `K` keys. A segment is a run of queries and the keys they may see; its last query
sees all of them, the one before one fewer, and so on (causal, aligned at the end). Where responses share the tokens of
one prompt, a response's keys are the prompt's and its own. On CUDA in 16 bits this is torch's variable-length kernel;
elsewhere the same contract by one call of scaled_dot_product_attention per segment.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from hicra_cli.core.errors import TrainingError
from hicra_cli.rl.balance import head_width

ATTENTION_NAME = "hicra_packed"
_SIXTEEN_BITS = (torch.float16, torch.bfloat16)


@dataclass(frozen=True, slots=True)
class Segments:
    """The segments of a packed row.

    query_lengths, key_lengths: s lengths each; queries sum to N, keys to K, keys >= queries. query_starts, key_starts:
    (s + 1,) int32 on the device, their running sums. keys: (K,) int64, the place in the row of every key; None where
    keys are the queries' own tokens (K = N).
    """

    query_lengths: tuple[int, ...]
    key_lengths: tuple[int, ...]
    query_starts: Tensor
    key_starts: Tensor
    keys: Tensor | None


def use_packed_attention(model: Any) -> None:
    """Let the model's layers call `packed_attention`; calls without segments go on as with torch's own attention.

    It stays so: gradient checkpointing calls the layers again during the backward pass.
    """
    if model.config._attn_implementation != ATTENTION_NAME:
        AttentionInterface.register(ATTENTION_NAME, packed_attention)
        AttentionMaskInterface.register(ATTENTION_NAME, sdpa_mask)
        model.config._attn_implementation = ATTENTION_NAME


def packed_inputs(segments: Segments) -> dict[str, Any]:
    """Keyword arguments that make a model's forward use the segments and build no mask of its own."""
    # A mask of four dimensions is passed on untouched. With none, models find the reset positions and build N x N.
    return {"attention_mask": segments.query_starts.new_zeros((1, 1, 1, 1)), "hicra_segments": segments}


def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    hicra_segments: Segments | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """query (1, heads, N, width), key and value (1, kv heads, N, width) → (1, N, heads, width).

    Raises TrainingError for attention that needs more than scores of queries and keys (soft-capping, sinks, biases).
    """
    if hicra_segments is None:
        mixed, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
        return mixed, None
    _require_plain(module, dropout, kwargs)
    if hicra_segments.keys is not None:
        key, value = key.index_select(2, hicra_segments.keys), value.index_select(2, hicra_segments.keys)
    window = kwargs.get("sliding_window")
    if query.is_cuda and _compute_dtype(query) in _SIXTEEN_BITS:
        return _by_varlen(query, key, value, hicra_segments, scaling=scaling, window=window), None
    return _by_segment(query, key, value, hicra_segments, scaling=scaling, window=window), None


def packing_refusal(model: Any) -> str | None:
    """Why this model cannot run packed rows, None where it can. The start-up self-check compares values besides."""
    config = model.config.get_text_config(decoder=True)
    if getattr(model.config, "is_encoder_decoder", False):
        return "it is an encoder-decoder model"
    if not getattr(model, "_supports_attention_backend", False):
        return "it brings attention code of its own that cannot be replaced"
    if getattr(model, "_is_stateful", False):
        return "it carries a state from token to token, which would run from one sequence into the next"
    kinds = set(getattr(config, "layer_types", None) or ()) - {"full_attention", "sliding_attention"}
    if kinds:
        return f"it has layers other than full and sliding attention ({', '.join(sorted(kinds))})"
    if getattr(config, "attn_logit_softcapping", None) is not None:
        return "it caps attention scores"
    return None


def varlen_refusal(model: Any) -> str | None:
    """Why torch's variable-length kernel cannot serve this model, None where it can."""
    try:
        import torch.nn.attention.varlen  # noqa: F401
    except ImportError:
        return "this torch has no torch.nn.attention.varlen"
    width = head_width(model.config.get_text_config(decoder=True))
    return None if width % 8 == 0 and width <= 256 else f"heads {width} wide do not fit the kernel"


def _require_plain(module: nn.Module, dropout: float, kwargs: dict[str, Any]) -> None:
    extras = [name for name in ("softcap", "s_aux", "position_bias") if kwargs.get(name) is not None]
    if dropout:
        extras.append("dropout")
    if kwargs.get("is_causal") is False or getattr(module, "is_causal", True) is False:
        extras.append("both directions")
    if extras:
        raise TrainingError(
            f"{type(module).__name__} needs attention with {', '.join(extras)}, which packed rows lack",
            fix="Use --set train.layout=padded",
        )


def _compute_dtype(query: Tensor) -> torch.dtype:
    # Norms on queries and keys leave float32 under autocast; only torch's own functions cast by themselves.
    kind = query.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else query.dtype


def _by_varlen(
    query: Tensor, key: Tensor, value: Tensor, segments: Segments, *, scaling: float | None, window: int | None
) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn

    rows = [each.squeeze(0).transpose(0, 1).to(_compute_dtype(query)) for each in (query, key, value)]
    mixed: Any = varlen_attn(
        rows[0],
        rows[1],
        rows[2],
        segments.query_starts,
        segments.key_starts,
        max(segments.query_lengths),
        max(segments.key_lengths),
        scale=scaling,
        window_size=(-1 if window is None else window - 1, 0),
        enable_gqa=query.shape[1] != key.shape[1],
    )
    result: Tensor = mixed.unsqueeze(0)
    return result


def _by_segment(
    query: Tensor, key: Tensor, value: Tensor, segments: Segments, *, scaling: float | None, window: int | None
) -> Tensor:
    parts = zip(
        query.split(segments.query_lengths, dim=2),
        key.split(segments.key_lengths, dim=2),
        value.split(segments.key_lengths, dim=2),
        strict=True,
    )
    return torch.cat([_one_segment(*part, scaling=scaling, window=window) for part in parts], dim=1)


def _one_segment(query: Tensor, key: Tensor, value: Tensor, *, scaling: float | None, window: int | None) -> Tensor:
    """(1, heads, q, width) and (1, kv heads, k, width) → (1, q, heads, width)."""
    queries, keys = query.shape[2], key.shape[2]
    if queries < keys <= 2 * queries:
        # Queries that nobody reads make the segment square: the causal kernel then skips half, a mask skips nothing.
        query = nn.functional.pad(query, (0, 0, keys - queries, 0))
        square = _one_segment(query, key, value, scaling=scaling, window=window)
        return square[:, keys - queries :]
    plain = queries == keys and (window is None or window >= keys)
    mask = None if plain else _visible(queries, keys, window, query.device)
    # Key heads become the batch, the query heads that share one its heads: expanded, keys are never copied.
    kv_heads = key.shape[1]
    groups = query.shape[1] // kv_heads
    shape = (kv_heads, groups, keys, key.shape[3])
    mixed = nn.functional.scaled_dot_product_attention(
        query.reshape(kv_heads, groups, queries, query.shape[3]),
        key.squeeze(0).unsqueeze(1).expand(shape),
        value.squeeze(0).unsqueeze(1).expand(*shape[:3], value.shape[3]),
        attn_mask=mask,
        is_causal=plain,
        scale=scaling,
    )
    return mixed.reshape(1, kv_heads * groups, queries, value.shape[3]).transpose(1, 2)


@lru_cache(maxsize=64)
def _visible(queries: int, keys: int, window: int | None, device: torch.device) -> Tensor:
    """(queries, keys) bool: which keys each query sees; the last query is at the last key."""
    last = torch.arange(keys - queries, keys, device=device)[:, None]
    places = torch.arange(keys, device=device)
    seen = places <= last
    return seen if window is None else seen & (places > last - window)
