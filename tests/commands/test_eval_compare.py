"""hicra eval --compare and --table: real command lines over real artifacts and folders."""

import csv
import io

import pytest

from hicra_cli.core.registry import Registry
from tests.commands.run_hicra import document, hicra
from tests.report.evaluated import publish_evaluation, publish_policy, write_evaluation

BASE = {"aime24": {"a": [0, 0], "b": [1, 0], "c": [0, 0]}}
GRPO = {"aime24": {"a": [0, 1], "b": [1, 0], "c": [0, 0]}}
HICRA = {"aime24": {"a": [1, 1], "b": [1, 1], "c": [1, 0]}}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A base model that is no artifact, two trainings from it, one of them in two legs, and their evaluations."""
    folder = tmp_path_factory.mktemp("home")
    with Registry.open(folder) as registry:
        grpo = publish_policy(registry, "grpo", base="Qwen/Qwen3-4B-Base")
        first = publish_policy(registry, "first", base="Qwen/Qwen3-4B-Base", algo="hicra")
        second = publish_policy(registry, "second", base=first.ref, algo="hicra")
        publish_evaluation(registry, "base", BASE, policy="Qwen/Qwen3-4B-Base")
        publish_evaluation(registry, "grpo", GRPO, policy=grpo)
        publish_evaluation(registry, "hicra", HICRA, policy=second, cut=3)
    return folder


def test_compare_shows_the_difference_and_what_it_rests_on(home):
    done = hicra("eval", "--home", home, "--compare", "evaluation:grpo", "evaluation:hicra", cwd=home, check=0)
    head, row = done.stdout.splitlines()[:2]
    assert "A: evaluation:grpo@v1" in head
    # means 1/2 1/2 0 and 1 1 1/2: every difference is 1/2; unseen share 1 - 0.025^(1/3) = 0.707598
    assert "+50.0 [-56.1, +85.4]" in row
    assert "50.0%" in row
    assert "training runs" in done.stdout
    assert done.stderr == ""


def test_compare_as_json_is_one_document(home):
    done = hicra(
        "eval", "--home", home, "--json", "--compare", "evaluation:grpo", "evaluation:hicra", cwd=home, check=0
    )
    found = document(done)
    assert found["metrics"] == {"aime24/difference": 0.5}
    bench = found["data"]["bench"]["aime24"]
    assert (bench["p"], bench["deciding"], bench["better"], bench["p_exact"]) == (0.25, 3, 3, True)


def test_the_table_groups_by_the_base_model_of_the_lineage(home):
    refs = [part for name in ("hicra", "base", "grpo") for part in ("--table", f"evaluation:{name}")]
    done = hicra("eval", "--home", home, *refs, cwd=home, check=0)
    lines = done.stdout.splitlines()
    assert lines[1].strip() == "Qwen3-4B-Base"
    assert [line.split("  ")[0] for line in lines[2:6]] == ["Base", "GRPO", "HICRA", "(HICRA - GRPO)"]
    latex = hicra("eval", "--home", home, *refs, "--layout", "latex", cwd=home, check=0).stdout
    assert r"\begin{tabular}" in latex
    assert r"HICRA & \textbf{83.3}" in latex


def test_the_table_goes_to_a_file_in_the_layout_of_its_suffix(home, tmp_path):
    refs = ["--table", "evaluation:base,evaluation:grpo"]
    done = hicra("eval", "--home", home, *refs, "--output", tmp_path / "t.csv", "--json", cwd=home, check=0)
    found = document(done)["data"]
    rows = list(csv.DictReader(io.StringIO((tmp_path / "t.csv").read_text())))
    assert [row["kind"] for row in rows] == ["score", "score", "difference"]
    assert [float(row["average"]) for row in rows] == [row["average"] for row in found["rows"]]
    hicra("eval", "--home", home, *refs, "--output", tmp_path / "t.md", cwd=home, check=0)
    assert (tmp_path / "t.md").read_text().startswith("| model | aime24 avg@2 | cut |")
    lost = hicra("eval", "--home", home, *refs, "--output", tmp_path / "no" / "t.md", cwd=home)
    assert lost.returncode == 2
    assert "there is no such folder" in lost.stderr


def test_a_comparison_goes_to_a_file_too(home, tmp_path):
    arguments = ["eval", "--home", home, "--compare", "evaluation:grpo", "evaluation:hicra", "--output"]
    for name, start in (("c.csv", "bench,questions,"), ("c.md", "| benchmark |"), ("c.txt", "benchmark  ")):
        assert hicra(*arguments, tmp_path / name, cwd=home, check=0).stdout == f"{tmp_path / name}\n"
        assert (tmp_path / name).read_text().startswith(start)


def test_folders_need_no_registry_and_labels_name_their_rows(tmp_path):
    write_evaluation(tmp_path / "one", BASE, summary={"policy": "Qwen/Qwen3-4B-Base"})
    write_evaluation(tmp_path / "two", GRPO, summary={"policy": "./trained"})
    done = hicra("eval", "--table", "Base=one", "--table", "GRPO=two", cwd=tmp_path, check=0)
    assert [line.split("  ")[0] for line in done.stdout.splitlines()[1:4]] == ["Base", "GRPO", "(GRPO - Base)"]
    compared = hicra("eval", "--compare", "one", "two", "--layout", "markdown", cwd=tmp_path, check=0)
    assert compared.stdout.startswith("| benchmark | k | A: one |")
    assert not (tmp_path / ".hicra").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--compare", "evaluation:grpo", "evaluation:nothing"), 3, "evaluation:nothing"),
        (("--compare", "evaluation:grpo", "nowhere"), 2, "neither evaluation:NAME nor a folder"),
        (("--compare", "evaluation:grpo", "."), 3, "no samples of an evaluation"),
        (("--table", "policy:grpo"), 2, "neither evaluation:NAME nor a folder"),
        (("--table", "evaluation:grpo", "--compare", "evaluation:grpo", "evaluation:grpo"), 2, "different tasks"),
        (("--output", "scores.md"), 2, "--output would do nothing here"),
        (("--layout", "latex"), 2, "--layout would do nothing here"),
        (("--failures", "--table", "evaluation:grpo"), 2, "--failures would do nothing here"),
    ],
)
def test_wrong_references_have_their_exit_codes(home, tmp_path, arguments, code, words):
    done = hicra("eval", "--home", home, *arguments, cwd=tmp_path)
    assert done.returncode == code
    assert words in done.stderr
    assert "Traceback" not in done.stderr
