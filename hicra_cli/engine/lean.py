"""One decoding step of a Llama-like model, written out: the layers' own weights without the layers' own Python.

With a few rows in the batch most of a step is spent between the kernels: modules, keyword arguments, masks that are
built anew. Here one token per row goes through norms, projections, rotation, cached attention and MLP directly. The
weights are the model's own tensors, looked up at the start of each call, so they are never out of date.

n = rows, H = hidden size. Covered: Llama (so SmolLM and SmolLM2), Mistral, Qwen2, Qwen3 and Gemma with full attention
and a rotation that does not depend on the length; `read_layers` gives None for all else, and `forward.py` compares
what is left with the model itself before it is used. A projection that is no plain linear layer (a LoRA adapter) is
called as it is. torch.compile was measured on this step and left out: 35 s of compiling, then the same speed.
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
NormMap = Callable[[Tensor, float], Map]
"""From a norm's weight and epsilon to the norm."""


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
        rotated = heads * cosine + heads.roll(self.head_width // 2, dims=-1) * sine
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
    sixteen_bits = autocast or backbone.norm.weight.dtype.itemsize == 2
    norm = partial(_norm_map, offset=1.0 if config.model_type == "gemma" else 0.0, sixteen_bits=sixteen_bits)
    linear = _linear_map if autocast else _product_map
    return LeanLayers(
        embed=backbone.embed_tokens,
        layers=tuple(_layer(layer, norm, linear) for layer in backbone.layers),
        last_norm=_norm_of(backbone.norm, norm),
        head_width=attention.head_dim,
        scaling=attention.scaling,
        frequencies=backbone.rotary_emb.inv_freq.float(),
        rotation_scaling=backbone.rotary_emb.attention_scaling,
    )


def hooked(modules: Iterable[nn.Module]) -> bool:
    """Whether a hook would be passed by (of sharding, offloading, or a user's): then modules are called as they are."""
    return any(module._forward_hooks or module._forward_pre_hooks for module in modules)


def _all_plain(model: Any) -> bool:
    embedding = model.get_input_embeddings()  # Called as a module, hooks and all.
    passed_by = (module for module in model.modules() if module is not embedding)
    return not hooked(passed_by) and all(type(parameter) in _PLAIN for parameter in model.parameters())


def _layer(layer: Any, norm: NormMap, linear: Callable[[nn.Module], Map]) -> Layer:
    attention, mlp = layer.self_attn, layer.mlp
    return Layer(
        before_attention=_norm_of(layer.input_layernorm, norm),
        query=linear(attention.q_proj),
        key=linear(attention.k_proj),
        value=linear(attention.v_proj),
        output=linear(attention.o_proj),
        head_norm=_head_norm(attention, norm) if hasattr(attention, "q_norm") else None,
        before_mlp=_norm_of(layer.post_attention_layernorm, norm),
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


def _norm_of(module: Any, norm: NormMap) -> Map:
    return norm(module.weight, module.eps if hasattr(module, "eps") else module.variance_epsilon)


def _head_norm(attention: Any, norm: NormMap) -> Map:
    """The norms of the query heads and of the key heads side by side, for (n, heads + key heads, head width)."""
    query, key, config = attention.q_norm, attention.k_norm, attention.config
    heads = (query.weight.expand(config.num_attention_heads, -1), key.weight.expand(config.num_key_value_heads, -1))
    return norm(torch.cat(heads), query.variance_epsilon)


def _norm_map(weight: Tensor, eps: float, *, offset: float, sixteen_bits: bool) -> Map:
    """x / sqrt(mean(x^2) + eps) * weight over the last dimension, W values; Gemma's weight is offset by 1.

    Equal to x / hypot(|x|, sqrt(W eps)) * (sqrt(W) weight), which takes fewer kernels. In 16 bits every rounding is the
    model's own, because there one rounding more or less is a hundredth of a nat.
    """
    if not sixteen_bits:
        root_width = weight.shape[-1] ** 0.5
        root_eps = torch.tensor(root_width * eps**0.5, dtype=weight.dtype, device=weight.device)
        return partial(_short_norm, root_eps=root_eps, weight=(offset + weight) * root_width)
    if offset:
        return partial(_own_offset_norm, eps=eps, weight=offset + weight.float())
    return partial(_own_norm, eps=eps, weight=weight)


def _short_norm(x: Tensor, root_eps: Tensor, weight: Tensor) -> Tensor:
    return (x / torch.hypot(torch.linalg.vector_norm(x, dim=-1, keepdim=True), root_eps)).mul_(weight)


def _own_norm(x: Tensor, eps: float, weight: Tensor) -> Tensor:
    return weight * _unit(x.float(), eps).to(x.dtype)


def _own_offset_norm(x: Tensor, eps: float, weight: Tensor) -> Tensor:
    return (_unit(x.float(), eps) * weight).to(x.dtype)


def _unit(x: Tensor, eps: float) -> Tensor:
    return x * torch.rsqrt(x.pow(2).mean(dim=-1, keepdim=True) + eps)
