"""Lists of grams as people keep them: text with one gram a line, or JSON lines.

Text: a gram, or a gram, a tab and its move; blank lines and lines that begin with `#` are passed over. JSON lines (a
name that ends in `.jsonl`, also `.gz` or `.zst`): the format of `grams.jsonl`, of which only `gram` is needed. Grams
are normalised when they are read; every fault is named with file and line.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from hicra_cli.core.errors import DataError, RunError
from hicra_cli.core.records import StrategicGram
from hicra_cli.grams.gram_set import SHOWN_CHARACTERS, GramSet, gram_from, move_from, read_grams


def read_gram_list(path: Path, *, shortest: int = 3, longest: int = 5) -> list[StrategicGram]:
    """The grams of one list, in its order, with the source `import:FILE`.

    shortest, longest: words a gram may have. Raises DataError at `file:line` for a line that holds no gram, a gram of
    another length or one that stands there already, and where there is no gram at all.
    """
    grams: list[StrategicGram] = []
    seen: dict[tuple[str, ...], str] = {}
    for gram, where in _listed(path):
        if not shortest <= len(gram.words) <= longest:
            raise DataError(
                f"this gram has {_words(len(gram.words))}, {shortest} to {longest} are allowed: {_shown(gram.text)}",
                where=where,
                fix="Shorten or remove it; collect.ngram_min and collect.ngram_max set the bounds",
            )
        if gram.words in seen:
            raise DataError(
                f"gram `{gram.text}` stands in line {seen[gram.words].rpartition(':')[2]} already",
                where=where,
                fix="Remove one of the two lines",
            )
        seen[gram.words] = where
        grams.append(replace(gram, source=f"import:{path}"))
    if not grams:
        raise DataError("the list holds no gram", where=str(path), fix="Give one gram a line")
    return grams


def read_gram_lists(paths: Sequence[Path], *, shortest: int = 3, longest: int = 5) -> dict[str, StrategicGram]:
    """The grams of several lists by their text; a gram of two lists keeps the first one's source, and either's move.

    Raises DataError as `read_gram_list`, and where two lists give a gram different moves.
    """
    merged: dict[str, StrategicGram] = {}
    for path in paths:
        for gram in read_gram_list(path, shortest=shortest, longest=longest):
            known = merged.setdefault(gram.text, gram)
            if None not in (known.move, gram.move) and known.move is not gram.move:
                raise DataError(
                    f"gram `{gram.text}` is {gram.move} here and {known.move} in {known.source.partition(':')[2]}",
                    where=str(path),
                    fix="Decide for one move",
                )
            if known.move is None:
                merged[gram.text] = replace(known, move=gram.move)
    return merged


def write_gram_list(path: Path, gram_set: GramSet) -> None:
    """Write a gram-set as a list, whole or not at all: JSON lines where the name ends in `.jsonl`, else text.

    Raises RunError where the file cannot be written.
    """
    content = gram_set.canonical if path.suffix == ".jsonl" else gram_list_text(gram_set).encode("utf-8", "replace")
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_bytes(content)
        os.replace(unfinished, path)
    except OSError as error:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise RunError(f"the grams could not be written: {error.strerror}", where=str(path)) from error


def gram_list_text(gram_set: GramSet) -> str:
    """One gram a line, with a tab and its move where it has one."""
    return "".join(f"{gram.text}\t{gram.move}\n" if gram.move else f"{gram.text}\n" for gram in gram_set.grams)


def _listed(path: Path) -> Iterator[tuple[StrategicGram, str]]:
    name = path.name.removesuffix(".gz").removesuffix(".zst")
    return read_grams(path) if name.endswith((".jsonl", ".json")) else _text_lines(path)


def _text_lines(path: Path) -> Iterator[tuple[StrategicGram, str]]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", where=str(path), fix="Check the path") from error
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        where = f"{path}:{number}"
        try:
            text = line.decode().strip()
        except UnicodeDecodeError as error:
            raise DataError(f"the line is not UTF-8: {error.reason} at byte {error.start}", where=where) from error
        if text and not text.startswith("#"):
            phrase, _, move = text.partition("\t")
            yield gram_from(phrase, where=where, move=move_from(move.strip() or None, where=where)), where


def _words(number: int) -> str:
    return "1 word" if number == 1 else f"{number} words"


def _shown(text: str) -> str:
    return f"`{text}`" if len(text) <= SHOWN_CHARACTERS else f"`{text[:SHOWN_CHARACTERS]}…`"
