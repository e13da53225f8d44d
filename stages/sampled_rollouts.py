"""Rollouts while a policy is sampled: appended one by one, found again after a crash, read back in any order.

One line per rollout (`kept_lines.py`), its arrays in base64 of their little-endian bytes: exact, and cheap beside
sampling. Grading needs no model and is not kept.
"""

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hicra_cli.core.records import FinishReason, Prompt, Rollout

from .kept_lines import KeptLines, Row

Key = tuple[str, int]
"""Prompt id and number of the sample."""


class SampledRollouts:
    """The append-only file of one policy in a draft. Opening it reads what an earlier attempt has left.

    torn: whether a last line without its end was cut off; that rollout is drawn again.
    """

    def __init__(self, path: Path) -> None:
        self._lines = KeptLines(path, _key_of)
        self.torn = self._lines.torn

    def __len__(self) -> int:
        return len(self._lines)

    def missing(self, prompt_id: str, samples: Sequence[int]) -> tuple[int, ...]:
        """The samples of a prompt that are not there yet."""
        return tuple(each for each in samples if (prompt_id, each) not in self._lines)

    def add(self, rollout: Rollout) -> None:
        """Keep a rollout: after this call it survives the end of the process."""
        self._lines.add(_row(rollout))

    def read(self, prompts: Iterable[Prompt], samples: Sequence[int]) -> Iterator[Rollout]:
        """The rollouts in the order of prompts, then samples."""
        asked = [(prompt, sample) for prompt in prompts for sample in samples]
        rows = self._lines.read((prompt.id, sample) for prompt, sample in asked)
        for row, (prompt, _) in zip(rows, asked, strict=True):
            yield _rollout(row, prompt)

    def close(self) -> None:
        """Close the file; what it holds stays."""
        self._lines.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _key_of(row: Mapping[str, Any]) -> Key:
    return str(row["prompt"]), int(row["sample"])


def _row(rollout: Rollout) -> Row:
    return {
        "prompt": rollout.prompt.id,
        "sample": rollout.sample,
        "text": rollout.text,
        "finish_reason": rollout.finish_reason.value,
        "prompt_token_ids": _encoded(rollout.prompt_token_ids, "<i4"),
        "token_ids": _encoded(rollout.token_ids, "<i4"),
        "sampler_logprobs": _encoded(rollout.sampler_logprobs, "<f4"),
    }


def _rollout(row: dict[str, Any], prompt: Prompt) -> Rollout:
    return Rollout(
        prompt=prompt,
        sample=row["sample"],
        prompt_token_ids=_decoded(row["prompt_token_ids"], "<i4"),
        token_ids=_decoded(row["token_ids"], "<i4"),
        text=row["text"],
        finish_reason=FinishReason(row["finish_reason"]),
        sampler_logprobs=_decoded(row["sampler_logprobs"], "<f4"),
    )


def _encoded(values: NDArray[Any], kind: str) -> str:
    return base64.b64encode(values.astype(kind).tobytes()).decode()


def _decoded(text: str, kind: str) -> NDArray[Any]:
    return np.frombuffer(base64.b64decode(text), dtype=kind)
