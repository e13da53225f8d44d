"""Low-rank adapters (LoRA, arXiv 2106.09685) by peft: W + scale * B A with W frozen, A (r, in) and B (out, r) trained.

The adapters are put into the HF model itself, so forward pass, engine and checkpoint see the same module as without
them. Outside of this file a policy with adapters is a stream of named tensors, which `merged_weights` turns into the
plain model's, one weight at a time, and `adapter_weights` into peft's own file.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from hicra_cli.core.errors import UsageError
from hicra_cli.core.seeds import seed_for

ALL_LINEAR = "all-linear"
_NAME = "default"  # peft's name of the only adapter
_A, _B, _BASE = f".lora_A.{_NAME}.weight", f".lora_B.{_NAME}.weight", ".base_layer."


def add_adapters(model: Any, *, rank: int, alpha: float, targets: Sequence[str], seed: int) -> None:
    """Freeze `model` (HF) and put adapters into its linear layers, in place.

    targets: ends of layer names, or `all-linear` for every linear layer but the head. The adapters are float32
    (float64 in a float64 model) whatever the model is, and a function of `seed` and the model's shape alone; B starts
    at zero, so nothing changes before the first update. Raises UsageError without peft, and for targets that are not
    there or cannot be merged back.
    """
    peft = _require_peft()
    chosen: str | list[str] = ALL_LINEAR if list(targets) == [ALL_LINEAR] else list(targets)
    config = peft.LoraConfig(r=rank, lora_alpha=alpha, target_modules=chosen, task_type="CAUSAL_LM")
    ends = (model.get_input_embeddings(), model.get_output_embeddings())
    with torch.random.fork_rng(devices=[]):  # peft draws on the CPU, from torch's global generator
        torch.manual_seed(seed_for(seed, "lora"))
        try:
            peft.inject_adapter_in_model(config, model)
        except ValueError as error:
            raise _bad_targets(targets, str(error).split(". ")[0]) from error
    if (model.get_input_embeddings(), model.get_output_embeddings()) != ends:
        raise _bad_targets(targets, "the embedding or the output head is among them")
    for layer in _adapted(model):
        if not isinstance(layer.get_base_layer(), nn.Linear):
            raise _bad_targets(targets, f"a {type(layer.get_base_layer()).__name__} is among them, no linear layer")
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(torch.promote_types(parameter.dtype, torch.float32))


@contextmanager
def adapters_off(model: nn.Module) -> Iterator[None]:
    """Inside, `model` is the frozen base it started from."""
    layers = list(_adapted(model))
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)


def merged_weights(named: Iterable[tuple[str, Tensor]], *, scale: float) -> Iterator[tuple[str, Tensor]]:
    """The plain model's weights, by its own names: each adapted W becomes W + scale * B A, the rest passes through.

    named: whole tensors of a model with adapters, in any order; without adapters they come out as they are. scale:
    alpha / rank. A sum is at least float32, so that a 16-bit model is rounded once, by who stores it.
    """
    waiting: dict[str, dict[str, Tensor]] = {}
    for name, tensor in named:
        layer, part = _part_of(name)
        if part is None:
            yield layer, tensor
            continue
        parts = waiting.setdefault(layer, {})
        parts[part] = tensor.detach()
        if len(parts) == 3:
            yield f"{layer}.weight", _merged(**waiting.pop(layer), scale=scale)
    if waiting:
        raise ValueError(f"the adapter of {min(waiting)} is incomplete: only {sorted(waiting[min(waiting)])} came")


def adapter_weights(named: Iterable[tuple[str, Tensor]]) -> dict[str, Tensor]:
    """The adapters alone, by the names of peft's own files."""
    return {
        f"base_model.model.{name.replace(f'.{_NAME}.', '.')}": tensor.detach().contiguous()
        for name, tensor in named
        if name.endswith((_A, _B))
    }


def save_adapter(
    folder: Path, tensors: Mapping[str, Tensor], *, rank: int, alpha: float, targets: Sequence[str], base: str
) -> None:
    """Write `adapter_config.json` and `adapter_model.safetensors`, which peft loads on top of the policy `base`.

    tensors: of `adapter_weights`. Equal adapters give equal bytes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    save_file(dict(tensors), folder / "adapter_model.safetensors", metadata={"format": "pt"})
    layers = sorted({name.split(".lora_")[0].rsplit(".", 1)[-1] for name in tensors})
    config = _require_peft().LoraConfig(
        r=rank,
        lora_alpha=alpha,
        target_modules=layers if list(targets) == [ALL_LINEAR] else list(targets),
        task_type="CAUSAL_LM",
        base_model_name_or_path=base,
        inference_mode=True,
    )
    # peft writes sets in the order of their hashes, another one in every process.
    plain = {key: sorted(value) if isinstance(value, set) else value for key, value in config.to_dict().items()}
    (folder / "adapter_config.json").write_text(json.dumps(plain, indent=2, sort_keys=True) + "\n")


def _part_of(name: str) -> tuple[str, str | None]:
    """(layer, part of an adapted weight), or (name in the plain model, None) for what is no such part."""
    for ending, part in ((_A, "down"), (_B, "up"), (f"{_BASE}weight", "weight")):
        if name.endswith(ending):
            return name.removesuffix(ending), part
    return name.replace(_BASE, "."), None


def _merged(weight: Tensor, down: Tensor, up: Tensor, *, scale: float) -> Tensor:
    return weight.to(down.dtype) + scale * (up @ down)


def _adapted(model: nn.Module) -> Iterator[Any]:
    from peft.tuners.lora import LoraLayer

    return (each for each in model.modules() if isinstance(each, LoraLayer))


def _require_peft() -> Any:
    try:
        import peft
    except ImportError as error:
        raise UsageError(
            "adapters need the package peft, which is not installed",
            where="train.lora.rank",
            fix="pip install 'hicra[lora]', or train all weights with train.lora.rank 0",
        ) from error
    return peft


def _bad_targets(targets: Sequence[str], reason: str) -> UsageError:
    return UsageError(
        f"adapters cannot be put into {', '.join(targets)}: {reason}",
        where="train.lora.targets",
        fix=f"Use `{ALL_LINEAR}`, or the ends of names of linear layers, for example q_proj and v_proj",
    )
