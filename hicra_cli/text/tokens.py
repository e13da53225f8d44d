"""The bytes behind token ids, and the characters behind those.

`TokenBytes` holds the bytes of every token of one tokenizer, so that a response's text comes from its sampled ids by
concatenation: nothing is tokenised again and no part of the ids is decoded on its own. What the table is made from is
the tokenizer's decoder:

- ByteLevel (GPT-2, Llama 3, Qwen): the byte alphabet, turned round; a token outside it is its own UTF-8.
- Metaspace, or Replace("▁", " ") with ByteFallback (SentencePiece: Llama 2, Mistral, Gemma): `▁` is a blank, `<0xNN>`
  one byte. Decoding strips a blank at the start of a text; here it stays, a response goes on after its prompt.
- none, or WordPiece without clean-up (word level): tokens are parted by blanks; a blank belongs to the token after it.
- BPEDecoder: the end-of-word suffix is a blank.

Any other decoder is refused, because the bytes of its tokens depend on their neighbours. Special tokens, and ids that
the tokenizer does not know (padded embedding rows), have no bytes and break a gram; other added tokens are read
like all tokens, as the tokenizer's own decoding does.
"""

import codecs
import json
import re
import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hicra_cli.core.errors import DataError


@dataclass(frozen=True, eq=False)
class TokenText:
    """The text of N token ids. Every span is half open.

    byte_starts, byte_ends: (N,) int64, each token's bytes in the concatenation. char_bytes: (len(text) + 1,) int64,
    where each character starts in the bytes, then their number. breaks: characters before which a special token stands.
    """

    text: str
    byte_starts: NDArray[np.int64]
    byte_ends: NDArray[np.int64]
    char_bytes: NDArray[np.int64]
    breaks: tuple[int, ...]

    @cached_property
    def char_spans(self) -> NDArray[np.int64]:
        """(N, 2): the characters that hold any byte of the token; a character split over tokens belongs to each."""
        starts = np.searchsorted(self.char_bytes, self.byte_starts, side="right") - 1
        ends = np.searchsorted(self.char_bytes, self.byte_ends, side="left")
        return np.stack([starts, np.maximum(starts, ends)], axis=1)

    def tokens_of(
        self, starts: NDArray[np.int64], ends: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """First token and end of the tokens with bytes among the characters [start, end), none of which is empty."""
        first = np.searchsorted(self.byte_ends, self.char_bytes[starts], side="right")
        end = np.searchsorted(self.byte_starts, self.char_bytes[ends], side="left")
        return first, end

    def parts(self) -> list[tuple[int, int]]:
        """Character spans between special tokens: no gram reaches from one into the next."""
        cuts = [0, *self.breaks, len(self.text)]
        return list(pairwise(cuts))


class TokenBytes:
    """The byte table of one tokenizer: a `tokenizers.Tokenizer`, or a Hugging Face tokenizer that is backed by one.

    Raises DataError for a tokenizer whose tokens have no bytes of their own.
    """

    def __init__(self, tokenizer: Any) -> None:
        backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
        if not hasattr(backend, "get_added_tokens_decoder"):
            raise DataError(
                f"{type(tokenizer).__name__} does not say which bytes its tokens stand for",
                fix="Load a fast tokenizer, one with a tokenizer.json",
            )
        added = backend.get_added_tokens_decoder()
        vocabulary = backend.get_vocab(with_added_tokens=True)
        size = 1 + max([*vocabulary.values(), *added], default=-1)
        special = {index for index, token in added.items() if token.special}
        special.update(getattr(tokenizer, "all_special_ids", ()))
        self._bytes = [b""] * (size + 1)  # the last row stands for every id that is not in the vocabulary
        self._breaks = np.ones(size + 1, dtype=bool)
        to_bytes = _token_reader(backend)
        for token, index in vocabulary.items():
            if index not in special:
                self._bytes[index] = to_bytes(token)
                self._breaks[index] = False
        self._lengths = np.fromiter(map(len, self._bytes), dtype=np.int64, count=size + 1)

    def __getitem__(self, token_id: int) -> bytes:
        """The bytes of one token; none for special and unknown ones."""
        return self._bytes[token_id] if 0 <= token_id < len(self._bytes) else b""

    def __len__(self) -> int:
        return len(self._bytes) - 1

    @property
    def table(self) -> list[bytes]:
        """The bytes of every id from 0 on; a last row, without bytes, stands for all ids outside the vocabulary."""
        return self._bytes

    @property
    def breaks(self) -> NDArray[np.bool_]:
        """(rows of the table,) bool: ids that break a gram."""
        return self._breaks

    def rows(self, token_ids: Sequence[int] | NDArray[np.integer[Any]]) -> NDArray[np.int64]:
        """(N,) int64: the row of the table of each id."""
        ids = np.asarray(token_ids, dtype=np.int64).reshape(-1)
        if len(ids) and (ids.min() < 0 or ids.max() > len(self)):
            ids = np.where((ids < 0) | (ids > len(self)), len(self), ids)
        return ids

    def text_and_offsets(self, token_ids: Sequence[int] | NDArray[np.integer[Any]]) -> TokenText:
        """The text of the ids with the exact place of every token; bytes that are no UTF-8 become U+FFFD."""
        ids = self.rows(token_ids)
        byte_ends = np.cumsum(self._lengths[ids])
        table = self._bytes
        data = b"".join([table[index] for index in ids.tolist()])
        cuts = np.unique(byte_ends[self._breaks[ids]]).tolist()
        pieces, lengths, breaks = [], [], []
        for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
            piece, piece_lengths = decoded(data[start:end])
            pieces.append(piece)
            lengths.append(piece_lengths)
            breaks.append(len(piece))
        return TokenText(
            text="".join(pieces),
            byte_starts=byte_ends - self._lengths[ids],
            byte_ends=byte_ends,
            char_bytes=np.concatenate([[0], np.cumsum(np.concatenate(lengths))]),
            breaks=tuple(np.cumsum(breaks)[:-1].tolist()),
        )


def token_bytes(tokenizer: Any) -> TokenBytes:
    """The table of this tokenizer, built once as long as it lives and its vocabulary keeps its size.

    A table is its own.
    """
    if isinstance(tokenizer, TokenBytes):
        return tokenizer
    try:
        table = _tables.get(tokenizer)
    except TypeError:  # neither hashable nor weakly referable
        return TokenBytes(tokenizer)
    backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
    if table is None or table[0] != backend.get_vocab_size(with_added_tokens=True):
        table = (backend.get_vocab_size(with_added_tokens=True), TokenBytes(tokenizer))
        _tables[tokenizer] = table
    return table[1]


def decoded(data: bytes) -> tuple[str, NDArray[np.int64]]:
    """`data.decode(errors="replace")` and the number of bytes behind each character."""
    if data.isascii():
        return data.decode("ascii"), np.ones(len(data), dtype=np.int64)
    # Escaping keeps one character per undecodable byte, so every other character's length follows from its code.
    escaped = data.decode("utf-8", "surrogateescape")
    codes = np.frombuffer(escaped.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    sizes = 1 + (codes > 0x7F).astype(np.int64) + (codes > 0x7FF) + (codes > 0xFFFF)
    text, lengths, position = [], [], 0
    for run in _ESCAPED.finditer(escaped):
        replaced = _replacement_sizes(run[0].encode("utf-8", "surrogateescape"))
        text += [escaped[position : run.start()], "\ufffd" * len(replaced)]
        lengths += [sizes[position : run.start()], np.array(replaced, dtype=np.int64)]
        position = run.end()
    return "".join([*text, escaped[position:]]), np.concatenate([*lengths, sizes[position:]])


_tables: weakref.WeakKeyDictionary[Any, tuple[int, TokenBytes]] = weakref.WeakKeyDictionary()
_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_ESCAPED = re.compile("[\udc80-\udcff]+")


def _replacement_sizes(undecodable: bytes) -> list[int]:
    """How many bytes each U+FFFD of errors="replace" stands for: at most three, so a window of four shows it."""
    sizes: list[int] = []
    position = 0
    while position < len(undecodable):
        try:
            codecs.utf_8_decode(undecodable[position : position + 4], "strict", True)
        except UnicodeDecodeError as error:
            sizes.append(error.end - error.start)
        position += sizes[-1]
    return sizes


def _token_reader(backend: Any) -> Callable[[str], bytes]:
    """How the tokenizer's decoder turns one token into bytes. Raises DataError where it looks at more than one."""
    if backend.decoder is None:
        return lambda token: b" " + _utf8(token)
    state = json.loads(backend.decoder.__getstate__())
    kind = state["type"]
    if kind == "ByteLevel":
        return _byte_level
    if kind == "Metaspace":
        return lambda token: _utf8(token.replace(state["replacement"], " "))
    if kind == "BPEDecoder":
        return lambda token: _utf8(token.replace(state["suffix"], " "))
    if kind == "WordPiece" and not state["cleanup"]:
        prefix = state["prefix"]
        return lambda token: _utf8(token.removeprefix(prefix) if token.startswith(prefix) else " " + token)
    if kind == "Sequence":
        return _sequence_reader(state["decoders"])
    raise _refusal(state)


def _sequence_reader(decoders: list[dict[str, Any]]) -> Callable[[str], bytes]:
    """Replace, ByteFallback and Metaspace before Fuse; after it only what trims the ends of the whole text."""
    replacements: list[tuple[str, str]] = []
    fallback = byte_level = fused = False
    for decoder in decoders:
        kind = decoder["type"]
        if kind == "Replace" and not fused and "String" in decoder["pattern"]:
            replacements.append((decoder["pattern"]["String"], decoder["content"]))
        elif kind == "Metaspace" and not fused:
            replacements.append((decoder["replacement"], " "))
        elif kind == "ByteFallback" and not fused:
            fallback = True
        elif kind == "ByteLevel" and not fused:
            byte_level = True
        elif kind == "Fuse":
            fused = True
        elif not (kind == "Strip" and fused):
            raise _refusal(decoder)

    def read(token: str) -> bytes:
        for old, new in replacements:
            token = token.replace(old, new)
        if fallback and (byte := _BYTE_TOKEN.fullmatch(token)):
            return bytes([int(byte[1], 16)])
        return _byte_level(token) if byte_level else _utf8(token)

    return read


def _refusal(decoder: dict[str, Any]) -> DataError:
    return DataError(
        f"the tokenizer's decoder {decoder['type']} makes the text of a token depend on its neighbours: "
        f"{json.dumps(decoder)[:200]}",
        fix="Use a tokenizer with a byte-level, SentencePiece or word-level decoder",
    )


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def _byte_alphabet(shown: Iterable[range]) -> dict[int, int | str]:
    """Code point -> byte of the byte-level alphabet: printable bytes stand for themselves, the others come after 255.

    Code points below 256 outside the alphabet get a character that Latin-1 cannot encode.
    """
    printable = [byte for part in shown for byte in part]
    hidden = [byte for byte in range(256) if byte not in printable]
    table: dict[int, int | str] = dict.fromkeys(hidden, "\ufffd")
    table.update((256 + rank, byte) for rank, byte in enumerate(hidden))
    return table


_BYTE_LEVEL = _byte_alphabet((range(33, 127), range(161, 173), range(174, 256)))


def _byte_level(token: str) -> bytes:
    try:
        return token.translate(_BYTE_LEVEL).encode("latin-1")
    except UnicodeEncodeError:  # not written in the byte alphabet
        return _utf8(token)
