"""What verify finds, and databases that are foreign, damaged, too new or too old."""

import sqlite3
from pathlib import Path

import pytest

from hicra_cli.core import schema
from hicra_cli.core.errors import ArtifactError
from hicra_cli.core.filesystem import network_filesystem_warning
from hicra_cli.core.registry import Registry
from tests.core.helpers import fill, make, tree

FILES: dict[str, str | bytes] = {"config.json": "{}", "model.safetensors": b"\x00" * 1000, "sub/vocab.txt": "a b c"}


@pytest.fixture
def registry(tmp_path):
    with Registry.open(tmp_path / "home") as opened:
        yield opened


def problems(registry: Registry) -> list[str]:
    return [finding.problem for finding in registry.verify()]


def test_one_flipped_bit_in_each_file_is_found(registry):
    published = make(registry, "policy:nano", FILES)
    for name in FILES:
        path = published.path / name
        path.chmod(0o644)
        original = path.read_bytes()
        path.write_bytes(bytes([original[0] ^ 1]) + original[1:])
        finding = registry.verify(published)[0]
        assert (finding.severity, finding.ref, finding.path) == ("damage", "policy:nano@v1", str(path))
        assert f"{name} was changed" in finding.problem
        assert registry.verify() == [finding]
        path.write_bytes(original)
    assert registry.verify() == []


def test_deleted_added_linked_and_replaced_files_are_found(registry):
    published = make(registry, "policy:nano", FILES)
    config = published.path / "config.json"
    config.unlink()
    assert problems(registry) == ["config.json is missing (2 bytes were published)"]
    config.symlink_to("/etc/hostname")
    assert "config.json is no plain file" in problems(registry)
    config.unlink()
    config.mkdir()
    assert problems(registry) == ["config.json is no plain file"]
    config.rmdir()
    config.write_text("{}")
    assert problems(registry) == []
    fill(published.path, {"sub/extra.txt": "x"})
    (published.path / "link").symlink_to("config.json")
    assert problems(registry) == ["link is a link", "sub/extra.txt was never published"]


def test_a_missing_or_linked_folder_is_found_and_the_rest_is_still_checked(registry, tmp_path):
    first, second = make(registry, "policy:a"), make(registry, "policy:b")
    first.path.rename(tmp_path / "away")
    (second.path / "data.txt").unlink()
    assert len(problems(registry)) == 2
    first.path.symlink_to(tmp_path / "away")
    assert any("is a link" in problem for problem in problems(registry))


def test_rows_that_do_not_fit_each_other_are_found(registry):
    make(registry, "policy:nano", FILES)
    with sqlite3.connect(registry.home / "registry.db") as connection:
        connection.execute("UPDATE files SET bytes = 3, sha256 = 'x' WHERE path = 'config.json'")
        connection.execute("INSERT INTO edges VALUES ('nobody', 'nobody', 'policy')")
    connection.close()
    found = problems(registry)
    assert "the registry's list of its files does not match its digest" in found
    assert any("refers to a missing row of artifacts" in problem for problem in found)


def test_a_folder_without_rows_is_a_remain_not_damage(registry):
    fill(registry.home, {f"artifacts/policy/nano/{'0' * 26}/a": "b"})
    assert [(finding.severity, finding.ref) for finding in registry.verify()] == [("remains", None)]


def test_a_registry_of_a_newer_hicra_is_refused_and_left_alone(registry):
    make(registry, "policy:nano")
    registry.close()
    with sqlite3.connect(registry.home / "registry.db") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = tree(registry.home)
    with pytest.raises(ArtifactError, match=r"schema 99, this hicra knows schemas up to 1") as raised:
        Registry.open(registry.home)
    assert raised.value.exit_code == 3
    assert tree(registry.home) == before


def foreign_database(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")
    connection.close()


@pytest.mark.parametrize(
    "spoil",
    [
        foreign_database,
        lambda path: path.write_bytes(bytes(range(256)) * 40),
        lambda path: path.write_bytes(b"x"),
        lambda path: path.write_bytes(b"SQLite format 3\x00" + b"\xff" * 4080),
    ],
)
def test_a_file_that_is_no_registry_is_refused_and_left_alone(tmp_path, spoil):
    home = tmp_path / "home"
    home.mkdir()
    spoil(home / "registry.db")
    before = tree(home)
    for create in (True, False):
        with pytest.raises(ArtifactError, match="no intact hicra registry"):
            Registry.open(home, create=create)
    assert tree(home) == before


def refused_or_found_damaged(home: Path) -> bool:
    try:
        with Registry.open(home) as cut:
            return any(finding.severity == "damage" for finding in cut.verify())
    except ArtifactError:
        return True


def test_a_registry_cut_off_anywhere_never_loses_its_artifacts(registry):
    make(registry, "policy:nano", FILES)
    registry.close()
    path = registry.home / "registry.db"
    whole = path.read_bytes()
    for size in range(0, len(whole), 4096):
        path.write_bytes(whole[:size])
        assert refused_or_found_damaged(registry.home)
        assert path.read_bytes() == whole[:size]
    path.unlink()
    with pytest.raises(ArtifactError, match="artifacts were published here"):
        Registry.open(registry.home)


def dump(path: Path) -> list[str]:
    connection = sqlite3.connect(path)
    lines = list(connection.iterdump())
    connection.close()
    return lines


def add_notes(db) -> None:
    db.execute("CREATE TABLE notes (artifact TEXT NOT NULL REFERENCES artifacts(id), text TEXT NOT NULL) STRICT")
    db.execute("INSERT INTO notes SELECT id, kind || ':' || name FROM artifacts")


def break_off(db) -> None:
    add_notes(db)
    raise RuntimeError("killed here")


def test_an_older_registry_is_backed_up_and_migrated(registry):
    published = make(registry, "policy:nano", aliases=["best"])
    registry.close()
    path = registry.home / "registry.db"
    database = schema.open_database(path, create=False, migrations=(*schema.MIGRATIONS, add_notes))
    assert database.rows("SELECT text FROM notes") == [{"text": "policy:nano"}]
    assert database.rows("PRAGMA user_version") == [{"user_version": 2}]
    database.close()
    with pytest.raises(ArtifactError, match="schema 2"):
        Registry.open(registry.home)
    path.with_name("registry.db.bak-1").replace(path)
    with Registry.open(registry.home) as restored:
        assert restored.resolve("policy:nano@best") == published


def test_a_migration_that_breaks_off_changes_nothing(registry):
    make(registry, "policy:nano")
    registry.close()
    path = registry.home / "registry.db"
    before = path.read_bytes()
    with pytest.raises(RuntimeError, match="killed here"):
        schema.open_database(path, create=False, migrations=(*schema.MIGRATIONS, break_off))
    assert path.read_bytes() == before
    assert dump(path.with_name("registry.db.bak-1")) == dump(path)
    with Registry.open(registry.home) as again:
        assert again.verify() == []


def test_the_tables_are_strict_and_references_are_enforced(registry):
    tables = registry.database.rows(
        "SELECT name, strict FROM pragma_table_list WHERE schema = 'main' AND type = 'table'"
    )
    assert {row["name"] for row in tables if not row["strict"]} == {"sqlite_schema"}
    with pytest.raises(sqlite3.IntegrityError), registry.database.write() as db:
        db.execute("INSERT INTO edges VALUES ('nobody', 'nobody', 'x')")
    assert registry.database.rows("PRAGMA journal_mode") == [{"journal_mode": "delete"}]
    assert registry.database.rows("PRAGMA synchronous") == [{"synchronous": 2}]
    assert registry.database.rows("SELECT count(*) AS n FROM edges") == [{"n": 0}]


MOUNTS = r"""22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
40 22 0:40 / /mnt/my\040cluster rw - nfs4 server:/export rw
41 40 0:41 / /mnt/my\040cluster/local rw - xfs /dev/sdb rw
"""


def test_a_network_file_system_is_told_by_the_longest_mount_point(tmp_path):
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)
    warning = network_filesystem_warning(Path("/mnt/my cluster/home/.hicra"), mounts=mounts)
    assert warning is not None
    assert "nfs4 (mounted at /mnt/my cluster)" in warning
    assert network_filesystem_warning(Path("/mnt/my cluster/local/.hicra"), mounts=mounts) is None
    assert network_filesystem_warning(Path("/home/x/.hicra"), mounts=mounts) is None
    assert network_filesystem_warning(Path("/home/x"), mounts=tmp_path / "none") is None
