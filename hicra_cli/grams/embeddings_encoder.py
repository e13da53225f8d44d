"""Embeddings by a sentence encoder: a folder of the sentence-transformers or plain Hugging Face kind.

The texts of one batch have equally many tokens, so nothing is padded; batches follow from the set of texts alone, and
each is computed by one thread, several batches at a time. So a text's vector is the same to the bit whatever the order
of texts and the number of threads. Pooling is what the folder says (mean or first
token), mean where it says nothing. Encoders with further layers on top, or with code of their own, are refused.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from hicra_cli.core.errors import ConfigError, EngineError, ServiceError
from hicra_cli.core.quiet import no_progress_bars
from hicra_cli.grams.embeddings import FIELD, Embeddings

BATCH_TOKENS = 2048
LONGEST = 128  # tokens of a text; a gram of five words is far below
_FILES = ("*.json", "*.txt", "*.model", "*.safetensors")
_KNOWN_MODULES = ("Transformer", "Pooling", "Normalize")


class EncoderEmbedder:
    """An encoder read from `folder`, on the CPU. Raises ConfigError where the folder holds none that is understood."""

    def __init__(self, folder: Path, *, name: str) -> None:
        from transformers import AutoModel, AutoTokenizer

        self.name = name
        self._pooling = _pooling(folder)
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            with no_progress_bars():
                self._model = AutoModel.from_pretrained(
                    folder, local_files_only=True, trust_remote_code=False, use_safetensors=True, dtype="float32"
                ).eval()
        except (OSError, ValueError, KeyError) as error:
            raise ConfigError(
                f"{folder} holds no encoder: {str(error).splitlines()[0]}",
                where=FIELD,
                fix="Give a folder with config.json, a tokenizer and model.safetensors, or `lsa`",
            ) from error
        self.dimensions = int(self._model.config.hidden_size)
        self.digest = _digest(folder)

    def embed(self, texts: Sequence[str], *, advance: Callable[[int], object] = lambda number: None) -> Embeddings:
        """(M, D) float32 unit rows."""
        rows = np.zeros((len(texts), self.dimensions), np.float32)
        if not texts:
            return rows
        order = sorted(range(len(texts)), key=texts.__getitem__)
        encoded = self._tokenizer([texts[at] for at in order], truncation=True, max_length=LONGEST)["input_ids"]
        batches = _batches([len(ids) for ids in encoded])
        found = _by_single_threads(self._embed_batch, [[encoded[each] for each in batch] for batch in batches])
        for batch, unit in zip(batches, found, strict=True):
            rows[[order[each] for each in batch]] = unit
            advance(len(batch))
        if not np.isfinite(rows).all():
            raise EngineError(f"encoder {self.name} gave numbers that are not finite", fix="Use another embedder")
        return rows

    def _embed_batch(self, token_ids: list[list[int]]) -> Embeddings:
        import torch

        ids = torch.tensor(token_ids)
        with torch.inference_mode():
            states = self._model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
            pooled = states[:, 0] if self._pooling == "cls" else states.mean(dim=1)
            unit: Embeddings = torch.nn.functional.normalize(pooled.float(), dim=1).numpy()
        return unit


def hub_folder(repository: str) -> Path:
    """The local copy of a model from the Hugging Face hub, fetched where it is not there yet. Raises ServiceError."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    patterns = [*_FILES, "*/config.json"]
    try:
        return Path(snapshot_download(repository, allow_patterns=patterns))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise ServiceError(
            f"encoder {repository} cannot be fetched: {str(error).splitlines()[0]}",
            where=FIELD,
            fix="Give a folder that holds it, or `lsa`, which needs none",
        ) from error


def _by_single_threads(
    work: Callable[[list[list[int]]], Embeddings], batches: Sequence[list[list[int]]]
) -> Iterator[Embeddings]:
    """The batches' results in order. torch splits a product by its threads, which changes the last bits of it."""
    import torch

    threads = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield from pool.map(work, batches)
    finally:
        torch.set_num_threads(threads)


def _batches(lengths: Sequence[int]) -> list[list[int]]:
    """Texts of equal length together, in their order, about BATCH_TOKENS tokens a batch."""
    by_length: dict[int, list[int]] = defaultdict(list)
    for at, length in enumerate(lengths):
        by_length[length].append(at)
    batches: list[list[int]] = []
    for length, members in sorted(by_length.items()):
        size = max(1, BATCH_TOKENS // max(length, 1))
        batches += [members[start : start + size] for start in range(0, len(members), size)]
    return batches


def _pooling(folder: Path) -> str:
    """`mean` or `cls`, from the sentence-transformers files where there are any."""
    modules = folder / "modules.json"
    if not modules.is_file():
        return "mean"
    try:
        kinds = [str(each["type"]).rpartition(".")[2] for each in json.loads(modules.read_text())]
        chosen = folder / "1_Pooling" / "config.json"
        settings = json.loads(chosen.read_text()) if chosen.is_file() else {}
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{modules} cannot be read: {error}", where=FIELD, fix="Repair the model's folder") from error
    unknown = [kind for kind in kinds if kind not in _KNOWN_MODULES]
    on = {name for name, value in settings.items() if name.startswith("pooling_mode_") and value is True}
    mode = settings.get("pooling_mode") or {"pooling_mode_cls_token": "cls"}.get(next(iter(on), ""), "mean")
    if unknown or len(on) > 1 or on - {"pooling_mode_cls_token", "pooling_mode_mean_tokens"} or mode not in _MODES:
        raise ConfigError(
            f"{folder.name} pools its tokens in a way that hicra does not know: {', '.join(unknown) or sorted(on)}",
            where=FIELD,
            fix="Use an encoder with mean or first-token pooling, or `lsa`",
        )
    return str(mode)


_MODES = ("mean", "cls")


def _digest(folder: Path) -> str:
    """SHA-256 over names and contents of the files that decide the vectors."""
    found = sorted(path for pattern in _FILES for path in folder.rglob(pattern) if path.is_file())
    content = hashlib.sha256()
    for path in found:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        content.update(f"{path.relative_to(folder).as_posix()} {digest}\n".encode())
    return content.hexdigest()
