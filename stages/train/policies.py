"""Publish a state's weights as a policy: a plain HF folder that anything can load.

A policy trained by adapters is published with them folded in; the folder `adapter/` holds them alone, in peft's format.
"""

import collections
import json
import shutil
from pathlib import Path

import torch

from hicra_cli.config.train import LoraConfig
from hicra_cli.core.quiet import no_progress_bars
from hicra_cli.core.registry import Artifact
from hicra_cli.engine.policy import LoadedPolicy
from hicra_cli.rl.lora import adapter_weights, merged_weights, save_adapter
from hicra_cli.rl.parallel import Workers

from ..base import Workspace
from .state import TrainState

WEIGHTS = (".safetensors", ".bin", ".pt", ".index.json")


def publish_policy(workspace: Workspace, state: TrainState, source: LoadedPolicy, workers: Workers) -> Artifact | None:
    """Publish the weights of `state`, once: after a crash an equal policy is found again, not published twice.

    All workers call this; the first one publishes, the others give their shards and get None.
    """
    if not workspace.leads:
        if workers.lockstep:
            collections.deque(workers.named_tensors(state.policy), maxlen=0)
        return None
    name = workspace.plan.name
    draft = workspace.registry.begin("policy", name, run_id=workspace.run_id)
    try:
        train, base = workspace.config.train, workspace.plan.inputs["policy"].ref
        write_policy(draft.path, state, source, workers, lora=train.lora, base=base)
        about = {
            "algo": train.algo,
            "base": base,
            "seed": workspace.config.seed,
            "step": state.step,
            "training_key": workspace.key,
        }
        (draft.path / "hicra.json").write_text(json.dumps(about, indent=1, sort_keys=True) + "\n")
        inputs = [(each, role) for role, each in workspace.plan.inputs.items() if isinstance(each, Artifact)]
        return draft.publish(
            inputs=inputs,
            aliases=[f"step-{state.step}", "last"],
            summary={key: about[key] for key in ("algo", "base", "step")},
            reuse=True,
        )
    except BaseException:
        draft.discard()
        raise


def write_policy(
    folder: Path, state: TrainState, source: LoadedPolicy, workers: Workers, *, lora: LoraConfig, base: str
) -> None:
    """Write config, weights (in the precision of the source) and the source's tokenizer files into `folder`.

    base: reference of the policy that training started from.
    """
    dtype = _source_dtype(source.path)
    named = _on_host(workers, state)
    tensors = {
        name: tensor.to(dtype) if tensor.is_floating_point() else tensor
        for name, tensor in merged_weights(named.items(), scale=lora.scale)
    }
    with torch.no_grad(), no_progress_bars():
        state.model.save_pretrained(folder, state_dict=tensors, safe_serialization=True)
    if lora.rank:
        save_adapter(folder / "adapter", adapter_weights(named.items()), **lora.model_dump(), base=base)
    for path in sorted(source.path.iterdir()):
        if path.is_file() and not path.name.endswith(WEIGHTS) and not (folder / path.name).exists():
            shutil.copyfile(path, folder / path.name)
    config = json.loads((folder / "config.json").read_text())
    config["dtype"] = str(dtype).removeprefix("torch.")
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def _on_host(workers: Workers, state: TrainState) -> dict[str, torch.Tensor]:
    """The whole weights; gathered ones one by one, so that no device needs room for all."""
    named = workers.named_tensors(state.policy)
    return {name: tensor.cpu() for name, tensor in named} if workers.lockstep else dict(named)


def _source_dtype(folder: Path) -> torch.dtype:
    """The precision the source was stored in; float32 where its configuration does not say."""
    config = json.loads((folder / "config.json").read_text())
    name = config.get("dtype") or config.get("torch_dtype") or "float32"
    return {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(name, torch.float32)
