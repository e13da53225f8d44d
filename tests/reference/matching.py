"""Slow planning masks: words read character by character, every gram tried at every word, every byte owned by a token.

Written from the rules in `hicra_cli.text.words` and `hicra_cli.text.tokens`, sharing no code with them. Quadratic.
"""

import codecs
import unicodedata
from itertools import pairwise

PROSE: tuple[str, ...] = (
    "itemize",
    "enumerate",
    "description",
    "center",
    "quote",
    "quotation",
    "document",
    "abstract",
    "proof",
)
PROSE += ("theorem", "lemma", "solution")
LINE_BREAKS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
APOSTROPHES = "'’‘‛ʼ＇"
CODE = "\ud800"  # stands for each character of code; no text that was decoded has it
HYPHENS = "-‐‑﹣－"


def reference_mask(pieces, grams, *, truncated=False):
    """pieces: the bytes of each token, None for a token that breaks grams. grams: tuples of normalised words."""
    mask = [False] * len(pieces)
    for part in _between_breaks(pieces):
        owners = [index for index in part for _ in pieces[index]]
        text, sizes = decode_slowly(b"".join(pieces[index] for index in part))
        at_end = truncated and (not pieces or part[-1:] == [len(pieces) - 1])
        for _, start, end in reference_occurrences(text, grams, truncated=at_end):
            for byte in range(sum(sizes[:start]), sum(sizes[:end])):
                mask[owners[byte]] = True
    return mask


def reference_grams(pieces, grams, *, truncated=False):
    """The gram of each token or None: the one of most words there, of equally long ones the first to begin."""
    chosen = [None] * len(pieces)
    for part in _between_breaks(pieces):
        owners = [index for index in part for _ in pieces[index]]
        text, sizes = decode_slowly(b"".join(pieces[index] for index in part))
        at_end = truncated and (not pieces or part[-1:] == [len(pieces) - 1])
        found = reference_occurrences(text, grams, truncated=at_end)
        for gram, start, end in sorted(found, key=lambda one: (-len(one[0]), one[1])):
            for byte in range(sum(sizes[:start]), sum(sizes[:end])):
                chosen[owners[byte]] = chosen[owners[byte]] or gram
    return chosen


def reference_occurrences(text, grams, *, truncated=False):
    """(gram, start, end) of every gram at every word, in the order of start and end."""
    found = set()
    for run in reference_words(text):
        for first in range(len(run)):
            for gram in grams:
                words = run[first : first + len(gram)]
                if tuple(word for word, _, _ in words) == gram:
                    found.add((gram, words[0][1], words[-1][2]))
    if truncated:
        unfinished = APOSTROPHES + HYPHENS + "\ufffd"
        found = {(gram, start, end) for gram, start, end in found if text[end:].strip(unfinished)}
    return sorted(found, key=lambda one: (one[1], one[2], one[0]))


def reference_counted(text, grams):
    """At the first word that begins a gram take the longest, go on behind it."""
    counted, position = [], 0
    while rest := [one for one in reference_occurrences(text, grams) if one[1] >= position]:
        first = min(start for _, start, _ in rest)
        counted.append(max((one for one in rest if one[1] == first), key=lambda one: one[2]))
        position = counted[-1][2]
    return counted


def decode_slowly(data):
    """`data.decode(errors="replace")` and the bytes of each character, by feeding one byte after the other."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text, sizes, pending = "", [], 0
    for position in range(len(data) + 1):
        emitted = decoder.decode(data[position : position + 1], position == len(data))
        kept = len(decoder.getstate()[0])
        pending += position < len(data)
        shown = pending - kept
        # one character per byte (ED A0 is two mistakes), or what was pending is one and this byte another
        sizes += (
            [1] * shown if len(emitted) == shown else [shown - 1, 1] if len(emitted) == 2 else [shown] * len(emitted)
        )
        pending = kept
        text += emitted
    return text, sizes


def reference_words(text):
    """Runs of (word, start, end) that a gram may cover."""
    left_out = _left_out(text)
    runs: list[list[tuple[str, int, int]]] = []
    run: list[tuple[str, int, int]] = []
    position = 0
    while position < len(text):
        character = text[position]
        if position in left_out or character in LINE_BREAKS:
            runs, run, position = [*runs, run], [], position + 1
            continue
        if character.isspace():
            position += 1
            continue
        end = position
        while end < len(text) and end not in left_out and not text[end].isspace():
            end += 1
        for item in _read_chunk(text[position:end]):
            if item is None:
                runs, run = [*runs, run], []
            else:
                run.append((item[0], position + item[1], position + item[2]))
        position = end
    return [run for run in [*runs, run] if run]


def _read_chunk(chunk):
    """Words as (word, start, end) and None for breaks, one character after the other."""
    items: list[tuple[str, int, int] | None] = []
    position, word_before, emphasis = 0, False, False
    while position < len(chunk):
        character = chunk[position]
        if _is_letter(character) or _is_number(character):
            end = _end_of_dotted(chunk, position)
            dotted = end is not None
            if end is None:
                end = _end_of_run(chunk, position)
            if word_before:
                items.append(None)
            items.append(_normal(chunk[position:end], position, end))
            word_before = True
            if end < len(chunk) and chunk[end] == ".":
                end += 1
                if not dotted:
                    items.append(None)
            position = end
        elif character in ",，、﹐—–―":
            word_before = False
            position += 1
        elif character in "*_":
            emphasis = True
            position += 1
        elif character == "\\":
            items.append(None)
            position += 1
            while position < len(chunk) and _is_letter(chunk[position]):
                position += 1
            if chunk[position - 1] == "\\":
                position += 1
        elif _is_quote(character):
            position += 1
        else:
            items.append(None)
            position += 1
    return items or ([None] if emphasis else [])


def _end_of_run(chunk, position):
    while position < len(chunk):
        joined = chunk[position] in APOSTROPHES + HYPHENS and position + 1 < len(chunk)
        if joined and (_is_letter(chunk[position + 1]) or _is_number(chunk[position + 1])):
            position += 1
        elif not (_is_letter(chunk[position]) or _is_number(chunk[position]) or _is_mark(chunk[position])):
            break
        position += 1
    return position


def _end_of_dotted(chunk, position):
    """The end of single letters joined by full stops, without the last stop, or None."""
    end = position
    while end < len(chunk) and _is_letter(chunk[end]):
        end += 1
        if chunk[end : end + 1] != ".":
            break
        end += 1
    letters = chunk[position:end].rstrip(".").split(".")
    while letters and _goes_on(chunk[position + 2 * len(letters) - 1 :]):
        letters.pop()  # the last letter begins a longer word
    return position + 2 * len(letters) - 1 if len(letters) > 1 and all(len(one) == 1 for one in letters) else None


def _goes_on(rest):
    if not rest:
        return False
    return _is_letter(rest[0]) or _is_mark(rest[0]) or _is_number(rest[0]) or rest[0] in APOSTROPHES + HYPHENS


def _normal(word, start, end):
    normal = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", word).lower())
    normal = "".join("'" if c in APOSTROPHES else "-" if c in HYPHENS else c for c in normal)
    dotted = _end_of_dotted(normal, 0) == len(normal)
    whole = dotted or _end_of_run(normal, 0) == len(normal)
    letters = bool(normal) and _is_letter(normal[0]) and not any(_is_number(character) for character in normal)
    return (normal, start, end) if whole and letters else None


def _is_letter(character):
    return character not in APOSTROPHES and unicodedata.category(character).startswith("L")


def _is_mark(character):
    return unicodedata.category(character).startswith("M")


def _is_number(character):
    return unicodedata.category(character).startswith("N")


def _is_quote(character):
    if character in APOSTROPHES or character in '"＂':
        return True
    return character not in "{}" + HYPHENS and unicodedata.category(character) in ("Ps", "Pe", "Pi", "Pf")


def _between_breaks(pieces):
    parts: list[list[int]] = [[]]
    for index, piece in enumerate(pieces):
        if piece is None:
            parts.append([])
        else:
            parts[-1].append(index)
    return parts


def _left_out(text):
    """The characters of code and maths."""
    code = _code(text)
    hidden = "".join(CODE if position in code else character for position, character in enumerate(text))
    marks = _marks(hidden)
    spans = [*_dollars(hidden, marks), *_pairs(marks, "\\(", "\\)"), *_pairs(marks, "\\[", "\\]"), *_displays(marks)]
    spans += _environments(marks)
    return code | {position for start, end in spans for position in range(start, end)}


def _code(text):
    runs, position = [], 0  # (start, end, backticks, language) of runs, and line breaks with no backticks
    while position < len(text):
        end = position
        while end < len(text) and text[end] == "`":
            end += 1
        backticks = end - position
        while backticks >= 3 and end < len(text) and (text[end].isalnum() or text[end] == "_"):
            end += 1
        if backticks or text[position] in "\n\r":
            runs.append((position, end, backticks, end - position > backticks))
        position = max(end, position + 1)
    inside = set()
    fences = [run for run in runs if run[2] >= 3]
    index = 0
    while index + 1 < len(fences):
        closed = not fences[index + 1][3]
        if closed:
            inside |= set(range(fences[index][0], fences[index + 1][1]))
        index += 2 if closed else 1
    index = 0
    while index < len(runs):
        closer = None
        for later in range(index + 1, len(runs) if 1 <= runs[index][2] <= 2 else 0):
            if runs[later][2] == 0 or runs[later][2] >= 3:
                break
            if runs[later][2] == runs[index][2]:
                closer = later
                break
        if closer is not None:
            inside |= set(range(runs[index][0], runs[closer][1]))
        index = index + 1 if closer is None else closer + 1
    return inside


def _marks(text):
    """(what, start, end) of every delimiter of maths and every blank line."""
    marks, position = [], 0
    while position < len(text):
        end = position + 1
        kind = None
        if text[position] == "\\":
            kind, end = _command(text, position)
        elif text[position] == "$":
            kind = "$$" if text[position : position + 2] == "$$" else "$"
            end = position + len(kind)
        elif text[position] == "\n":
            line_end = text.find("\n", position + 1)
            if line_end >= 0 and not text[position:line_end].strip():
                kind, end = "blank line", line_end + 1
        if kind is not None:
            marks.append((kind, position, end))
        position = end
    return marks


def _command(text, position):
    for kind in ("begin", "end"):
        head = "\\" + kind + "{"
        prose = any(text.startswith(head + name + star + "}", position) for name in PROSE for star in ("", "*"))
        if text.startswith(head, position) and not prose:
            end = position + len(head)
            while kind == "end" and end < len(text) and text[end] not in "{}\n`$\\" + CODE:
                end += 1
            return kind, end + (kind == "end" and text[end : end + 1] == "}")
    return text[position : position + 2], min(position + 2, len(text))


def _dollars(text, marks):
    spans, opener = [], None
    for kind, start, end in marks:
        before, after = text[start - 1 : start], text[end : end + 1]
        if kind == "blank line":
            opener = None
        elif kind == "$":
            if opener is not None and not before.isspace() and not after.isdigit():
                spans.append((opener, end))
                opener = None
            else:
                opens = after != "" and not after.isspace() and not before.isalnum()
                opener = start if opens else None
    return spans


def _displays(marks):
    found = [mark for mark in marks if mark[0] in ("$$", "blank line")]
    spans, index = [], 0
    while index + 1 < len(found):
        if found[index][0] == found[index + 1][0] == "$$":
            spans.append((found[index][1], found[index + 1][2]))
            index += 1
        index += 1
    return spans


def _pairs(marks, opener, closer):
    found = [mark for mark in marks if mark[0] in (opener, closer)]
    return [(a[1], b[2]) for a, b in pairwise(found) if (a[0], b[0]) == (opener, closer)]


def _environments(marks):
    found = [mark for mark in marks if mark[0] in ("begin", "end")]
    spans = []
    for index, (kind, _, end) in enumerate(found):
        depth = 0
        for other, start, _ in reversed(found[:index] if kind == "end" else []):
            depth += 1 if other == "end" else -1
            if depth < 0:
                spans.append((start, end))
                break
    return spans
