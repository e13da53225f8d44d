"""One decoding step of a Llama-like model, written out: the layers' own weights without the layers' own Python.

With a few rows in the batch most of a step is spent between the kernels: modules, keyword arguments, masks that are
built anew. Here one token per row goes through norms, projections, rotation, cached attention and MLP directly. The
weights are the model's own tensors, looked up at the start of each call, so they are never out of date.

n = rows, H = hidden size. Covered: Llama (so SmolLM and SmolLM2), Mistral, Qwen2, Qwen3 and Gemma with full attention
and a rotation that does not depend on the length; `read_layers` gives None for all else, and `forward.py` compares
what is left with the model itself before it is used. A projection that is no plain linear layer (a LoRA adapter) is
called as it is.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from hicra_cli.engine.row_cache import RowCache

_FAMILIES = ("gemma", "llama", "mistral", "qwen2", "qwen3")
_STATIC_ROTATIONS = ("default", "linear", "llama3", "yarn")
_PLAIN = (Tensor, nn.Parameter)

Map = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Layer:
    """One decoder layer as functions of (n, …) tensors; `query_norm` and `key_norm` act on single heads."""

    before_attention: Map
    query: Map
    key: Map
    value: Map
    output: Map
    query_norm: Map | None
    key_norm: Map | None
    before_mlp: Map
    gate: Map
    up: Map
    down: Map
    activation: Map


@dataclass(frozen=True, slots=True)
class LeanLayers:
    """The backbone of a model, from token ids to the hidden states its output head multiplies."""

    embed: Map
    layers: tuple[Layer, ...]
    last_norm: Map
    head_width: int
    scaling: float
    frequencies: Tensor
    rotation_scaling: float

    def step(self, token_ids: Tensor, positions: Tensor, mask: Tensor, cache: RowCache) -> Tensor:
        """(n, H) hidden states after one more token per row; the cache takes in its keys and values.

        token_ids, positions: (n,) int64. mask: (n, 1, 1, columns), what `cache.begin_step` gave.
        """
        hidden = self.embed(token_ids)
        cosine, sine = self._rotation(positions, hidden.dtype)
        for index, layer in enumerate(self.layers):
            normed = layer.before_attention(hidden)
            query = self._rotated(layer.query(normed), layer.query_norm, cosine, sine)
            key = self._rotated(layer.key(normed), layer.key_norm, cosine, sine)
            value = self._heads(layer.value(normed))
            mixed = self._attention(query, *cache.write_token(key, value, index), mask)
            hidden = hidden + layer.output(mixed)
            normed = layer.before_mlp(hidden)
            hidden = hidden + layer.down(layer.activation(layer.gate(normed)) * layer.up(normed))
        return self.last_norm(hidden)

    def _rotation(self, positions: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Cosine and signed sine, (n, 1, head width): the first half of a head turns with -sine, the second with sine.

        Angles are float32 whatever the model computes in, as transformers has them.
        """
        angles = (positions.unsqueeze(1) * self.frequencies).unsqueeze(1)
        cosine, sine = angles.cos() * self.rotation_scaling, angles.sin() * self.rotation_scaling
        return torch.cat((cosine, cosine), dim=-1).to(dtype), torch.cat((-sine, sine), dim=-1).to(dtype)

    def _rotated(self, projected: Tensor, norm: Map | None, cosine: Tensor, sine: Tensor) -> Tensor:
        heads = self._heads(projected)
        if norm is not None:
            heads = norm(heads)
        return torch.addcmul(heads * cosine, heads.roll(self.head_width // 2, dims=-1), sine)

    def _heads(self, projected: Tensor) -> Tensor:
        return projected.view(projected.shape[0], -1, self.head_width)

    def _attention(self, query: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        """(n, heads * head width); query heads that share a key head become query positions of it."""
        grouped = query.unflatten(1, (keys.shape[1], -1))
        mixed = nn.functional.scaled_dot_product_attention(grouped, keys, values, attn_mask=mask, scale=self.scaling)
        return mixed.flatten(1)


def read_layers(model: Any) -> LeanLayers | None:
    """The model's weights as they lie now, or None where a part is not what this file expects."""
    config = model.config
    if getattr(config, "model_type", None) not in _FAMILIES or not _all_plain(model):
        return None
    if config.rope_parameters.get("rope_type") not in _STATIC_ROTATIONS:
        return None
    backbone, attention = model.base_model, model.base_model.layers[0].self_attn
    norm = partial(_norm_of, offset=1.0 if config.model_type == "gemma" else 0.0)
    return LeanLayers(
        embed=backbone.embed_tokens,
        layers=tuple(_layer(layer, norm) for layer in backbone.layers),
        last_norm=norm(backbone.norm),
        head_width=attention.head_dim,
        scaling=attention.scaling,
        frequencies=backbone.rotary_emb.inv_freq.float(),
        rotation_scaling=backbone.rotary_emb.attention_scaling,
    )


def linear_map(module: nn.Module) -> Map:
    """The module itself, or for a plain linear layer the function without the module around it."""
    if type(module) is nn.Linear:
        return partial(nn.functional.linear, weight=module.weight, bias=module.bias)
    return module


def hooked(modules: Iterable[nn.Module]) -> bool:
    """Whether a hook would be passed by (of sharding, offloading, or a user's): then modules are called as they are."""
    return any(module._forward_hooks or module._forward_pre_hooks for module in modules)


def _all_plain(model: nn.Module) -> bool:
    return not hooked(model.modules()) and all(type(parameter) in _PLAIN for parameter in model.parameters())


def _layer(layer: Any, norm: Callable[[Any], Map]) -> Layer:
    attention, mlp = layer.self_attn, layer.mlp
    return Layer(
        before_attention=norm(layer.input_layernorm),
        query=linear_map(attention.q_proj),
        key=linear_map(attention.k_proj),
        value=linear_map(attention.v_proj),
        output=linear_map(attention.o_proj),
        query_norm=norm(attention.q_norm) if hasattr(attention, "q_norm") else None,
        key_norm=norm(attention.k_norm) if hasattr(attention, "k_norm") else None,
        before_mlp=norm(layer.post_attention_layernorm),
        gate=linear_map(mlp.gate_proj),
        up=linear_map(mlp.up_proj),
        down=linear_map(mlp.down_proj),
        activation=mlp.act_fn,
    )


def _norm_of(module: Any, *, offset: float) -> Map:
    """RMS norm over the last dimension, in float32 for 16-bit states; `offset`: Gemma multiplies by 1 + weight."""
    weight = module.weight
    wide = torch.promote_types(weight.dtype, torch.float32)
    root_eps = torch.tensor(
        (module.eps if offset else module.variance_epsilon) ** 0.5, dtype=wide, device=weight.device
    )
    root_mean = partial(_root_mean_square, root_eps=root_eps, scale=weight.shape[0] ** -0.5)
    if offset:
        return partial(_offset_norm, root_mean=root_mean, weight=offset + weight.to(wide))
    return partial(_norm if weight.dtype == wide else _norm_16_bits, root_mean=root_mean, weight=weight)


def _norm(x: Tensor, root_mean: Map, weight: Tensor) -> Tensor:
    wide = x.to(weight.dtype)  # 16 bits under autocast
    return (wide / root_mean(wide)).mul_(weight)


def _norm_16_bits(x: Tensor, root_mean: Map, weight: Tensor) -> Tensor:
    wide = x.float()
    return weight * (wide / root_mean(wide)).to(x.dtype)


def _offset_norm(x: Tensor, root_mean: Map, weight: Tensor) -> Tensor:
    wide = x.to(weight.dtype)
    return (wide / root_mean(wide)).mul_(weight).to(x.dtype)


def _root_mean_square(x: Tensor, root_eps: Tensor, scale: float) -> Tensor:
    """sqrt(mean(x^2) + eps), (…, 1); hypot takes the root of both squares at once."""
    return torch.hypot(torch.linalg.vector_norm(x, dim=-1, keepdim=True).mul_(scale), root_eps)
