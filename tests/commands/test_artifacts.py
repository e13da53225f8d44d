"""`hicra artifacts …` over a real registry, through real processes."""

import json

import pytest

from hicra_cli.core.registry import Registry
from tests.commands.run_hicra import document, hicra

FIRST = '{"gram": "let me try", "move": "branching"}\n{"gram": "since we need", "move": "deduction"}\n'
SECOND = '{"gram": "let me try", "move": "backtracing"}\n{"gram": "but that is not", "move": "backtracing"}\n'


@pytest.fixture
def home(tmp_path):
    """Two versions of a gram-set, the first made from candidates whose context holds hostile text."""
    home = tmp_path / ".hicra"
    with Registry.open(home) as registry:
        draft = registry.begin("candidates", "default")
        (draft.path / "candidates.jsonl").write_text("x\n")
        candidates = draft.publish(summary={"note": "[/b] \x1b[31m\u202e", "grams": 2})
        for grams, alpha in ((FIRST, 0.1), (SECOND, 0.2)):
            run = registry.start_run("curate", ["hicra", "curate"], {"train": {"alpha": alpha}}, {})
            draft = registry.begin("gram-set", "default", run_id=run)
            (draft.path / "grams.jsonl").write_text(grams)
            draft.publish(inputs=[(candidates, "candidates")], summary={"grams": 2, "rate": {"kept": 0.5}})
            registry.finish_run(run, status="ok", seconds=1.0)
    return home


def test_list_show_path_and_alias(home, tmp_path):
    listed = hicra("artifacts", "list", cwd=tmp_path, check=0)
    assert [line.split()[0] for line in listed.stdout.splitlines()] == [
        "artifact",
        "gram-set:default@v2",
        "gram-set:default@v1",
        "candidates:default@v1",
    ]
    hicra("artifacts", "alias", "gram-set:default@v1", "paper", cwd=tmp_path, check=0)
    path = hicra("artifacts", "path", "gram-set:default@paper", cwd=tmp_path, check=0).stdout.strip()
    assert (home / "artifacts" / "gram-set").samefile(f"{path}/../..")
    found = document(hicra("artifacts", "show", "gram-set:default@paper", "--json", cwd=tmp_path, check=0))
    assert found["artifacts"][0]["ref"] == "gram-set:default@v1"
    assert found["data"]["aliases"] == ["paper"]
    assert found["data"]["inputs"] == [{"role": "candidates", "ref": "candidates:default@v1"}]
    assert found["data"]["summary"] == {"grams": 2, "rate": {"kept": 0.5}}
    assert [each["path"] for each in found["data"]["files"]] == ["grams.jsonl"]
    hostile = hicra("artifacts", "show", "candidates:default", cwd=tmp_path, check=0).stdout
    assert "[/b]" in hostile
    assert "\x1b" not in hostile


def test_lineage_shows_both_directions(home, tmp_path):
    shown = hicra("artifacts", "lineage", "candidates:default", cwd=tmp_path, check=0).stdout.splitlines()
    assert shown == [
        "candidates:default@v1",
        "made from:",
        "  nothing",
        "used by:",
        "  candidates: gram-set:default@v1",
        "  candidates: gram-set:default@v2",
    ]
    found = document(hicra("artifacts", "lineage", "gram-set:default", "--json", cwd=tmp_path, check=0))
    assert found["data"]["inputs"][0]["artifact"]["ref"] == "candidates:default@v1"


def test_diff_shows_grams_and_configuration(home, tmp_path):
    done = hicra("artifacts", "diff", "gram-set:default@v1", "gram-set:default@v2", cwd=tmp_path, check=0)
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert "- since we need" in lines
    assert "+ but that is not" in lines
    assert "~ let me try branching → backtracing" in lines
    assert "~ train.alpha 0.1 → 0.2" in lines


def test_verify_finds_damage_and_exits_3(home, tmp_path):
    assert "3 artifacts read, 0 faults" in hicra("artifacts", "verify", cwd=tmp_path, check=0).stdout
    with Registry.open(home) as registry:
        victim = registry.resolve("gram-set:default@v1").path / "grams.jsonl"
    victim.chmod(0o644)
    victim.write_text(FIRST.replace("let me", "let us"))
    done = hicra("artifacts", "verify", "--json", cwd=tmp_path, check=3)
    found = document(done)
    assert found["data"]["checked"] == 3
    (finding,) = found["data"]["findings"]
    assert (finding["severity"], finding["artifact"]) == ("damage", "gram-set:default@v1")
    assert "grams.jsonl" in finding["path"] + finding["problem"]
    hicra("artifacts", "verify", "gram-set:default@v2", cwd=tmp_path, check=0)
    victim.unlink()
    done = hicra("artifacts", "path", "gram-set:default@v1", cwd=tmp_path, check=3)
    assert "grams.jsonl is missing" in done.stderr


def test_export_and_import_carry_an_artifact_to_another_home(home, tmp_path):
    bundle = tmp_path / "grams.tar.zst"
    written = document(
        hicra(
            "artifacts", "export", "gram-set:default", "-o", bundle, "--with-lineage", "--json", cwd=tmp_path, check=0
        )
    )
    assert {each["kind"] for each in written["artifacts"]} == {"candidates", "gram-set"}
    other = tmp_path / "other"
    imported = document(hicra("artifacts", "import", bundle, "--home", other, "--json", cwd=tmp_path, check=0))
    assert {each["ref"] for each in imported["artifacts"]} == {"candidates:default@v1", "gram-set:default@v1"}
    digests = {each["kind"]: each["digest"] for each in written["artifacts"]}
    assert all(digests[each["kind"]] == each["digest"] for each in imported["artifacts"])
    bundle.write_bytes(bundle.read_bytes()[:-20])
    hicra("artifacts", "import", bundle, "--home", tmp_path / "third", cwd=tmp_path, check=3)


def test_gc_shows_first_and_deletes_on_demand(home, tmp_path):
    with Registry.open(home) as registry:
        draft = registry.begin("gram-set", "torn")
        (draft.path / "torn").write_text("x" * 100)
        orphan = draft.path.parent
        draft.release()
    shown = document(hicra("artifacts", "gc", "--json", cwd=tmp_path, check=0))
    assert shown["data"]["deleted"] is False
    assert orphan.exists()
    done = document(hicra("artifacts", "gc", "--delete", "--drafts", "--json", cwd=tmp_path, check=0))
    assert done["data"]["faults"] == []
    assert not orphan.exists()
    assert len(document(hicra("artifacts", "list", "--json", cwd=tmp_path, check=0))["artifacts"]) == 3


def test_what_is_not_there_is_exit_3_and_what_is_no_reference_exit_2(home, tmp_path):
    missing = document(hicra("artifacts", "show", "gram-set:defualt", "--json", cwd=tmp_path, check=3))
    assert "default" in json.dumps(missing["error"])
    hicra("artifacts", "show", "../../etc/passwd", cwd=tmp_path, check=2)
    hicra("artifacts", "list", "trainings", cwd=tmp_path, check=2)
