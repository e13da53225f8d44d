"""Rollouts while a policy is sampled: appended one by one, found again after a crash, read back in any order.

One JSON line per rollout in the order they were finished, its arrays in base64 of their little-endian bytes: exact, and
cheap beside sampling. Grading needs no model and is not kept.
"""

import base64
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from hicra_cli.core.filesystem import storage_errors
from hicra_cli.core.records import FinishReason, Prompt, Rollout

Key = tuple[str, int]
"""Prompt id and number of the sample."""


class SampledRollouts:
    """The append-only file of one policy in a draft. Opening it reads what an earlier attempt has left.

    torn: whether a last line without its end was cut off; that rollout is drawn again. Memory holds the places of the
    rollouts in the file, not the rollouts.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._places: dict[Key, int] = {}
        with storage_errors("keeping rollouts", path.parent):
            self.torn = self._read_places()
            self._stream: BinaryIO = path.open("ab")

    def __len__(self) -> int:
        return len(self._places)

    def missing(self, prompt_id: str, samples: Sequence[int]) -> tuple[int, ...]:
        """The samples of a prompt that are not there yet."""
        return tuple(each for each in samples if (prompt_id, each) not in self._places)

    def add(self, rollout: Rollout) -> None:
        """Keep a rollout: after this call it survives the end of the process."""
        with storage_errors("keeping rollouts", self._path.parent):
            place = self._stream.tell()
            self._stream.write(_line(rollout))
            self._stream.flush()
        self._places[rollout.prompt.id, rollout.sample] = place

    def read(self, prompts: Iterable[Prompt], samples: Sequence[int]) -> Iterator[Rollout]:
        """The rollouts in the order of prompts, then samples."""
        with self._path.open("rb") as stream:
            for prompt in prompts:
                for sample in samples:
                    stream.seek(self._places[prompt.id, sample])
                    yield _rollout(json.loads(stream.readline()), prompt)

    def close(self) -> None:
        """Close the file; what it holds stays."""
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read_places(self) -> bool:
        """Note where each whole line begins; cut what follows the last one, and say whether there was anything."""
        if not self._path.exists():
            return False
        with self._path.open("rb+") as stream:
            place = 0
            while line := stream.readline():
                if not line.endswith(b"\n"):
                    stream.truncate(place)
                    return True
                row = json.loads(line)
                self._places[row["prompt"], row["sample"]] = place
                place = stream.tell()
        return False


def _line(rollout: Rollout) -> bytes:
    row = {
        "prompt": rollout.prompt.id,
        "sample": rollout.sample,
        "text": rollout.text,
        "finish_reason": rollout.finish_reason.value,
        "prompt_token_ids": _encoded(rollout.prompt_token_ids, "<i4"),
        "token_ids": _encoded(rollout.token_ids, "<i4"),
        "sampler_logprobs": _encoded(rollout.sampler_logprobs, "<f4"),
    }
    # ASCII: half a surrogate pair in a model's text is escaped, not lost.
    return json.dumps(row, ensure_ascii=True).encode() + b"\n"


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
