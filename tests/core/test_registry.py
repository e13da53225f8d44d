import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hicra_cli.core.errors import ArtifactError, RunError, UsageError
from hicra_cli.core.names import LONGEST_SEGMENT, is_id, new_id, parse_reference, path_fault
from hicra_cli.core.registry import Registry
from tests.core.helpers import fill, make, tree


@pytest.fixture
def registry(tmp_path):
    with Registry.open(tmp_path / "home") as opened:
        yield opened


def test_a_published_artifact_is_found_by_version_alias_name_and_key(registry):
    draft = registry.begin("policy", "nano", key="a" * 64)
    fill(draft.path, {"config.json": "{}", "weights/model.safetensors": b"\x00\x01"})
    published = draft.publish(aliases=["best", "step-10"], summary={"accuracy": 0.25})
    for reference in ("policy:nano@v1", "policy:nano@best", "policy:nano@latest", "policy:nano"):
        assert registry.resolve(reference) == published
    assert registry.find("a" * 64) == published
    assert registry.newest("policy") == published
    assert registry.aliases(published) == ["best", "step-10"]
    assert (published.ref, published.bytes, published.summary) == ("policy:nano@v1", 4, {"accuracy": 0.25})
    assert published.file("weights/model.safetensors").read_bytes() == b"\x00\x01"
    assert registry.verify() == []


def test_the_digest_is_the_sha256_of_the_manifest_alone(registry):
    # printf hello | sha256sum → 2cf2…; printf '{"files":[{"bytes":5,"path":"a","sha256":"2cf2…"}]}' | sha256sum → 8c0f…
    published = make(registry, "policy:a", {"a": "hello"})
    again = make(registry, "training:b", {"a": "hello"}, summary={"other": 1})
    assert published.files[0].sha256 == "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    assert published.digest == again.digest == "8c0f4d775734f2b40cfe361bfdc04f166cf189a13f0d7896add7bf2ed923cbbe"


def test_versions_count_up_per_name_and_aliases_move(registry):
    first = make(registry, "policy:nano", aliases=["last"])
    second = make(registry, "policy:nano", {"data.txt": "other"}, aliases=["last"])
    other = make(registry, "policy:other")
    assert [first.version, second.version, other.version] == [1, 2, 1]
    assert registry.resolve("policy:nano@last") == second
    registry.set_alias(first, "last")
    assert registry.resolve("policy:nano@last") == first
    assert registry.resolve("policy:nano") == second
    assert [artifact.ref for artifact in registry.list("policy")] == [
        "policy:other@v1",
        "policy:nano@v2",
        "policy:nano@v1",
    ]
    assert registry.list("policy", "nano") == [second, first]


def test_a_missing_reference_names_what_comes_nearest(registry):
    make(registry, "policy:qwen3-4b", aliases=["best"])
    with pytest.raises(ArtifactError, match=r"nearest: qwen3-4b"):
        registry.resolve("policy:qwen3-4")
    with pytest.raises(ArtifactError, match=r"nearest: best.*has best, v1"):
        registry.resolve("policy:qwen3-4b@bset")
    with pytest.raises(ArtifactError, match="`hicra curate` makes one"):
        registry.resolve("gram-set:mine")


@pytest.mark.parametrize(
    "reference",
    ["nano", "polcy:nano", "policy:", "policy:../x", "policy:/etc", "policy:a/b", "policy:-rf", "policy:A", "policy:ä",
     "policy:" + "n" * 65, "policy:nano@", "policy:nano@v0", "policy:nano@v1x/", "policy:nano@../x", "policy:a\n"],
)  # fmt: skip
def test_a_malformed_reference_is_a_usage_error(registry, reference):
    with pytest.raises(UsageError):
        registry.resolve(reference)


@pytest.mark.parametrize("alias", ["v1", "v0", "latest", "../x", "", "A", "a b"])
def test_an_alias_cannot_be_mistaken_for_a_version_or_a_path(registry, alias):
    published = make(registry, "policy:nano")
    with pytest.raises(UsageError):
        registry.set_alias(published, alias)


@given(st.text(max_size=80))
def test_any_text_is_a_reference_or_a_usage_error_and_never_a_path(text):
    try:
        reference = parse_reference(text)
    except UsageError:
        return
    assert "/" not in reference.name
    assert not reference.name.startswith(".")


@given(st.text(alphabet=st.sampled_from("ab./\\:\x00é "), max_size=12))
def test_a_path_without_fault_stays_inside_its_folder(path):
    if path_fault(path) is None:
        assert os.path.normpath(path) == path
        assert not os.path.isabs(path)
        assert ".." not in path.split("/")


def test_paths_that_some_systems_cannot_store_are_faults():
    for path in (
        "",
        "/a",
        "a//b",
        "a/",
        "./a",
        "a/../b",
        "a\\b",
        "c:a",
        "a ",
        "a.",
        "a\n",
        "\udc80",
        "x" * (LONGEST_SEGMENT + 1),
    ):
        assert path_fault(path) is not None, path
    for path in ("a", "a/b.json", ".gitattributes", "model-00001-of-00002.safetensors", "größe.txt"):
        assert path_fault(path) is None, path


def test_ids_are_unique_and_sort_by_time(monkeypatch):
    ids = [new_id() for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert all(map(is_id, ids))
    monkeypatch.setattr("time.time_ns", lambda: 10**18)
    earlier = new_id()
    monkeypatch.setattr("time.time_ns", lambda: 10**18 + 10**6)
    assert earlier[:10] < new_id()[:10]


def test_lineage_runs_both_ways_and_shows_a_diamond_once(registry):
    # policy → rollouts → candidates, and candidates also came from the policy
    policy = make(registry, "policy:nano")
    rollouts = make(registry, "rollouts:r", inputs=[(policy, "policy")])
    candidates = make(registry, "candidates:c", inputs=[(rollouts, "rollouts"), (policy, "policy")])
    assert registry.inputs(candidates) == [(policy, "policy"), (rollouts, "rollouts")]
    assert registry.outputs(policy) == [(rollouts, "policy"), (candidates, "policy")]
    tree_of = registry.lineage(candidates)
    assert [(node.artifact.ref, node.repeated) for node in tree_of.inputs] == [
        ("policy:nano@v1", False),
        ("rollouts:r@v1", False),
    ]
    assert [(node.artifact.ref, node.repeated) for node in tree_of.inputs[1].nodes] == [("policy:nano@v1", True)]
    assert tree_of.outputs == ()
    assert [node.artifact.ref for node in registry.lineage(policy).outputs] == ["rollouts:r@v1", "candidates:c@v1"]


def test_reuse_returns_what_is_there_and_moves_the_aliases(registry):
    source = make(registry, "rollouts:r")
    first = make(registry, "policy:nano", aliases=["step-10"], inputs=[(source, "rollouts")])
    draft = registry.begin("policy", "nano", key="b" * 64)
    fill(draft.path, {"data.txt": "content"})
    again = draft.publish(aliases=["last"], reuse=True)
    assert again == first
    assert registry.aliases(first) == ["last", "step-10"]
    assert registry.find("b" * 64) == first
    assert list((registry.home / "staging").iterdir()) == []
    assert len(list((registry.home / "artifacts/policy/nano").iterdir())) == 1
    assert make(registry, "policy:nano", {"data.txt": "new"}, reuse=True).version == 2


def test_reuse_never_returns_a_damaged_artifact(registry):
    first = make(registry, "policy:nano")
    (first.path / "data.txt").unlink()
    assert make(registry, "policy:nano", reuse=True).version == 2


def test_find_skips_a_damaged_artifact_and_returns_an_older_one(registry):
    both = []
    for content in ("one", "two"):
        draft = registry.begin("policy", "nano", key="c" * 64)
        fill(draft.path, {"data.txt": content})
        both.append(draft.publish())
    assert registry.find("c" * 64) == both[1]
    (both[1].path / "data.txt").unlink()
    assert registry.find("c" * 64) == both[0]
    assert registry.find("d" * 64) is None


def test_a_file_of_another_size_is_named_with_both_sizes(registry):
    published = make(registry, "policy:nano", {"a.txt": "12345", "b.txt": "1"})
    path = published.path / "a.txt"
    path.chmod(0o644)
    path.write_text("123")
    with pytest.raises(ArtifactError, match=r"a\.txt has 3 bytes, 5 were published") as raised:
        published.file("a.txt")
    assert raised.value.exit_code == 3
    assert "hicra artifacts verify policy:nano@v1" in str(raised.value.fix)
    with pytest.raises(ArtifactError, match=r"a\.txt has 3 bytes"):
        registry.resolve("policy:nano")
    assert registry.resolve("policy:nano", check=False) == published
    assert published.file("b.txt").read_text() == "1"
    with pytest.raises(ArtifactError, match=r"has no file 'c\.txt'"):
        published.file("c.txt")


def test_published_files_are_read_only_and_a_draft_is_gone(registry):
    published = make(registry, "policy:nano")
    assert published.file("data.txt").stat().st_mode & 0o777 == 0o444
    assert list((registry.home / "staging").iterdir()) == []


def test_what_cannot_be_published_is_refused_and_stays_a_draft(registry, tmp_path):
    draft = registry.begin("policy", "nano")
    with pytest.raises(RunError, match="nothing was written"):
        draft.publish()
    (draft.path / "link").symlink_to("/etc/passwd")
    with pytest.raises(RunError, match="link or a device"):
        draft.publish()
    (draft.path / "link").unlink()
    fill(draft.path, {"Data": "1", "data": "2"})
    with pytest.raises(RunError, match="one path on some systems"):
        draft.publish()
    (draft.path / "Data").unlink()
    with pytest.raises(RunError, match="summary of policy:nano is no JSON"):
        draft.publish(summary={"accuracy": float("nan")})
    with Registry.open(tmp_path / "elsewhere") as other:
        foreign = make(other, "policy:foreign")
    with pytest.raises(ArtifactError, match="not in this registry"):
        draft.publish(inputs=[(foreign, "policy")])
    assert registry.list() == []
    assert draft.publish().version == 1


def test_an_unfinished_draft_is_resumed_with_its_files(registry):
    draft = registry.begin("training", "run", key="e" * 64)
    fill(draft.path, {"steps.jsonl": "{}\n"})
    draft.release()
    info = registry.unfinished("training", "e" * 64)[0]
    assert (info.id, info.name, info.bytes, info.owner) == (draft.id, "run", 3, None)
    assert registry.begin("training", "run", key="f" * 64, resume=True).id != draft.id
    resumed = registry.begin("training", "run", key="e" * 64, resume=True)
    assert resumed.id == draft.id
    published = resumed.publish()
    assert published.id == draft.id
    assert registry.begin("training", "run", key="e" * 64, resume=True).id != draft.id


def test_a_discarded_draft_leaves_nothing(registry):
    draft = registry.begin("policy", "nano")
    fill(draft.path, {"a": "b"})
    draft.discard()
    assert list((registry.home / "staging").iterdir()) == []
    assert registry.unfinished() == []


def test_runs_keep_configuration_outcome_and_metrics(registry):
    run_id = registry.start_run("train", ["hicra", "train"], {"train": {"alpha": 0.2}}, {"torch": "2.13.0"})
    registry.add_metrics(run_id, {"eval/accuracy": 0.5, "eval/low": float("nan")})
    assert registry.runs()[0].status == "running"
    registry.finish_run(run_id, status="ok", seconds=2.5)
    run = registry.runs(stage="train", status="ok")[0]
    assert (run.id, run.argv, run.config, run.seconds) == (run_id, ("hicra", "train"), {"train": {"alpha": 0.2}}, 2.5)
    assert run.metrics["eval/accuracy"] == 0.5
    assert run.metrics["eval/low"] != run.metrics["eval/low"]
    draft = registry.begin("policy", "nano", run_id=run_id)
    fill(draft.path, {"a": "b"})
    assert draft.publish().run_id == run_id


def test_a_command_that_reads_makes_no_registry(tmp_path):
    with pytest.raises(ArtifactError, match="no registry here") as raised:
        Registry.open(tmp_path / "none", create=False)
    assert "hicra quickstart" in str(raised.value.fix)
    assert list(tmp_path.iterdir()) == []


def test_a_home_that_is_a_file_is_a_clear_error(tmp_path):
    (tmp_path / "home").write_text("not a folder")
    with pytest.raises(RunError, match="opening the registry"):
        Registry.open(tmp_path / "home")


def test_reading_leaves_every_byte_as_it_was(registry):
    make(registry, "policy:nano", aliases=["best"])
    before = tree(registry.home)
    with Registry.open(registry.home, create=False) as reader:
        reader.resolve("policy:nano@best")
        reader.verify()
        reader.gc(dry_run=True)
    assert tree(registry.home) == before


def test_threads_of_one_process_publish_side_by_side(registry):
    failures = []

    def work(number: int) -> None:
        try:
            for count in range(5):
                make(registry, "policy:nano", {"data.txt": f"{number} {count}"})
        except BaseException as error:  # noqa: BLE001  the test reports whatever a thread raised
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert sorted(artifact.version for artifact in registry.list()) == list(range(1, 21))


def test_a_forked_child_may_not_use_its_parents_registry_nor_keep_its_drafts(registry):
    draft = registry.begin("training", "run", key="g" * 64)
    fill(draft.path, {"a": "b"})
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            registry.list()
        except RunError:
            os.write(writing, b"refused")
        os.close(writing)
        os.read(reading, 0)
        os._exit(0)
    os.close(writing)
    assert os.read(reading, 7) == b"refused"
    os.waitpid(child, 0)
    assert registry.unfinished()[0].owner == os.getpid()
    draft.discard()
