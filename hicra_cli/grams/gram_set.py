"""A gram-set: the strategic grams that decide which tokens plan.

Its file is `grams.jsonl`, one object a line: `gram` (the words), `move`, `cluster`, `document_frequency`, `source`, of
which only `gram` is required; fields of other readers are passed over. Written files are canonical: grams in the order
of their words, fixed field order, so that equal gram-sets are equal bytes and `digest` is the file's SHA-256.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

from hicra_cli.core.errors import DataError
from hicra_cli.core.records import Move, StrategicGram
from hicra_cli.grams.builtin import builtin_names, builtin_path
from hicra_cli.grams.jsonl import json_lines
from hicra_cli.text.words import normalise_gram

FILE_NAME = "grams.jsonl"
SHOWN_CHARACTERS = 160


@dataclass(frozen=True, slots=True)
class GramSet:
    """Strategic grams without duplicates, sorted by their words. `meta` says where they come from; it is no content.

    Raises DataError where there is no gram, a gram's words are not normalised, or a gram occurs twice.
    """

    grams: tuple[StrategicGram, ...]
    meta: Mapping[str, str] = field(default_factory=dict, compare=False)
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        grams = tuple(sorted(self.grams, key=lambda gram: gram.words))
        if not grams:
            raise DataError(
                "the gram-set is empty: no token would be a planning token",
                fix="Lower the thresholds of `hicra curate`, or name another gram-set",
            )
        for gram, following in pairwise(grams):
            if gram.words == following.words:
                raise DataError(f"gram {gram.text!r} occurs twice in the gram-set", fix="Keep one of them")
        for gram in grams:
            if normalise_gram(gram.text) != gram.words:
                raise DataError(f"gram {gram.text!r} is not normalised", fix="Make it with GramSet.from_phrases")
        object.__setattr__(self, "grams", grams)
        object.__setattr__(self, "digest", hashlib.sha256(self.canonical).hexdigest())

    @classmethod
    def from_phrases(
        cls, phrases: Iterable[str], moves: Sequence[Move | None] | None = None, *, source: str = ""
    ) -> Self:
        """Grams from plain phrases (`"Let's see now"`), with one move per phrase where `moves` is given.

        Phrases that are the same words are one gram. Raises DataError for a phrase that can never occur, for equal
        phrases with different moves, and for none at all.
        """
        listed = list(phrases)
        chosen: dict[tuple[str, ...], StrategicGram] = {}
        for phrase, move in zip(listed, [None] * len(listed) if moves is None else moves, strict=True):
            gram = StrategicGram(normalise_gram(phrase), move=move, source=source)
            if chosen.setdefault(gram.words, gram).move != move:
                raise DataError(f"gram {gram.text!r} is given with two moves", fix="Decide for one")
        return cls(tuple(chosen.values()))

    @classmethod
    def load(cls, source: str | Path, *, home: Path = Path(".hicra")) -> Self:
        """Read a file, a folder that holds `grams.jsonl`, a shipped set by its name (`default-en`), or a reference
        such as `gram-set:name@v2` from `home`. A file or folder that is called like a shipped set: `./default-en`.

        Raises DataError with file and line for malformed content, ArtifactError for an artifact that is missing or
        damaged.
        """
        if isinstance(source, str) and source.startswith("gram-set:"):
            from hicra_cli.core.registry import Registry

            with Registry.open(home, create=False) as registry:
                artifact = registry.resolve(source)
            return cls(tuple(_grams_in(artifact.file(FILE_NAME))), meta={"reference": artifact.ref})
        if isinstance(source, str) and (shipped := builtin_path(source)) is not None:
            return cls(tuple(_grams_in(shipped)), meta={"builtin": source})
        path = Path(source)
        path = path / FILE_NAME if path.is_dir() else path
        if not path.is_file():
            shipped_names = "".join(f", {name}" for name in builtin_names())
            raise DataError(
                f"there is no gram-set file {path}", fix=f"Name a file, an artifact as gram-set:NAME{shipped_names}"
            )
        return cls(tuple(_grams_in(path)), meta={"path": str(path)})

    def save(self, folder: Path) -> Path:
        """Write `grams.jsonl` into an existing folder and return its path."""
        path = folder / FILE_NAME
        path.write_bytes(self.canonical)
        return path

    @property
    def canonical(self) -> bytes:
        """The bytes of `grams.jsonl`."""
        return "".join(json.dumps(_record(gram), ensure_ascii=False) + "\n" for gram in self.grams).encode(
            "utf-8", "replace"
        )

    @property
    def longest(self) -> int:
        """Words of the longest gram."""
        return max(len(gram.words) for gram in self.grams)

    @property
    def shortest(self) -> int:
        """Words of the shortest gram."""
        return min(len(gram.words) for gram in self.grams)

    def __len__(self) -> int:
        return len(self.grams)


def _record(gram: StrategicGram) -> dict[str, Any]:
    return {
        "gram": gram.text,
        "move": None if gram.move is None else gram.move.value,
        "cluster": gram.cluster,
        "document_frequency": gram.document_frequency,
        "source": gram.source,
    }


def read_grams(path: Path) -> Iterator[tuple[StrategicGram, str]]:
    """(gram, `file:line`) of every line of a `grams.jsonl`, normalised. Raises DataError; judges no line by others."""
    for where, record in json_lines(path):
        if not isinstance(record.get("gram"), str):
            raise DataError("a gram is an object with the text `gram`", where=where)
        gram = gram_from(record["gram"], where=where, move=move_from(record.get("move"), where=where))
        yield (
            replace(
                gram,
                cluster=_count(record, "cluster", where),
                document_frequency=_count(record, "document_frequency", where),
                source=str(record.get("source") or ""),
            ),
            where,
        )


def gram_from(phrase: str, *, where: str, move: Move | None = None) -> StrategicGram:
    """The gram of a phrase; DataError at `where` for one that can never occur. A long phrase is shown shortened."""
    try:
        return StrategicGram(normalise_gram(phrase), move=move)
    except DataError as error:
        what = error.what if len(phrase) <= SHOWN_CHARACTERS else error.what.replace(repr(phrase), _start(phrase))
        raise DataError(what, where=where, fix=error.fix) from error


def move_from(value: object, *, where: str) -> Move | None:
    """The move of a field; None stays None. Raises DataError at `where` for anything else."""
    if value is None:
        return None
    try:
        return Move(str(value))
    except ValueError as error:
        known = ", ".join(move.value for move in Move)
        raise DataError(f"move {_start(str(value))} is none of {known}", where=where) from error


def _grams_in(path: Path) -> list[StrategicGram]:
    grams: list[StrategicGram] = []
    lines: dict[tuple[str, ...], str] = {}
    for gram, where in read_grams(path):
        if gram.words in lines:
            raise DataError(
                f"gram {gram.text!r} stands in line {lines[gram.words].rpartition(':')[2]} already",
                where=where,
                fix="Remove one of them",
            )
        lines[gram.words] = where
        grams.append(gram)
    if not grams:
        raise DataError("the gram-set is empty: no token would be a planning token", where=str(path))
    return grams


def _start(text: str) -> str:
    return repr(text) if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]!r}…"


def _count(record: Mapping[str, Any], name: str, place: str) -> int | None:
    value = record.get(name)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
        raise DataError(f"{name} is no whole number: {value!r}", where=place)
    return value
