import io
import subprocess
import tarfile
import zipfile

import pytest
import zstandard

from hicra_cli.core.errors import ArtifactError, UsageError
from hicra_cli.core.registry import Registry
from tests.core.helpers import fill, make, tree

SUFFIXES = ("tar.zst", "zip")


@pytest.fixture
def source(tmp_path):
    """policy → rollouts → candidates, made by one run; the policy has a path that plain tar headers cannot hold."""
    with Registry.open(tmp_path / "source") as registry:
        run_id = registry.start_run("train", ["hicra", "train"], {"train": {"alpha": 0.2}}, {"torch": "2.13.0"})
        draft = registry.begin("policy", "nano", key="a" * 64, run_id=run_id)
        fill(draft.path, {"config.json": "{}", "f" * 110 + "/model.safetensors": bytes(3_000_000), "empty": ""})
        policy = draft.publish(aliases=["best"], summary={"accuracy": 0.25, "text": "größer </script> \u2028"})
        rollouts = make(registry, "rollouts:r", {"rollouts.parquet": b"PAR1"}, inputs=[(policy, "policy")])
        make(registry, "candidates:c", inputs=[(rollouts, "rollouts"), (policy, "policy")])
        yield registry


@pytest.fixture
def target(tmp_path):
    with Registry.open(tmp_path / "target") as registry:
        yield registry


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_bundle_carries_files_lineage_run_and_aliases(source, target, tmp_path, suffix):
    make(target, "policy:nano", {"other": "content"})  # so that the local version differs
    path = tmp_path / f"bundle.{suffix}"
    exported = source.export_bundle([source.resolve("candidates:c")], path, with_lineage=True)
    imported = target.import_bundle(path)
    assert [artifact.ref for artifact in exported] == ["policy:nano@v1", "rollouts:r@v1", "candidates:c@v1"]
    assert [artifact.ref for artifact in imported] == ["policy:nano@v2", "rollouts:r@v1", "candidates:c@v1"]
    for there, here in zip(exported, imported, strict=True):
        assert (here.digest, here.files, here.summary) == (there.digest, there.files, there.summary)
        assert here.origin == there.id != here.id
        assert tree(here.path) == tree(there.path)
    assert target.inputs(imported[2]) == [(imported[0], "policy"), (imported[1], "rollouts")]
    assert target.resolve("policy:nano@best") == imported[0]
    assert target.find("a" * 64) == imported[0]
    run = target.runs(run_id=imported[0].run_id)[0]
    assert (run.status, run.config, run.argv) == ("imported", {"train": {"alpha": 0.2}}, ("hicra", "train"))
    assert target.verify() == []


def test_without_lineage_only_the_named_artifacts_travel(source, target, tmp_path):
    path = tmp_path / "bundle.zip"
    source.export_bundle([source.resolve("rollouts:r")], path, with_lineage=False)
    imported = target.import_bundle(path)
    assert [artifact.ref for artifact in imported] == ["rollouts:r@v1"]
    assert target.inputs(imported[0]) == []


def test_importing_what_is_here_already_doubles_nothing(source, target, tmp_path):
    path = tmp_path / "bundle.tar.zst"
    everything = source.export_bundle([source.resolve("candidates:c")], path, with_lineage=True)
    assert source.import_bundle(path) == everything
    assert target.import_bundle(path) == target.import_bundle(path)
    assert len(target.list()) == 3
    assert list((target.home / "staging").iterdir()) == []


def test_an_alias_of_this_registry_is_not_moved_by_an_import(source, target, tmp_path):
    mine = make(target, "policy:nano", {"mine": "1"}, aliases=["best"])
    source.export_bundle([source.resolve("policy:nano")], tmp_path / "bundle.zip", with_lineage=False)
    target.import_bundle(tmp_path / "bundle.zip")
    assert target.resolve("policy:nano@best") == mine


def test_the_first_origin_survives_a_second_journey(source, target, tmp_path):
    source.export_bundle([source.resolve("rollouts:r")], tmp_path / "one.zip", with_lineage=False)
    there = target.import_bundle(tmp_path / "one.zip")
    target.export_bundle(there, tmp_path / "two.zip", with_lineage=False)
    with Registry.open(tmp_path / "third") as third:
        assert third.import_bundle(tmp_path / "two.zip")[0].origin == source.resolve("rollouts:r").id


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_same_artifacts_give_the_same_bundle(source, tmp_path, suffix):
    for name in ("one", "two"):
        source.export_bundle(source.list(), tmp_path / f"{name}.{suffix}", with_lineage=True)
    assert (tmp_path / f"one.{suffix}").read_bytes() == (tmp_path / f"two.{suffix}").read_bytes()


def test_ordinary_tools_read_a_bundle(source, tmp_path):
    policy = source.resolve("policy:nano")
    expected = {"hicra-bundle.json", *(f"artifacts/{policy.id}/{entry.path}" for entry in policy.files)}
    source.export_bundle([policy], tmp_path / "bundle.tar.zst", with_lineage=False)
    source.export_bundle([policy], tmp_path / "bundle.zip", with_lineage=False)
    plain = zstandard.ZstdDecompressor().decompressobj().decompress((tmp_path / "bundle.tar.zst").read_bytes())
    (tmp_path / "bundle.tar").write_bytes(plain)
    with tarfile.open(fileobj=io.BytesIO(plain)) as archive:
        assert set(archive.getnames()) == expected
    listed = subprocess.run(["tar", "-tf", tmp_path / "bundle.tar"], capture_output=True, text=True, check=True).stdout
    assert set(listed.split()) == expected
    with zipfile.ZipFile(tmp_path / "bundle.zip") as packed:
        assert packed.testzip() is None
        assert set(packed.namelist()) == expected


def test_damage_is_never_exported(source, tmp_path):
    policy = source.resolve("policy:nano")
    path = policy.path / "config.json"
    path.chmod(0o644)
    path.write_text("[]")
    with pytest.raises(ArtifactError, match=r"config\.json was changed"):
        source.export_bundle([policy], tmp_path / "bundle.zip", with_lineage=False)
    assert not list(tmp_path.glob("*bundle*"))


def test_an_export_never_overwrites_and_its_name_tells_the_format(source, tmp_path):
    (tmp_path / "bundle.zip").write_text("mine")
    with pytest.raises(UsageError, match="exists"):
        source.export_bundle(source.list(), tmp_path / "bundle.zip", with_lineage=False)
    assert (tmp_path / "bundle.zip").read_text() == "mine"
    with pytest.raises(UsageError, match=r"ends in \.tar\.zst or \.zip"):
        source.export_bundle(source.list(), tmp_path / "bundle.tar.gz", with_lineage=False)
    with pytest.raises(ArtifactError, match="no such bundle"):
        source.import_bundle(tmp_path / "none.zip")
