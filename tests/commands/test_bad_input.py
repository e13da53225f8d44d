"""What users get wrong, through the real command: one clear paragraph, the right exit code, nothing half-written."""

import json
import shutil

import pytest

from tests.commands.run_hicra import document, hicra


def expect_refused(tmp_path, *arguments, code, words):
    """The command fails with `code`, names all `words`, shows no traceback and publishes nothing."""
    done = hicra(*arguments, "--json", cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    error = document(done)["error"]
    told = json.dumps(error, ensure_ascii=False) + done.stderr
    assert [word for word in words if word not in told] == []
    home = tmp_path / ".hicra"
    assert list(home.glob("artifacts/*/*/*")) == []
    return error


def test_malformed_yaml_names_file_and_line(tmp_path):
    (tmp_path / "mine.yaml").write_text("train:\n  alpha: 0.2\n  alpha: 0.3\n")
    expect_refused(tmp_path, "train", "-c", "mine.yaml", code=2, words=["mine.yaml:3", "alpha"])


def test_malformed_jsonl_names_file_and_line(tmp_path):
    good = json.dumps({"problem": "1+1", "response": "two", "correct": True})
    (tmp_path / "runs.jsonl").write_text(f"{good}\n{{broken\n")
    expect_refused(tmp_path, "collect-grams", "--rollouts", "runs.jsonl", code=2, words=["runs.jsonl:2"])


def test_an_unknown_key_names_the_nearest_one(tmp_path):
    expect_refused(tmp_path, "train", "--set", "train.alhpa=0.2", code=2, words=["train.alhpa", "train.alpha"])


@pytest.mark.parametrize("alpha", ["-0.1", "1.5", "nan"])
def test_an_alpha_out_of_bounds_is_refused(tmp_path, alpha):
    expect_refused(tmp_path, "train", "--algo", "hicra", "--set", f"train.alpha={alpha}", code=2, words=["train.alpha"])


def test_a_missing_artifact_is_exit_3_and_says_how_to_make_it(tmp_path):
    expect_refused(tmp_path, "curate", "--annotations", "annotations:absent", code=3, words=["annotations:absent"])


def test_a_model_directory_without_tokenizer_is_refused(tmp_path, nano_path):
    shutil.copytree(nano_path, tmp_path / "model", ignore=shutil.ignore_patterns("tokenizer*"))
    expect_refused(
        tmp_path, "eval", "--policy", "./model", "--limit", "2", code=2, words=["model", "tokenizer.json is missing"]
    )


def test_an_empty_gram_set_is_refused_and_not_published(tmp_path):
    rows = [{"problem": f"p{each}", "response": "is equal to the sum.", "correct": True} for each in range(4)]
    (tmp_path / "runs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    hicra("collect-grams", "--rollouts", "runs.jsonl", cwd=tmp_path, check=0)
    hicra("annotate-grams", cwd=tmp_path, check=0)
    done = hicra("curate", "--json", cwd=tmp_path)
    assert done.returncode in (1, 2), done.stderr
    assert "gram" in document(done)["error"]["what"]
    assert "gram-set:" not in hicra("artifacts", "list", cwd=tmp_path, check=0).stdout


def test_a_benchmark_without_answers_names_file_and_line(tmp_path):
    (tmp_path / "mine.jsonl").write_text('{"problem": "1+1", "answer": "2"}\n{"problem": "2+2"}\n')
    expect_refused(tmp_path, "eval", "--bench", "mine.jsonl", code=2, words=["mine.jsonl:2", "answer"])


def test_a_benchmark_that_cannot_be_reached_says_where_to_get_it(tmp_path):
    done = hicra("eval", "--bench", "aime24", "--json", cwd=tmp_path, HF_HUB_OFFLINE="1")
    assert done.returncode == 4, done.stderr
    assert "--data-dir" in json.dumps(document(done)["error"])


def test_a_missing_service_key_is_exit_4_and_keeps_what_there_is(tmp_path):
    rows = [{"problem": f"p{each}", "response": "Let me think about it.", "correct": True} for each in range(4)]
    (tmp_path / "runs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    hicra("collect-grams", "--rollouts", "runs.jsonl", cwd=tmp_path, check=0)
    done = hicra(
        "annotate-grams", "--annotator", "gemini", "--json", cwd=tmp_path, GEMINI_API_KEY="", GOOGLE_API_KEY=""
    )
    assert done.returncode == 4, done.stderr
    assert "GEMINI_API_KEY" in json.dumps(document(done)["error"])
    assert "candidates:default@v1" in hicra("artifacts", "list", cwd=tmp_path, check=0).stdout
