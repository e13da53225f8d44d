"""Benchmarks: where they are found, what a malformed one says, and no hub that lets a user wait."""

import gzip
import http.server
import json
import os
import subprocess
import sys
import threading
from typing import Any

import pytest

from hicra_cli.core.errors import ConfigError, DataError, ServiceError
from hicra_cli.tasks.benchmarks import KNOWN, load_benchmark
from hicra_cli.tasks.problems import gold_of, golds

ROWS: list[dict[str, Any]] = [
    {"id": "a", "problem": "1 + 1?", "answer": "2"},
    {"id": "b", "problem": "2 + 2?", "answer": 4},
]


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def test_a_known_name_is_found_in_the_data_folder_or_its_bench(tmp_path):
    write(tmp_path / "bench" / "aime24.jsonl", ROWS)
    bench = load_benchmark("aime24", data_dir=tmp_path)
    assert [(each.id, each.text, each.answer) for each in bench.prompts] == [("a", "1 + 1?", "2"), ("b", "2 + 2?", "4")]
    assert bench.default_samples == 32
    assert "2 questions here, the published set has 30" in bench.warnings[0]
    write(tmp_path / "aime24.jsonl", ROWS[:1])
    assert len(load_benchmark("aime24", data_dir=tmp_path).prompts) == 1


def test_a_file_is_a_benchmark_too_compressed_or_not(tmp_path):
    path = write(tmp_path / "My Questions.v2.jsonl", ROWS)
    packed = tmp_path / "packed.jsonl.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    bench = load_benchmark(str(path), data_dir=None)
    assert (bench.name, bench.label, bench.default_samples) == ("my-questions.v2", path.name, 1)
    assert load_benchmark(str(packed), data_dir=None).prompts == bench.prompts


def test_limit_keeps_the_first_questions(tmp_path):
    path = write(tmp_path / "q.jsonl", ROWS)
    assert [each.id for each in load_benchmark(str(path), data_dir=None, limit=1).prompts] == ["a"]


def test_countdown_is_built_in():
    bench = load_benchmark("countdown", data_dir=None, countdown_questions=20)
    assert (bench.kind, len(bench.prompts), bench.default_samples) == ("countdown", 20, 4)
    assert bench.sha256 == load_benchmark("countdown", data_dir=None, countdown_questions=20).sha256


@pytest.mark.parametrize(
    ("rows", "place", "what"),
    [
        ([ROWS[0], {"id": "b", "problem": "2 + 2?"}], ":2", "no answer"),
        ([ROWS[0], {"id": "b", "problem": "2 + 2?", "answer": " "}], ":2", "no answer"),
        ([ROWS[0], {"id": "b", "problem": "2 + 2?", "answer": True}], ":2", "no answer"),
        ([{"id": "a", "answer": "2"}], ":1", "no problem"),
        ([ROWS[0], ROWS[0]], ":2", "used already"),
        ([ROWS[0], "{not json"], ":2", "no JSON"),
        ([ROWS[0], "[1]"], ":2", "JSON object"),
        ([{**ROWS[0], "alternatives": "two"}], ":1", "alternatives"),
        ([], "q.jsonl", "no question"),
    ],
)
def test_a_malformed_benchmark_names_file_and_line(tmp_path, rows, place, what):
    path = write(tmp_path / "q.jsonl", rows)
    with pytest.raises(DataError, match=what) as failure:
        load_benchmark(str(path), data_dir=None)
    assert place in (failure.value.where or "")
    assert failure.value.exit_code == 2


def test_an_unknown_name_gets_the_nearest_one():
    with pytest.raises(ConfigError, match="Did you mean aime2"):
        load_benchmark("aime42", data_dir=None)
    with pytest.raises(ConfigError, match="jsonl"):
        load_benchmark("something else", data_dir=None)
    with pytest.raises(ConfigError, match="no source on the hub"):
        load_benchmark("hmmt_24_25", data_dir=None)


def test_golds_are_read_from_the_spellings_of_data_sets():
    assert gold_of("3 + 3 = 6\n#### 6") == "6"
    assert gold_of(r"so \boxed{\frac12}") == r"\frac12"
    assert gold_of([1, "2"]) == "1, 2"
    assert gold_of(27.0) == "27"
    assert gold_of(None) == ""


def test_alternatives_are_golds_too(tmp_path):
    path = write(tmp_path / "q.jsonl", [{**ROWS[0], "alternatives": ["two", "II"]}])
    assert golds(load_benchmark(str(path), data_dir=None).prompts[0]) == ("2", "two", "II")


class Broken(http.server.BaseHTTPRequestHandler):
    """A hub that is down."""

    def do_GET(self):
        self.send_error(503)

    do_HEAD = do_GET

    def log_message(self, *args):
        return None


@pytest.mark.parametrize("hub", ["offline", "refused", "down"])
def test_an_unreachable_hub_is_told_soon_with_the_remedy(tmp_path, hub):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Broken)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = {"refused": "http://127.0.0.1:9", "down": f"http://127.0.0.1:{server.server_port}"}
    settings = {"HF_HUB_OFFLINE": "1"} if hub == "offline" else {"HF_ENDPOINT": endpoint[hub]}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    program = (
        "from hicra_cli.tasks.benchmarks import load_benchmark\n"
        "from hicra_cli.core.errors import ServiceError\n"
        "try: load_benchmark('aime24', data_dir=None)\n"
        "except ServiceError as error: print(error.exit_code, error)\n"
    )
    try:
        done = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            timeout=60,
            env={**environment, **settings, "HF_HOME": str(tmp_path)},
        )
    finally:
        server.shutdown()
        server.server_close()
    assert done.stdout.startswith("4 "), done.stderr
    assert "--data-dir" in done.stdout
    assert ServiceError.exit_code == 4


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_the_real_sets_have_their_published_size(data_dir, name):
    bench = load_benchmark(name, data_dir=data_dir)
    assert bench.warnings == ()
    assert len(bench.prompts) == KNOWN[name].questions
    assert all(each.answer and each.text for each in bench.prompts)
