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
    """One decoder layer as functions of (n, …) tensors; `head_norm` is that of query heads and key heads together."""

    before_attention: Map
    query: Map
    key: Map
    value: Map
    output: Map
    head_norm: Map | None
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
            query, key = self._rotated(layer.query(normed), layer.key(normed), layer.head_norm, cosine, sine)
            value = self._heads(layer.value(normed))
            mixed = self._attention(query, *cache.write_token(key, value, index), mask)
            hidden = hidden + layer.output(mixed)
            normed = layer.before_mlp(hidden)
            hidden = hidden + layer.down(layer.activation(layer.gate(normed)).mul_(layer.up(normed)))
        return self.last_norm(hidden)

    def _rotation(self, positions: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Cosine and signed sine, (n, 1, head width): the first half of a head turns with -sine, the second with sine.

        Angles are float32 whatever the model computes in, as transformers has them.
        """
        angles = (positions.unsqueeze(1) * self.frequencies).unsqueeze(1)
        cosine, sine = angles.cos() * self.rotation_scaling, angles.sin() * self.rotation_scaling
        return torch.cat((cosine, cosine), dim=-1).to(dtype), torch.cat((-sine, sine), dim=-1).to(dtype)

    def _rotated(
        self, query: Tensor, key: Tensor, norm: Map | None, cosine: Tensor, sine: Tensor
    ) -> tuple[Tensor, Tensor]:
        """(n, heads, head width) and (n, key heads, head width); normed and rotated in one, to save kernels."""
        heads = self._heads(torch.cat((query, key), dim=-1))
        if norm is not None:
            heads = norm(heads)
        rotated = torch.addcmul(heads * cosine, heads.roll(self.head_width // 2, dims=-1), sine)
        num_heads = query.shape[-1] // self.head_width
        return rotated[:, :num_heads], rotated[:, num_heads:]

    def _heads(self, projected: Tensor) -> Tensor:
        return projected.view(projected.shape[0], -1, self.head_width)

    def _attention(self, query: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        """(n, heads * head width); query heads that share a key head become query positions of it."""
        grouped = query.unflatten(1, (keys.shape[1], -1))
        mixed = nn.functional.scaled_dot_product_attention(grouped, keys, values, attn_mask=mask, scale=self.scaling)
        return mixed.flatten(1)


def read_layers(model: Any, *, autocast: bool = False) -> LeanLayers | None:
    """The model's weights as they lie now, or None where a part is not what this file expects.

    autocast: whether the steps run under it; it keeps its converted copies only of whole parameters.
    """
    config = model.config
    if getattr(config, "model_type", None) not in _FAMILIES or not _all_plain(model):
        return None
    if config.rope_parameters.get("rope_type") not in _STATIC_ROTATIONS:
        return None
    backbone, attention = model.base_model, model.base_model.layers[0].self_attn
    norm = partial(_norm_of, offset=1.0 if config.model_type == "gemma" else 0.0)
    linear = _linear_map if autocast else _product_map
    return LeanLayers(
        embed=backbone.embed_tokens,
        layers=tuple(_layer(layer, norm, linear) for layer in backbone.layers),
        last_norm=norm(backbone.norm),
        head_width=attention.head_dim,
        scaling=attention.scaling,
        frequencies=backbone.rotary_emb.inv_freq.float(),
        rotation_scaling=backbone.rotary_emb.attention_scaling,
    )


def hooked(modules: Iterable[nn.Module]) -> bool:
    """Whether a hook would be passed by (of sharding, offloading, or a user's): then modules are called as they are."""
    return any(module._forward_hooks or module._forward_pre_hooks for module in modules)


def _all_plain(model: nn.Module) -> bool:
    return not hooked(model.modules()) and all(type(parameter) in _PLAIN for parameter in model.parameters())


def _layer(layer: Any, norm: Callable[[Any], Map], linear: Callable[[nn.Module], Map]) -> Layer:
    attention, mlp = layer.self_attn, layer.mlp
    return Layer(
        before_attention=norm(layer.input_layernorm),
        query=linear(attention.q_proj),
        key=linear(attention.k_proj),
        value=linear(attention.v_proj),
        output=linear(attention.o_proj),
        head_norm=_head_norm(attention) if hasattr(attention, "q_norm") else None,
        before_mlp=norm(layer.post_attention_layernorm),
        gate=linear(mlp.gate_proj),
        up=linear(mlp.up_proj),
        down=linear(mlp.down_proj),
        activation=mlp.act_fn,
    )


def _linear_map(module: nn.Module) -> Map:
    """The module itself, or for a plain linear layer the function without the module around it."""
    if type(module) is nn.Linear:
        return partial(nn.functional.linear, weight=module.weight, bias=module.bias)
    return module


def _product_map(module: nn.Module) -> Map:
    """The same with fewer layers of dispatch, for (n, in) inputs of the weight's own type."""
    if type(module) is nn.Linear and module.bias is None:
        return partial(torch.mm, mat2=module.weight.t())
    return _linear_map(module)


def _norm_of(module: Any, *, offset: float) -> Map:
    """RMS norm over the last dimension, in float32 for 16-bit states; `offset`: Gemma multiplies by 1 + weight."""
    return _norm_map(module.weight, module.eps if offset else module.variance_epsilon, offset=offset)


def _head_norm(attention: Any) -> Map:
    """The norms of the query heads and of the key heads side by side, for (n, heads + key heads, head width)."""
    norms = (attention.q_norm, attention.k_norm)
    heads = (attention.config.num_attention_heads, attention.config.num_key_value_heads)
    weight = torch.cat([norm.weight.expand(count, -1) for norm, count in zip(norms, heads, strict=True)])
    return _norm_map(weight, norms[0].variance_epsilon, offset=0.0)


def _norm_map(weight: Tensor, eps: float, *, offset: float) -> Map:
    """x / sqrt(mean(x^2) + eps) * weight = x / hypot(|x|, sqrt(W eps)) * (sqrt(W) weight) over W values."""
    wide = torch.promote_types(weight.dtype, torch.float32)
    root_width = weight.shape[-1] ** 0.5
    root_eps = torch.tensor(root_width * eps**0.5, dtype=wide, device=weight.device)
    if offset:
        return partial(_offset_norm, root_eps=root_eps, weight=(offset + weight.to(wide)) * root_width)
    if weight.dtype == wide:
        return partial(_norm, root_eps=root_eps, weight=weight * root_width)
    return partial(_norm_16_bits, root_eps=root_eps, root_width=root_width, weight=weight)


def _norm(x: Tensor, root_eps: Tensor, weight: Tensor) -> Tensor:
    return _unit(x.to(weight.dtype), root_eps).mul_(weight)  # x has 16 bits under autocast


def _offset_norm(x: Tensor, root_eps: Tensor, weight: Tensor) -> Tensor:
    return _norm(x, root_eps, weight).to(x.dtype)


def _norm_16_bits(x: Tensor, root_eps: Tensor, root_width: float, weight: Tensor) -> Tensor:
    return weight * _unit(x.float(), root_eps).mul_(root_width).to(x.dtype)


def _unit(x: Tensor, root_eps: Tensor) -> Tensor:
    return x / torch.hypot(torch.linalg.vector_norm(x, dim=-1, keepdim=True), root_eps)
