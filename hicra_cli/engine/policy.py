"""Loading a policy: a HF directory (config, tokenizer, safetensors weights) or a model id of the HF hub.

Nothing a model directory brings is executed: no remote code, no pickle. What is missing is said before the minutes of
loading, and weights that the files do not hold are refused instead of being invented.
"""

import json
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from hicra_cli.core.errors import ArtifactError, UsageError
from hicra_cli.core.quiet import no_progress_bars
from hicra_cli.engine.requests import first_line

_WEIGHTS = "*.safetensors"
_PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt")
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "spiece.model", "vocab.json", "vocab.txt", "tekken.json")
_HUB_FILES = [_WEIGHTS, "*.json", "*.jinja", "*.model", "vocab.txt", "merges.txt"]
# Seconds the hub may take to answer the first question; downloading itself may take as long as it moves.
_HUB_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class LoadedPolicy:
    """A policy in memory: HF model and tokenizer, and the directory they were read from."""

    model: Any
    tokenizer: Any
    path: Path

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """Token ids that end a response: those of the generation config and the tokenizer's end of text."""
        return _stop_ids(self.model.generation_config.eos_token_id, self.tokenizer)


def load_policy(source: str | Path, *, dtype: torch.dtype, device: torch.device | str = "cpu") -> LoadedPolicy:
    """Load model and tokenizer of a local directory or a hub id in `dtype` on `device`, in evaluation mode.

    Raises UsageError for a directory that is not a complete, safe model, ArtifactError for a hub id that cannot be
    had. Never waits long for a hub that does not answer.
    """
    path = policy_directory(source)
    check_directory(path)
    tokenizer = load_tokenizer(path)
    model = _load_model(path, dtype).to(device)
    largest = len(tokenizer)
    rows = model.get_input_embeddings().weight.shape[0]
    if largest > rows:
        raise UsageError(
            f"the tokenizer knows {largest} tokens but the model's embedding only {rows}",
            where=str(path),
            fix="Use the tokenizer that was trained with this model.",
        )
    policy = LoadedPolicy(model, tokenizer, path)
    if not policy.stop_ids:
        raise UsageError(
            "neither generation_config.json nor the tokenizer names an end-of-text token, so no response would end",
            where=str(path),
            fix="Set eos_token_id in generation_config.json.",
        )
    return policy


def read_stop_ids(path: Path, tokenizer: Any) -> tuple[int, ...]:
    """The same as `LoadedPolicy.stop_ids`, of a directory whose model is not loaded here."""
    config = _read_json(path, "generation_config.json") or {}
    if "eos_token_id" not in config:
        config = _read_json(path, "config.json") or {}
    return _stop_ids(config.get("eos_token_id"), tokenizer)


def read_context(path: Path) -> int:
    """Tokens that prompt and response may have together, of a directory whose model is not loaded here.

    Very many where config.json names no limit. Raises UsageError where there is none that transformers understands.
    """
    from huggingface_hub.errors import StrictDataclassError
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(path, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError, ImportError, StrictDataclassError) as error:
        raise UsageError(
            f"config.json cannot be read: {first_line(error)}",
            where=str(path),
            fix="Copy the config.json of the base model into the directory.",
        ) from error
    return int(getattr(config.get_text_config(decoder=True), "max_position_embeddings", None) or 1 << 30)


def _stop_ids(named: Any, tokenizer: Any) -> tuple[int, ...]:
    ids = [*named] if isinstance(named, list | tuple) else [named]
    return tuple(sorted({int(token) for token in (*ids, tokenizer.eos_token_id) if token is not None}))


def policy_directory(source: str | Path) -> Path:
    """The local directory of `source`; a hub id is downloaded into (or found in) the hub's cache first."""
    path = Path(source).expanduser()
    if path.is_dir():
        return path
    text = str(source)
    if isinstance(source, Path) or path.exists() or not _looks_like_hub_id(text):
        found = "is a file" if path.exists() else "does not exist"
        raise UsageError(
            f"the policy {text!r} {found}; a directory with config.json, tokenizer and safetensors is needed",
            fix="Give the path of a model directory, an artifact reference (policy:NAME) or a hub id (OWNER/NAME).",
        )
    return _download(text)


def check_directory(path: Path) -> None:
    """Raise UsageError where the directory lacks a part of a model or wants to run code of its own."""
    config = _read_json(path, "config.json")
    if config is None:
        raise UsageError(
            "this is no model directory: config.json is missing",
            where=str(path),
            fix="Give a directory written by save_pretrained, with config.json, tokenizer and safetensors.",
        )
    tokenizer_config = _read_json(path, "tokenizer_config.json") or {}
    if "auto_map" in config or "auto_map" in tokenizer_config:
        raise UsageError(
            "this model brings Python code of its own (auto_map), which hicra never runs",
            where=str(path),
            fix="Use a model whose architecture transformers itself implements.",
        )
    if not any(path.glob(_WEIGHTS)):
        pickled = sorted(file.name for pattern in _PICKLED for file in path.glob(pattern))
        what = f"its weights are pickled ({pickled[0]})" if pickled else "it holds no weights (*.safetensors)"
        raise UsageError(
            f"the policy cannot be read: {what}, and only safetensors is read",
            where=str(path),
            fix="Convert it with save_pretrained." if pickled else "Copy model.safetensors into it.",
        )
    _require_tokenizer(path)


def _require_tokenizer(path: Path) -> None:
    # Without the files transformers makes an empty tokenizer of the class that config.json names.
    if not any((path / name).is_file() for name in _TOKENIZERS):
        raise UsageError(
            "the policy has no tokenizer (tokenizer.json is missing)",
            where=str(path),
            fix="Copy tokenizer.json and tokenizer_config.json of the base model into it.",
        )


def _looks_like_hub_id(text: str) -> bool:
    parts = text.split("/")
    return len(parts) == 2 and all(part and part[0] not in ".~" and "\\" not in part for part in parts)


def _download(hub_id: str) -> Path:
    """The hub's newest version of the model, or the one in the local cache where the hub cannot be reached."""
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    unreachable = _unreachable_errors()
    try:
        # snapshot_download asks without any time limit, so the first question is asked here.
        revision = HfApi().model_info(hub_id, timeout=_HUB_TIMEOUT_S).sha
        return Path(snapshot_download(hub_id, revision=revision, allow_patterns=_HUB_FILES))
    except GatedRepoError as error:
        raise ArtifactError(
            f"the model {hub_id} is gated", fix="Accept its licence on the hub, then `hf auth login`."
        ) from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise ArtifactError(
            f"there is no model {hub_id} on the hub, nor a directory of that name",
            fix="Check the spelling, or give a directory.",
        ) from error
    except unreachable as error:
        try:
            return Path(snapshot_download(hub_id, allow_patterns=_HUB_FILES, local_files_only=True))
        except LocalEntryNotFoundError:
            raise ArtifactError(
                f"the model {hub_id} is not in the local cache and the hub cannot be reached ({first_line(error)})",
                fix="Connect to the network, or give a local model directory.",
            ) from error


def _unreachable_errors() -> tuple[type[Exception], ...]:
    """What the hub's client raises when nobody answers; its HTTP library goes by two names."""
    from huggingface_hub.errors import HfHubHTTPError

    transports = [import_module(name).HTTPError for name in ("httpx2", "httpx") if find_spec(name) is not None]
    return (HfHubHTTPError, OSError, *transports)


def load_tokenizer(path: Path) -> Any:
    """The tokenizer of a model directory, without code of its own. Raises UsageError."""
    from huggingface_hub.errors import StrictDataclassError
    from transformers import AutoTokenizer

    _require_tokenizer(path)
    try:
        return AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError, ImportError, StrictDataclassError) as error:
        raise UsageError(
            f"the tokenizer cannot be loaded: {first_line(error)}",
            where=str(path),
            fix="Copy the tokenizer files of the base model into the directory again.",
        ) from error


def _load_model(path: Path, dtype: torch.dtype) -> Any:
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    try:
        with no_progress_bars():
            model, info = AutoModelForCausalLM.from_pretrained(
                path,
                dtype=dtype,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                attn_implementation="sdpa",
                output_loading_info=True,
            )
    except (
        OSError, ValueError, KeyError, TypeError, RuntimeError, ImportError, SafetensorError, StrictDataclassError
    ) as error:  # fmt: skip
        raise UsageError(
            f"the model cannot be loaded: {first_line(error)}",
            where=str(path),
            fix="Check that the files are complete and that config.json belongs to them.",
        ) from error
    absent = sorted(str(name) for name in info["missing_keys"]) + sorted(str(name) for name in info["mismatched_keys"])
    if absent:
        raise UsageError(
            f"the weights do not hold what config.json describes: {len(absent)} tensors are missing, first {absent[0]}",
            where=str(path),
            fix="Check that all weight files are there and that config.json belongs to them.",
        )
    return model.eval()


def _read_json(path: Path, name: str) -> dict[str, Any] | None:
    file = path / name
    if not file.is_file():
        return None
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise UsageError(f"{name} is not JSON: {first_line(error)}", where=str(file), fix="Copy it again.") from error
    if not isinstance(content, dict):
        raise UsageError(f"{name} is not a JSON object", where=str(file), fix="Copy it again.")
    return content
