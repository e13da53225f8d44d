"""Cache keys: when two runs of a stage are the same.

A key is the SHA-256 of everything that can change the bytes of the result: the stage, the version of its code, the
part of the resolved configuration that matters to it and the digests of its inputs. What a stage leaves out of
`config` is a promise that it cannot change the result.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import PurePath
from typing import Any

from hicra_cli.core.errors import RunError


def cache_key(stage: str, code_version: str, config: Mapping[str, Any], inputs: Sequence[str]) -> str:
    """64 hex letters. The order of `config`'s keys does not matter, the order of `inputs` does."""
    content = {"code": code_version, "config": config, "inputs": list(inputs), "stage": stage}
    return hashlib.sha256(canonical_json(content)).hexdigest()


def canonical_json(value: Any) -> bytes:
    """The one JSON text of a value: sorted keys, no blanks, UTF-8, floats in their shortest exact form.

    Paths, enums, sets and tuples are written as text, value, sorted list and list. 1 and 1.0 differ, as they do in
    configuration. RunError for NaN, infinities and whatever JSON cannot hold.
    """
    try:
        text = json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return text.encode()
    except (ValueError, TypeError, RecursionError) as error:
        raise RunError(f"this value has no canonical JSON form: {error}") from error


def _plain(value: Any) -> Any:
    """The same value in what json knows; keys must be strings, because 1 and "1" would become one key."""
    if isinstance(value, Enum):
        return _plain(value.value)
    if isinstance(value, PurePath):
        return value.as_posix()
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"key {key!r} is no string")
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted((_plain(item) for item in value), key=repr)
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
