"""Bundles made to do harm: each is refused whole, with exit code 3, and leaves the registry byte for byte as it was."""

import copy
import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hicra_cli.core.artifact import FileEntry
from hicra_cli.core.errors import ArtifactError
from hicra_cli.core.manifest import manifest_of
from hicra_cli.core.registry import Registry
from tests.core.helpers import make, tree

ID, OTHER_ID = "0" * 26, "1" * 26
CONTENT = b"hello"
Listing = dict[str, Any]
Members = list[tuple[str, bytes]]


@pytest.fixture
def registry(tmp_path):
    with Registry.open(tmp_path / "home") as opened:
        make(opened, "policy:mine", aliases=["best"])
        yield opened


def listed_file(path: str, content: bytes = CONTENT) -> Listing:
    return {"path": path, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def listed_artifact(*files: Listing, **changes: Any) -> Listing:
    entries = [FileEntry(str(file["path"]), str(file["sha256"]), file["bytes"]) for file in files]
    artifact = {
        "id": ID, "origin": ID, "kind": "policy", "name": "nano", "version": 1, "digest": manifest_of(entries).digest,
        "created": "2026-01-01T00:00:00Z", "key": None, "run_id": None, "summary": {}, "aliases": [], "inputs": [],
        "files": list(files),
    }  # fmt: skip
    return {**artifact, **changes}


def listing_of(*artifacts: Listing) -> Listing:
    return {"format": "hicra-bundle", "version": 1, "artifacts": list(artifacts), "runs": []}


GOOD = listing_of(listed_artifact(listed_file("a"), listed_file("b")))
GOOD_MEMBERS: Members = [(f"artifacts/{ID}/a", CONTENT), (f"artifacts/{ID}/b", CONTENT)]


def write_zip(path: Path, listing: bytes, members: Members) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in [("hicra-bundle.json", listing), *members]:
            archive.writestr(name, content)


def write_tar_zst(
    path: Path, listing: bytes, members: Members, *, extra: Callable[[tarfile.TarFile], None] | None = None
):
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in [("hicra-bundle.json", listing), *members]:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        if extra is not None:
            extra(archive)
    path.write_bytes(zstandard.compress(plain.getvalue()))


def refusal(registry: Registry, path: Path) -> str:
    """The error of an import that must be refused, after the registry was found unchanged."""
    before = tree(registry.home)
    outside = sorted(str(found) for found in path.parent.rglob("*") if registry.home not in found.parents)
    with pytest.raises(ArtifactError) as raised:
        registry.import_bundle(path)
    assert raised.value.exit_code == 3
    assert tree(registry.home) == before
    assert outside == sorted(str(found) for found in path.parent.rglob("*") if registry.home not in found.parents)
    return str(raised.value)


def test_a_bundle_of_ordinary_tools_is_accepted(registry, tmp_path):
    write_zip(tmp_path / "good.zip", json.dumps(GOOD).encode(), GOOD_MEMBERS)
    write_tar_zst(tmp_path / "good.tar.zst", json.dumps(GOOD).encode(), GOOD_MEMBERS)
    assert registry.import_bundle(tmp_path / "good.zip")[0].ref == "policy:nano@v1"
    assert registry.import_bundle(tmp_path / "good.tar.zst")[0].ref == "policy:nano@v1"


@pytest.mark.parametrize("write", [write_zip, write_tar_zst])
@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ([*GOOD_MEMBERS, ("../outside", b"x")], "not in its listing"),
        ([*GOOD_MEMBERS, ("/tmp/outside", b"x")], "not in its listing"),
        ([*GOOD_MEMBERS, GOOD_MEMBERS[1]], "not in its listing"),
        ([GOOD_MEMBERS[0], GOOD_MEMBERS[0], GOOD_MEMBERS[1]], "stands where"),
        ([GOOD_MEMBERS[1], GOOD_MEMBERS[0]], "stands where"),
        ([(f"artifacts/{ID}/../../outside", CONTENT), GOOD_MEMBERS[1]], "stands where"),
        (GOOD_MEMBERS[:1], "is missing"),
        ([], "is missing"),
        ([GOOD_MEMBERS[0], (f"artifacts/{ID}/b", b"hell")], "4 bytes, 5 are listed"),
        ([GOOD_MEMBERS[0], (f"artifacts/{ID}/b", b"h" * 10_000_000)], "5 are listed"),
        ([GOOD_MEMBERS[0], (f"artifacts/{ID}/b", b"HELLO")], "does not match its hash"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_members_that_are_not_the_listed_files_are_refused(registry, tmp_path, write, members, reason):
    path = tmp_path / ("bundle.zip" if write is write_zip else "bundle.tar.zst")
    write(path, json.dumps(GOOD).encode(), members)
    assert reason in refusal(registry, path)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (tarfile.SYMTYPE, "a link"),
        (tarfile.LNKTYPE, "a hard link"),
        (tarfile.CHRTYPE, "a device"),
        (tarfile.FIFOTYPE, "a pipe"),
        (tarfile.DIRTYPE, "a folder"),
        (tarfile.GNUTYPE_SPARSE, "no plain file"),
        (tarfile.GNUTYPE_LONGNAME, "no plain file"),
    ],
)
def test_links_devices_and_folders_in_a_tar_are_refused(registry, tmp_path, kind, reason):
    def add(archive: tarfile.TarFile) -> None:
        info = tarfile.TarInfo(f"artifacts/{ID}/b")
        info.type, info.linkname = kind, "/etc/passwd"
        archive.addfile(info)

    write_tar_zst(tmp_path / "bundle.tar.zst", json.dumps(GOOD).encode(), GOOD_MEMBERS[:1], extra=add)
    assert reason in refusal(registry, tmp_path / "bundle.tar.zst")


def test_links_and_encrypted_files_in_a_zip_are_refused(registry, tmp_path):
    path = tmp_path / "bundle.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("hicra-bundle.json", json.dumps(GOOD))
        archive.writestr(*GOOD_MEMBERS[0])
        link = zipfile.ZipInfo(f"artifacts/{ID}/b")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, CONTENT)
    assert "no plain file" in refusal(registry, path)
    write_zip(path, json.dumps(GOOD).encode(), GOOD_MEMBERS)
    content = bytearray(path.read_bytes())
    content[content.rindex(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    assert "encrypted" in refusal(registry, path)


def change(path: str, value: Any) -> Listing:
    """The good listing with one value replaced; `path` is dotted, numbers are places in lists."""
    listing = copy.deepcopy(GOOD)
    place: Any = listing
    *parents, last = path.split(".")
    for step in parents:
        place = place[int(step) if step.isdecimal() else step]
    place[int(last) if last.isdecimal() else last] = value
    return listing


HOSTILE_LISTINGS = {
    **{
        f"path {path!r}": listing_of(listed_artifact(listed_file(path)))
        for path in (
            "../a",
            "/etc/a",
            "a/../../b",
            "a\\b",
            "c:a",
            "a\x00b",
            "",
            ".",
            "a//b",
            "b/",
            "nul\n",
            "\u202e" * 300,
        )
    },
    "case clash": listing_of(listed_artifact(listed_file("Model"), listed_file("model"))),
    "unicode clash": listing_of(listed_artifact(listed_file("\u00e9"), listed_file("e\u0301"))),
    "folder clash": listing_of(listed_artifact(listed_file("a"), listed_file("A/b"))),
    "one path twice": listing_of(listed_artifact(listed_file("a"), listed_file("a"))),
    "no files": listing_of(listed_artifact()),
    "no artifacts": listing_of(),
    "artifact twice": listing_of(listed_artifact(listed_file("a")), listed_artifact(listed_file("a"))),
    "kind": change("artifacts.0.kind", "../policy"),
    "name": change("artifacts.0.name", "../../x"),
    "id": change("artifacts.0.id", "../../../../x"),
    "id of no text": change("artifacts.0.id", 7),
    "origin": change("artifacts.0.origin", "x"),
    "alias": change("artifacts.0.aliases", ["v1"]),
    "key": change("artifacts.0.key", "k"),
    "digest": change("artifacts.0.digest", "0" * 64),
    "negative size": change("artifacts.0.files.0.bytes", -1),
    "size of no number": change("artifacts.0.files.0.bytes", True),
    "hash": change("artifacts.0.files.0.sha256", "z" * 64),
    "path of no text": change("artifacts.0.files.0.path", ["a"]),
    "files of no list": change("artifacts.0.files", 3),
    "summary of no object": change("artifacts.0.summary", "x"),
    "summary beyond UTF-8": change("artifacts.0.summary", {"x": "\ud800"}),
    "unknown input": change("artifacts.0.inputs", [[OTHER_ID, "policy"]]),
    "input of itself": change("artifacts.0.inputs", [[ID, "policy"]]),
    "input of three": change("artifacts.0.inputs", [[ID, "policy", 1]]),
    "runs": change("runs", [{"id": "x"}]),
    "runs of no list": change("runs", None),
    "format": change("format", "other"),
    "newer format": change("version", 2),
    "artifacts of no list": change("artifacts", {"a": 1}),
}


@pytest.mark.parametrize("what", HOSTILE_LISTINGS)
def test_a_hostile_listing_is_refused(registry, tmp_path, what):
    write_zip(tmp_path / "bundle.zip", json.dumps(HOSTILE_LISTINGS[what]).encode(), GOOD_MEMBERS)
    assert refusal(registry, tmp_path / "bundle.zip")


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"null", b"{", b"\xff", b'{"a": NaN}', b"[" * 100_000, b'{"x": 1e999}', b"9" * 5000]
)
def test_a_listing_that_is_no_json_object_is_refused(registry, tmp_path, text):
    write_zip(tmp_path / "bundle.zip", text, GOOD_MEMBERS)
    assert refusal(registry, tmp_path / "bundle.zip")


def test_a_listing_of_many_megabytes_is_refused_unread(registry, tmp_path):
    write_tar_zst(tmp_path / "bundle.tar.zst", b" " * (1 << 25), GOOD_MEMBERS)
    assert "its listing has 33,554,432 bytes" in refusal(registry, tmp_path / "bundle.tar.zst")


def test_sizes_beyond_the_disk_are_a_full_disk_before_anything_is_written(registry, tmp_path):
    # A listing may promise 4 EiB; the disk's free bytes say no.
    file = {**listed_file("a"), "bytes": 1 << 61}
    write_zip(tmp_path / "bundle.zip", json.dumps(listing_of(listed_artifact(file))).encode(), [])
    with pytest.raises(Exception, match=r"2,305,843,009,213,693,952 bytes needed"):
        registry.import_bundle(tmp_path / "bundle.zip")
    assert [artifact.ref for artifact in registry.list()] == ["policy:mine@v1"]


def test_a_bomb_is_stopped_at_its_listed_size(registry, tmp_path):
    # 1 GiB of zeros in about 32 KB, where five bytes are listed; a header that lies about the size is cut there.
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        for name, content in [("hicra-bundle.json", json.dumps(GOOD).encode()), GOOD_MEMBERS[0]]:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    head = plain.getvalue().rstrip(b"\0")
    head += bytes(-len(head) % 512)
    header = tarfile.TarInfo(f"artifacts/{ID}/b")
    header.size = 1 << 30
    with (tmp_path / "bundle.tar.zst").open("wb") as file, zstandard.ZstdCompressor().stream_writer(file) as stream:
        stream.write(head + header.tobuf(tarfile.USTAR_FORMAT))
        for _ in range(1 << 10):
            stream.write(bytes(1 << 20))
    assert "5 are listed" in refusal(registry, tmp_path / "bundle.tar.zst")


def spoil_record(path, marker, offset, value):
    """Overwrite bytes of a zip's last record of a kind."""
    content = bytearray(path.read_bytes())
    place = content.rindex(marker) + offset
    content[place : place + len(value)] = value
    path.write_bytes(content)


def test_a_zip_that_lies_about_a_size_is_refused(registry, tmp_path):
    path = tmp_path / "bundle.zip"
    write_zip(path, json.dumps(GOOD).encode(), [GOOD_MEMBERS[0], (f"artifacts/{ID}/b", b"h" * 100_000)])
    spoil_record(path, b"PK\x01\x02", 24, (5).to_bytes(4, "little"))
    assert refusal(registry, path)


@pytest.mark.parametrize(
    ("marker", "offset", "value"),
    [
        (b"PK\x01\x02", 28, b"\0\0"),  # a directory entry without a name
        (b"PK\x01\x02", 42, b"\xff\xff\xff\xff"),  # a member beyond the file
        (b"PK\x05\x06", 12, b"\xff\xff"),  # a directory larger than the file
        (b"PK\x05\x06", 16, b"\xff\xff\xff\x7f"),  # a directory beyond the file
    ],
)
def test_a_zip_whose_records_lead_nowhere_is_refused(registry, tmp_path, marker, offset, value):
    path = tmp_path / "bundle.zip"
    write_zip(path, json.dumps(GOOD).encode(), GOOD_MEMBERS)
    spoil_record(path, marker, offset, value)
    assert refusal(registry, path)


@pytest.mark.parametrize("suffix", ["zip", "tar.zst"])
def test_a_bundle_cut_off_or_spoilt_anywhere_is_refused_or_intact(registry, tmp_path, suffix):
    write = write_zip if suffix == "zip" else write_tar_zst
    path = tmp_path / f"bundle.{suffix}"
    write(path, json.dumps(GOOD).encode(), GOOD_MEMBERS)
    whole = path.read_bytes()

    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.integers(0, len(whole) - 1), st.integers(0, 255), st.booleans())
    def spoil(place: int, value: int, cut: bool) -> None:
        path.write_bytes(whole[:place] if cut else whole[:place] + bytes([value]) + whole[place + 1 :])
        try:
            imported = registry.import_bundle(path)
        except ArtifactError:
            assert list((registry.home / "staging").iterdir()) == []
        else:
            assert [tree(artifact.path) for artifact in imported] == [{"a": CONTENT, "b": CONTENT}]

    spoil()
    assert registry.verify() == []
