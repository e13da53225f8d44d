"""Real processes: races, SIGKILL at every durable system call, a full disk. What holds: nothing or all of it."""

import errno
import os
import shutil
import subprocess
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

import pytest

from hicra_cli.core.errors import RunError
from hicra_cli.core.registry import Registry
from tests.core.helpers import fill, finished, make, tree, worker
from tests.core.registry_worker import LARGE, publish_one

DURABLE_CALLS = (
    "fsync", "fdatasync", "pwrite64", "ftruncate", "rename", "renameat2", "mkdir", "chmod", "fchmodat", "unlink",
    "unlinkat", "rmdir",
)  # fmt: skip


def publish_from_many(home: Path, *, processes: int, each: int) -> None:
    code, out, err = finished(worker(home, "race", str(processes), str(each)))
    assert (code, err) == (0, "")
    assert sorted(map(int, out.split())) == list(range(1, processes * each + 1))
    with Registry.open(home, create=False) as registry:
        assert registry.verify() == []
        assert registry.resolve("policy:nano@last").version in range(1, processes * each + 1)
        assert list((home / "staging").iterdir()) == []


def test_eight_processes_that_publish_one_name_leave_no_gap(tmp_path):
    publish_from_many(tmp_path / "home", processes=8, each=10)


@pytest.mark.slow
def test_sixteen_processes_that_publish_one_name_leave_no_gap(tmp_path):
    publish_from_many(tmp_path / "home", processes=16, each=25)


def test_gc_beside_publishing_processes_takes_nothing_of_theirs(tmp_path):
    home = tmp_path / "home"
    with Registry.open(home) as registry:
        process, rounds = worker(home, "race", "4", "10"), 0
        while process.poll() is None:
            report = registry.gc(dry_run=False, include_drafts=True)
            assert [remain for remain in (*report.removed, *report.faults) if remain.bytes > 32] == []
            rounds += 1
        code, out, err = finished(process)
        assert (code, err) == (0, "")
        assert sorted(map(int, out.split())) == list(range(1, 41))
        assert registry.verify() == []
        assert rounds > 10


def test_eight_processes_that_make_a_fresh_registry_at_once_all_succeed(tmp_path):
    for attempt in range(3):
        publish_from_many(tmp_path / f"deep-{attempt}" / "home", processes=8, each=1)


def test_a_live_draft_has_one_owner_and_a_killed_one_can_be_resumed(tmp_path):
    home = tmp_path / "home"
    process = worker(home, "hold")
    assert process.stdout is not None
    draft_id = process.stdout.readline().strip()
    with Registry.open(home) as registry:
        assert registry.unfinished()[0].owner == process.pid
        with pytest.raises(RunError, match=f"being made by process {process.pid}"):
            registry.begin("training", "held", key="h" * 64, resume=True)
        report = registry.gc(dry_run=False, include_drafts=True)
        assert (report.removed, report.faults) == ((), ())
        assert [remain.reason for remain in report.kept] == [f"process {process.pid} works on it"]
        assert registry.runs()[0].status == "running"
        process.kill()
        process.communicate()
        assert registry.gc(dry_run=True).removed == ()
        registry.gc(dry_run=False)
        assert registry.runs()[0].status == "abandoned"
        resumed = registry.begin("training", "held", key="h" * 64, resume=True)
        assert (resumed.id, (resumed.path / "steps.jsonl").read_text()) == (draft_id, '{"step": 1}\n')
        resumed.discard()


def test_gc_tells_garbage_from_work_that_can_go_on(tmp_path):
    with Registry.open(tmp_path / "home") as registry:
        published = make(registry, "policy:nano")
        keyless, resumable = registry.begin("rollouts", "r"), registry.begin("training", "t", key="a" * 64)
        for draft in (keyless, resumable):
            fill(draft.path, {"data": "12345"})
            draft.release()
        orphan = registry.home / "artifacts" / "policy" / "nano" / ("0" * 26)
        fill(orphan, {"data": "1234567"})
        fill(registry.home, {"staging/note.txt": "of the user"})
        dry = registry.gc(dry_run=True)
        assert {remain.path for remain in dry.removed} == {
            f"staging/{keyless.id}",
            str(orphan.relative_to(registry.home)),
        }
        assert orphan.is_dir()
        done = registry.gc(dry_run=False)
        assert done.removed == dry.removed
        assert done.freed_bytes >= 12
        assert {remain.path for remain in done.kept} == {f"staging/{resumable.id}", "staging/note.txt"}
        assert registry.gc(dry_run=False).removed == ()
        young = registry.gc(dry_run=False, include_drafts=True, keep_drafts_newer_than=timedelta(hours=1))
        assert young.removed == ()
        assert len(registry.gc(dry_run=False, include_drafts=True).removed) == 1
        assert registry.unfinished() == []
        assert registry.verify() == []
        assert registry.resolve("policy:nano") == published


def prepared(folder: Path) -> Path:
    """A registry with policy:first@v1, to be copied before each kill."""
    home = folder / "prepared"
    with Registry.open(home) as registry:
        make(registry, "policy:first")
    return home


def kill_publication_at(home: Path, call: str, number: int) -> bool:
    """Publishes under strace and kills it at the given system call; False if it ended before it got there."""
    trace = ("strace", "-f", "-o", os.devnull, "-e", f"trace={call}")
    inject = ("-e", f"inject={call}:signal=KILL:when={number}")
    code, _, err = finished(worker(home, "publish_one", before=(*trace, *inject)))
    assert code in (0, -9, 137), err
    return code != 0


def check_after_kill(home: Path) -> bool:
    """Nothing or all of it; nothing of the old is lost; the work can be taken up. Returns whether it was published."""
    with Registry.open(home, create=False) as registry:
        assert [finding for finding in registry.verify() if finding.severity == "damage"] == []
        assert registry.resolve("policy:first").version == 1
        published = registry.list("training")
        if published:
            assert [source.ref for source, _ in registry.inputs(published[0])] == ["policy:first@v1"]
            assert registry.resolve("training:killed@last").summary == {"steps": 1}
    publish_one(home)
    with Registry.open(home, create=False) as registry:
        assert [artifact.version for artifact in registry.list("training")] == list(range(len(published) + 1, 0, -1))
        registry.gc(dry_run=False, include_drafts=True)
        assert registry.verify() == []
        assert list((home / "staging").iterdir()) == []
    return bool(published)


def outcomes_of_kills(folder: Path, call: str, numbers: Iterable[int]) -> list[bool]:
    """For each kill at the number-th `call`, until there is none: whether the artifact was published."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed: kills at system calls are NOT tested here")
    source, outcomes = prepared(folder), []
    for number in numbers:
        home = folder / f"killed-at-{call}-{number}"
        shutil.copytree(source, home)
        killed = kill_publication_at(home, call, number)
        published = check_after_kill(home)
        shutil.rmtree(home)
        if not killed:
            assert published
            break
        outcomes.append(published)
    return outcomes


@pytest.mark.parametrize(("call", "number"), [("fsync", 4), ("rename", 2), ("pwrite64", 9), ("rmdir", 1)])
def test_killed_at_some_durable_system_calls_nothing_is_lost_or_half_published(tmp_path, call, number):
    assert len(outcomes_of_kills(tmp_path, call, [number])) == 1


@pytest.mark.slow
def test_killed_at_every_durable_system_call_nothing_is_lost_or_half_published(tmp_path):
    kills, after_commit = 0, 0
    for call in DURABLE_CALLS:
        (tmp_path / call).mkdir()
        outcomes = outcomes_of_kills(tmp_path / call, call, range(1, 200))
        assert outcomes == sorted(outcomes)  # once it is visible, a later kill cannot undo it
        kills, after_commit = kills + len(outcomes), after_commit + sum(outcomes)
    print(f"kills survived: {kills}, of them {after_commit} after the commit")
    assert kills > 40
    assert after_commit > 3


@pytest.mark.parametrize("limit", [0, 512, 4096, 8192])
def test_without_room_nothing_is_half_published_and_the_draft_stays(tmp_path, limit):
    home = tmp_path / "home"
    with Registry.open(home) as registry:
        make(registry, "policy:first")
    code, out, err = finished(worker(home, "short_of_room", str(limit)))
    assert (code, out) == (1, "")
    assert err.startswith("RunError: ")
    assert "bytes free" in err
    with Registry.open(home) as registry:
        assert [artifact.ref for artifact in registry.list()] == ["policy:first@v1"]
        assert registry.verify() == []
        assert [(info.name, info.bytes) for info in registry.unfinished()] == [("large", LARGE)]
        assert registry.begin("policy", "large", resume=True).publish().ref == "policy:large@v1"


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 512 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"no small file system can be mounted, a really full disk is NOT tested: {mounted.stderr}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill_disk(folder: Path) -> Path:
    """Writes a file until nothing more fits."""
    filler = os.open(folder / "filler", os.O_WRONLY | os.O_CREAT)
    try:
        while True:
            os.write(filler, bytes(4096))
    except OSError as error:
        assert error.errno == errno.ENOSPC  # noqa: PT017  what ends the loop is what the test needs
    os.close(filler)
    return folder / "filler"


def test_a_really_full_disk_is_a_clear_error_and_loses_nothing(small_disk):
    with Registry.open(small_disk / "home") as registry:
        make(registry, "policy:first")
        draft = registry.begin("policy", "large")
        fill(draft.path, {"model.safetensors": bytes(1 << 16)})
        filler = fill_disk(small_disk)
        with pytest.raises(RunError, match=r"bytes needed.*bytes free"):
            draft.publish()
        with pytest.raises(RunError, match="bytes free"):
            registry.begin("policy", "another")
        assert [artifact.ref for artifact in registry.list()] == ["policy:first@v1"]
        filler.unlink()
        assert draft.publish().ref == "policy:large@v1"
        assert registry.verify() == []
        assert list((registry.home / "staging").iterdir()) == []


def test_a_killed_import_leaves_nothing_but_remains(tmp_path):
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed: kills at system calls are NOT tested here")
    with Registry.open(tmp_path / "source") as registry:
        policy = make(registry, "policy:nano")
        made = make(registry, "rollouts:r", inputs=[(policy, "policy")])
        registry.export_bundle([made], tmp_path / "bundle.tar.zst", with_lineage=True)
    before = tree(prepared(tmp_path))
    for call, number in (("fsync", 12), ("rename", 4), ("pwrite64", 6)):
        home = tmp_path / f"killed-at-{call}"
        shutil.copytree(tmp_path / "prepared", home)
        trace = ("strace", "-f", "-o", os.devnull, "-e", f"trace={call}")
        inject = (*trace, "-e", f"inject={call}:signal=KILL:when={number}")
        code, _, _ = finished(worker(home, "import_bundle", str(tmp_path / "bundle.tar.zst"), before=inject))
        assert code in (-9, 137)
        with Registry.open(home) as registry:
            assert [artifact.ref for artifact in registry.list()] == ["policy:first@v1"]
            registry.gc(dry_run=False)
            assert registry.verify() == []
        # A journal whose header was wiped is no journal any more; SQLite writes over it next time.
        assert tree(home).keys() - {"registry.db-journal"} == before.keys()
