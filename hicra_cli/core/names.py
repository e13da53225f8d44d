"""What may be called how: kinds, names, aliases, references, ids and paths inside an artifact.

Everything a user, a bundle or a model gives passes through here before it reaches a path or a query. References are
`kind:name@vN`, `kind:name@alias` and `kind:name` (or `@latest`), the newest version.
"""

import difflib
import os
import re
import time
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from hicra_cli.core.errors import UsageError

MAKERS = {
    "policy": "train",
    "rollouts": "collect-grams",
    "candidates": "collect-grams",
    "annotations": "annotate-grams",
    "gram-set": "curate",
    "training": "train",
    "evaluation": "eval",
    "diagnosis": "diagnose",
}
"""The kinds of artifact, each with the command that publishes it."""

KINDS = tuple(MAKERS)

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_VERSION = re.compile(r"v([1-9][0-9]{0,8})")
_ID_LETTERS = "0123456789abcdefghjkmnpqrstvwxyz"
_ID = re.compile(rf"[{_ID_LETTERS}]{{26}}")
# Windows forbids these, and a colon would be an alternate stream there: a published path must unpack anywhere.
_FORBIDDEN_IN_PATHS = re.compile(r'[\x00-\x1f\x7f\\:*?"<>|\ud800-\udfff]')
_LONGEST_PATH = 240
LONGEST_SEGMENT = 120


@dataclass(frozen=True, slots=True)
class Reference:
    """A parsed reference: at most one of `version` and `alias` is set; neither means the newest version."""

    kind: str
    name: str
    version: int | None = None
    alias: str | None = None


def parse_reference(text: str) -> Reference:
    """`kind:name[@vN|@alias|@latest]` → Reference. UsageError says which part is wrong."""
    kind, colon, rest = text.partition(":")
    if not colon:
        raise UsageError(
            f"{text!r} is no artifact reference",
            fix="Write kind:name, kind:name@v3 or kind:name@alias, as in policy:nano",
        )
    check_kind(kind)
    name, at, selector = rest.partition("@")
    check_name(name)
    if not at or selector == "latest":
        return Reference(kind, name)
    version = _VERSION.fullmatch(selector)
    if version is not None:
        return Reference(kind, name, version=int(version[1]))
    check_alias(selector)
    return Reference(kind, name, alias=selector)


def check_kind(kind: str) -> str:
    """The kind itself if it is one of KINDS, else UsageError naming the nearest."""
    if kind in KINDS:
        return kind
    hint = nearest(kind, KINDS)
    raise UsageError(f"{kind!r} is no kind of artifact" + hint, fix=f"The kinds are {', '.join(KINDS)}")


def check_name(name: str) -> str:
    """The name itself if it is safe as a folder name everywhere, else UsageError."""
    if _NAME.fullmatch(name):
        return name
    raise UsageError(
        f"{name!r} is no artifact name",
        fix="A name has 1 to 64 of a-z 0-9 . _ - and starts with a letter or a digit",
    )


def check_alias(alias: str) -> str:
    """The alias itself if it is a name that cannot be mistaken for a version, else UsageError."""
    check_name(alias)
    if alias == "latest" or re.fullmatch(r"v[0-9]+", alias):
        raise UsageError(f"{alias!r} cannot be an alias: versions are written like that", fix="Choose another word")
    return alias


def path_fault(path: str) -> str | None:
    """Why `path` may not name a file inside an artifact, or None: relative, `/` between plain portable names."""
    if not path or path.startswith("/") or len(path) > _LONGEST_PATH:
        return "is empty, absolute or too long"
    if _FORBIDDEN_IN_PATHS.search(path):
        return "holds a character that some systems cannot store"
    for segment in path.split("/"):
        if segment in ("", ".", ".."):
            return "leaves its folder or has an empty part"
        if len(segment) > LONGEST_SEGMENT or segment != segment.strip(" ") or segment.endswith("."):
            return "has a part that some systems cannot store"
    return None


def clashing_paths(paths: Iterable[str]) -> tuple[str, str] | None:
    """Two paths that are one on a file system without case (or one that is a folder of the other), or None."""
    seen: dict[str, str] = {}
    for path in paths:
        folded = fold_path(path)
        if folded in seen:
            return seen[folded], path
        seen[folded] = path
    for folded, path in seen.items():
        parts = folded.split("/")
        for end in range(1, len(parts)):
            above = "/".join(parts[:end])
            if above in seen:
                return seen[above], path
    return None


def fold_path(path: str) -> str:
    """The form under which case-blind and normalising file systems store a path."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def new_id() -> str:
    """26 letters: 48 bits of milliseconds, then 80 random bits. Sorts by time; part of no digest."""
    number = (time.time_ns() // 1_000_000 << 80) | int.from_bytes(os.urandom(10), "big")
    return "".join(_ID_LETTERS[number >> shift & 31] for shift in range(125, -1, -5))


def is_id(text: str) -> bool:
    """Whether `text` has the form of `new_id`."""
    return _ID.fullmatch(text) is not None


def nearest(wanted: str, known: Iterable[str], *, count: int = 3) -> str:
    """`; nearest: a, b` for the closest of `known`, or an empty string."""
    close = difflib.get_close_matches(wanted, list(known), n=count, cutoff=0.4)
    return f"; nearest: {', '.join(close)}" if close else ""
