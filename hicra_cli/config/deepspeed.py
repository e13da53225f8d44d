"""What accelerate's configuration for DeepSpeed asks for, as far as torch's own sharding can do it.

DeepSpeed's engine is not used: it clips and steps in one call and averages over processes, where an update here is a
sum that is looked at before weights change. What ZeRO shards is honoured; what would need that engine is refused.
Names of variables and defaults are those of accelerate 1.15 (`prepare_deepspeed_cmd_env`, `DeepSpeedPlugin`).
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from hicra_cli.core.errors import ConfigError

# Sections about DeepSpeed's own talk or precision, which change no weight: hicra has `train.precision` and trackers.
_HARMLESS = frozenset(
    ("zero_optimization", "bf16", "bfloat16", "fp16", "tensorboard", "wandb", "csv_monitor", "comet", "comms_logger",
     "flops_profiler", "steps_per_print", "wall_clock_breakdown", "memory_breakdown", "dump_state",
     "zero_allow_untested_optimizer", "zero_force_ds_cpu_optimizer", "communication_data_type", "aio")
)  # fmt: skip
_ADAMS = ("adam", "adamw")
_UNSET = (None, "auto", "none", "None", False)
_FILE = "ACCELERATE_DEEPSPEED_CONFIG_FILE"

_PRECISION = "Set it to bf16 or no; what hicra computes in is train.precision"
_ON_DEVICE = (
    "Set it to none; with less memory a run gets by with more processes, train.lora.rank or train.precision "
    "bfloat16-kahan"
)
_OWN_ENGINE = "Take it out of the configuration: it is a part of DeepSpeed's engine, which hicra does not use"


@dataclass(frozen=True, slots=True)
class Zero:
    """stage: 0 (nothing sharded), 1 and 2 (moments, and gradients), 3 (weights too).

    unused: what the configuration also sets and hicra takes from its own settings instead, in order.
    """

    stage: int
    unused: tuple[str, ...] = ()


def read_zero() -> Zero | None:
    """What `accelerate launch` was configured for; None where not for DeepSpeed.

    Raises ConfigError for what cannot be honoured, and for a DeepSpeed file that cannot be read.
    """
    if os.environ.get("ACCELERATE_USE_DEEPSPEED", "").lower() != "true":
        return None
    file = os.environ.get(_FILE, "none")
    asked, where = (_variables(), "ACCELERATE_USE_DEEPSPEED") if file == "none" else (_read(Path(file)), file)
    where = f"{where}, from the configuration of accelerate"
    if os.environ.get("ACCELERATE_MIXED_PRECISION") in ("fp16", "fp8"):
        _refuse("mixed_precision " + os.environ["ACCELERATE_MIXED_PRECISION"], where, _PRECISION)
    _require_possible(asked, where)
    return Zero(_stage(asked, where), tuple(name for name, value in asked.items() if _is_unused(name, value)))


def _variables() -> dict[str, Any]:
    """The configuration without a file of DeepSpeed's, in the layout of one."""
    here = {"device": "auto"}
    asked: dict[str, Any] = {
        "zero_optimization": {"stage": "auto", "offload_optimizer": here, "offload_param": here},
        "gradient_accumulation_steps": os.environ.get("ACCELERATE_GRADIENT_ACCUMULATION_STEPS"),
        "gradient_clipping": os.environ.get("ACCELERATE_GRADIENT_CLIPPING"),
    }
    if os.environ.get("ACCELERATE_FP8_BACKEND") == "MSAMP":
        asked["msamp"] = {"enabled": True}
    return asked


def _read(path: Path) -> dict[str, Any]:
    try:
        asked = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"the DeepSpeed file cannot be read: {error}",
            where=f"{_FILE}={path}",
            fix="Name a JSON file as deepspeed_config_file of accelerate's configuration",
        ) from error
    if not isinstance(asked, dict) or "zero_optimization" not in asked:
        raise ConfigError(
            "the DeepSpeed file says nothing of zero_optimization",
            where=f"{_FILE}={path}",
            fix='Add {"zero_optimization": {"stage": 2}}',
        )
    return asked


def _stage(asked: Mapping[str, Any], where: str) -> int:
    stage = _section(asked, "zero_optimization", where).get("stage", 0)
    if stage == "auto":
        stage = os.environ.get("ACCELERATE_DEEPSPEED_ZERO_STAGE", "2")
    if str(stage) not in ("0", "1", "2", "3"):
        raise ConfigError(f"ZeRO stage {stage!r} does not exist", where=where, fix="Set it to 0, 1, 2 or 3")
    return int(stage)


def _require_possible(asked: Mapping[str, Any], where: str) -> None:
    _require_on_device(_section(asked, "zero_optimization", where), where)
    _require_plain_sharding(_section(asked, "zero_optimization", where), where)
    for name, value in asked.items():
        if isinstance(value, dict) and value.get("enabled") is True and (name not in _HARMLESS or name == "fp16"):
            _refuse(name, where, _PRECISION if name == "fp16" else _OWN_ENGINE)
    kind = _section(asked, "optimizer", where).get("type", "auto")
    if kind not in _UNSET and str(kind).lower() not in _ADAMS:
        _refuse(f"optimizer {kind}", where, "Take it out of the configuration: hicra updates with AdamW")


def _require_on_device(zero: Mapping[str, Any], where: str) -> None:
    """No offloading, in the present words and the old ones."""
    for name, variable in (("offload_optimizer", "OPTIMIZER"), ("offload_param", "PARAM")):
        device = _section(zero, name, where).get("device")
        if device == "auto":
            device = os.environ.get(f"ACCELERATE_DEEPSPEED_OFFLOAD_{variable}_DEVICE")
        if device not in _UNSET:
            _refuse(f"{name} to {device}", where, _ON_DEVICE)
    for name in ("cpu_offload", "cpu_offload_params", "cpu_offload_param"):
        if zero.get(name) not in _UNSET:
            _refuse(name, where, _ON_DEVICE)


def _require_plain_sharding(zero: Mapping[str, Any], where: str) -> None:
    """No ZeRO++ (quantized traffic, hierarchical shards), MiCS or ZenFlow. Sizes of buckets may say what they like."""
    for name, usual in (("zero_hpz_partition_size", 1), ("mics_shard_size", -1)):
        if zero.get(name, usual) not in (*_UNSET, 0, usual):
            _refuse(f"{name} {zero[name]}", where, _OWN_ENGINE)
    for name, value in zero.items():
        if (name.startswith("zero_quantized") or name == "zenflow") and value not in _UNSET:
            _refuse(name, where, _OWN_ENGINE)


def _section(asked: Mapping[str, Any], name: str, where: str) -> dict[str, Any]:
    found = asked.get(name)
    if found in _UNSET:
        return {}
    if not isinstance(found, dict):
        raise ConfigError(f"{name} is {found!r}, not a section", where=where, fix="See DeepSpeed's documentation")
    return found


def _is_unused(name: str, value: Any) -> bool:
    return name not in _HARMLESS and value not in _UNSET and not (
        isinstance(value, dict) and value.get("enabled") is False
    )  # fmt: skip


def _refuse(what: str, where: str, fix: str) -> NoReturn:
    raise ConfigError(
        f"DeepSpeed's {what} cannot be honoured: torch's own sharding does not do it", where=where, fix=fix
    )
