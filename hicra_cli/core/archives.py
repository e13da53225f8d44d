"""Two archive formats as plain sequences of files: `.tar.zst` and `.zip`.

Writing makes archives that ordinary tools read and whose bytes depend on nothing but the content. Reading is strict and
knows less than ordinary tools on purpose: a member is a plain file with a name and a size, and whatever else it is
(link, device, folder, sparse file) is a fault. Nothing here touches the disk besides the archive itself. The standard
tar reader is not used: its header parsing allocates what a hostile header asks for.
"""

import errno
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from hicra_cli.core.errors import ArtifactError, UsageError

_BLOCK = 512
_CHUNK = 1 << 20
_LARGEST_PAX = 1 << 14
_WINDOW_BYTES = 1 << 27  # the most memory a hostile zstd frame may claim
_TYPES = {b"1": "a hard link", b"2": "a link", b"3": "a device", b"4": "a device", b"5": "a folder", b"6": "a pipe"}


@dataclass(frozen=True, slots=True)
class Member:
    """One plain file of an archive; `content` must be read before the next member is asked for."""

    name: str
    size: int
    content: "BoundedReader"


class Source(Protocol):
    """A file to be written into an archive."""

    @property
    def name(self) -> str: ...
    @property
    def size(self) -> int: ...
    def blocks(self) -> Iterable[bytes]: ...


class BoundedReader:
    """Reads exactly `size` bytes of a stream, never more; a stream that ends early or is damaged is a fault."""

    def __init__(self, stream: IO[bytes], size: int, name: str) -> None:
        self._stream, self._left, self._name = stream, size, name

    def read(self, limit: int = _CHUNK) -> bytes:
        with _damage_is_refused():
            block = self._stream.read(min(limit, self._left)) if self._left else b""
        if not block and self._left:
            raise refused(f"{self._name} is cut off")
        self._left -= len(block)
        return block


def refused(what: str) -> ArtifactError:
    """The error of a bundle that is not what it says or cannot be read."""
    return ArtifactError(f"the bundle was refused: {what}", fix="Nothing was imported; ask its sender for a good one")


def archive_format(path: Path) -> str:
    """`zip` or `tar.zst`, by the file's name; UsageError for any other."""
    if path.name.endswith(".zip"):
        return "zip"
    if path.name.endswith((".tar.zst", ".tzst")):
        return "tar.zst"
    raise UsageError(f"{path.name!r} is no bundle", fix="A bundle's name ends in .tar.zst or .zip")


def write_archive(file: IO[bytes], kind: str, sources: Iterable[Source]) -> None:
    """Writes all sources in order. kind: see `archive_format`. OSError passes through."""
    if kind == "zip":
        _write_zip(file, sources)
    else:
        import zstandard

        with zstandard.ZstdCompressor(level=3).stream_writer(file, closefd=False) as stream:
            _write_tar(stream, sources)


def read_archive(file: IO[bytes], kind: str) -> Iterator[Member]:
    """The members in the archive's order. ArtifactError at the first thing that is no plain file, or is damaged."""
    with _damage_is_refused():
        yield from _read_zip(file) if kind == "zip" else _read_tar_zst(file)


def _write_tar(stream: IO[bytes], sources: Iterable[Source]) -> None:
    for source in sources:
        name = source.name.encode()
        if len(name) > 100 or source.size >= 1 << 33:
            records = _pax_record("path", source.name) + _pax_record("size", str(source.size))
            stream.write(_tar_header(b"pax", len(records), b"x") + _padded(records))
        stream.write(_tar_header(name[:100], min(source.size, (1 << 33) - 1), b"0"))
        for block in source.blocks():
            stream.write(block)
        stream.write(bytes(-source.size % _BLOCK))
    stream.write(bytes(2 * _BLOCK))


def _tar_header(name: bytes, size: int, kind: bytes) -> bytes:
    """A ustar header of nobody's file at time 0: the same content gives the same archive."""
    fields = struct.pack(
        "100s8s8s8s12s12s8s1s100s8s32s32s8s8s155s12x",
        name, b"0000644\0", b"0000000\0", b"0000000\0", b"%011o\0" % size, b"00000000000\0", b" " * 8, kind, b"",
        b"ustar\x0000", b"", b"", b"0000000\0", b"0000000\0", b"",
    )  # fmt: skip
    return fields[:148] + b"%06o\0 " % sum(fields) + fields[156:]


def _pax_record(key: str, value: str) -> bytes:
    """`LENGTH key=value\\n`, where LENGTH counts itself."""
    body = f" {key}={value}\n".encode()
    length = len(body)
    while length != len(body) + len(str(length)):
        length = len(body) + len(str(length))
    return str(length).encode() + body


def _padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % _BLOCK)


def _read_tar_zst(file: IO[bytes]) -> Iterator[Member]:
    import zstandard

    with zstandard.ZstdDecompressor(max_window_size=_WINDOW_BYTES).stream_reader(file, closefd=False) as stream:
        yield from _read_tar(stream)


def _read_tar(stream: IO[bytes]) -> Iterator[Member]:
    pax: dict[str, str] = {}
    while any(header := _exactly(stream, _BLOCK)):
        name, size, kind = _parse_header(header)
        if kind == b"x" and not pax:
            pax = _parse_pax(_exactly(stream, size + -size % _BLOCK)[:size]) if size <= _LARGEST_PAX else {}
            if not pax:
                raise refused("an extended header is malformed")
            continue
        if kind not in (b"0", b"\0"):
            raise refused(f"{name!r} is {_TYPES.get(kind, 'no plain file')}")
        name, size = pax.get("path", name), int(pax.get("size", size))
        pax = {}
        content = BoundedReader(stream, size, name)
        yield Member(name, size, content)
        while content.read():
            pass
        _exactly(stream, -size % _BLOCK)


def _parse_header(header: bytes) -> tuple[str, int, bytes]:
    """(name, size, type) of a ustar header whose checksum is right."""
    given, total = _octal(header[148:156]), sum(header[:148]) + 8 * 32 + sum(header[156:])
    if given != total or header[257:262] != b"ustar":
        raise refused("a tar header is damaged")
    name, prefix = header[:100].partition(b"\0")[0], header[345:500].partition(b"\0")[0]
    return (prefix + b"/" + name if prefix else name).decode(), _octal(header[124:136]), header[156:157]


def _octal(field: bytes) -> int:
    """A number of a tar header. ValueError for anything but octal digits (the binary form is not accepted)."""
    digits = field.rstrip(b" \0")
    if digits.strip(b"01234567"):
        raise ValueError("a tar header holds no number")
    return int(digits or b"0", 8)


def _parse_pax(records: bytes) -> dict[str, str]:
    """path and size of an extended header; ValueError for anything else in it."""
    values: dict[str, str] = {}
    while records:
        length = int(records.partition(b" ")[0])
        key, equals, value = records[:length].partition(b" ")[2].decode().removesuffix("\n").partition("=")
        if length <= 0 or key not in ("path", "size") or key in values or not equals:
            raise ValueError("an extended header is malformed")
        values[key] = value
        records = records[length:]
    if not values.get("size", "0").isdecimal():
        raise ValueError("an extended header is malformed")
    return values


def _exactly(stream: IO[bytes], size: int) -> bytes:
    parts, left = [], size
    while left:
        block = stream.read(left)
        if not block:
            raise refused("the archive is cut off")
        parts.append(block)
        left -= len(block)
    return b"".join(parts)


def _write_zip(file: IO[bytes], sources: Iterable[Source]) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for source in sources:
            info = zipfile.ZipInfo(source.name)  # the time is 1980-01-01
            info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, 0o100644 << 16
            with archive.open(info, "w", force_zip64=source.size >= 1 << 31) as member:
                for block in source.blocks():
                    member.write(block)


def _read_zip(file: IO[bytes]) -> Iterator[Member]:
    with closing(zipfile.ZipFile(file)) as archive:
        for info in archive.infolist():
            mode = info.external_attr >> 16
            if not info.filename or info.is_dir() or (mode and mode & 0o170000 not in (0, 0o100000)):
                raise refused(f"{info.filename!r} is no plain file")
            if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise refused(f"{info.filename!r} is encrypted or packed in an unknown way")
            with archive.open(info) as content:
                yield Member(info.filename, info.file_size, BoundedReader(content, info.file_size, info.filename))


@contextmanager
def _damage_is_refused() -> Iterator[None]:
    """Whatever the decoders say about bytes they cannot read is one thing to a user: a damaged bundle."""
    import zstandard

    decoders = (zipfile.BadZipFile, zlib.error, zstandard.ZstdError, EOFError, NotImplementedError, struct.error)
    try:
        yield
    except (*decoders, ValueError, OverflowError) as error:
        raise refused(f"the archive is damaged: {error}") from error
    except OSError as error:
        if error.errno != errno.EINVAL:  # EINVAL: an offset in the archive leads to a negative place
            raise
        raise refused(f"the archive is damaged: {error}") from error
