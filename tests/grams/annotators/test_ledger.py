"""The ledger: what was written is read again, whatever the moment at which the writer died."""

import json
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hicra_cli.core.errors import ArtifactError
from hicra_cli.grams.annotators.ledger import Answer, Job, Ledger
from hicra_cli.grams.annotators.prices import Usage

ANSWER = Answer("branching", 0.75, "opens a case \u2028 \ud800", "model-1")


def filled(path) -> Ledger:
    with Ledger(path) as ledger:
        first = ledger.sent("gemini/0", 0.5)
        second = ledger.sent("gemini/0", 0.25)
        ledger.sent("openai/0", 8.0)
        ledger.got("gemini/0", first, Usage(100, 50), 0.125, [("k1", ANSWER)])
        ledger.got("gemini/0", second, Usage(10, 5), 0.0625)
        ledger.keep("gemini/0", [("k2", Answer("", 0.0, "refused", "model-1"))])
        ledger.job("gemini/0", Job("label", "batches/1", {"r": (7, 0.5, ["k3", "k4"])}))
        ledger.job("gemini/0", Job("done", "batches/2", {}))
        ledger.job_done("gemini/0", "done")
    return ledger


def test_what_was_written_is_read_again(tmp_path):
    written = filled(tmp_path / "a")
    read = Ledger(tmp_path / "a")
    assert read.known == written.known == {"k1": ANSWER, "k2": Answer("", 0.0, "refused", "model-1")}
    assert read.spent("gemini/0") == written.spent("gemini/0")
    assert read.open_jobs("gemini/0") == [Job("label", "batches/1", {"r": (7, 0.5, ["k3", "k4"])})]
    assert read.torn_bytes == 0


def test_costs_are_kept_by_asker_and_a_request_without_an_end_may_have_cost_its_worst(tmp_path):
    ledger = filled(tmp_path / "a")
    spent = ledger.spent("gemini/0")
    # 100 + 10 and 50 + 5 tokens, 0.125 + 0.0625 dollars
    assert (spent.requests, spent.input_tokens, spent.output_tokens, spent.cost) == (2, 110, 55, 0.1875)
    assert spent.lost_cost == 0.0
    assert ledger.spent("openai/0").lost_cost == 8.0
    assert ledger.spent("nobody").requests == 0


def test_numbers_go_on_after_reopening(tmp_path):
    filled(tmp_path / "a")
    with Ledger(tmp_path / "a") as ledger:
        assert ledger.sent("gemini/0", 0.0) == 3


def test_reading_creates_and_changes_nothing(tmp_path):
    Ledger(tmp_path / "missing")
    assert not (tmp_path / "missing").exists()
    path = tmp_path / "a"
    filled(path)
    path.write_bytes(path.read_bytes()[:-3])
    before = path.read_bytes()
    assert Ledger(path).torn_bytes > 0
    assert path.read_bytes() == before


@settings(max_examples=40)
@given(st.data())
def test_a_ledger_cut_anywhere_gives_a_prefix_and_can_be_continued(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("ledger") / "a"
    filled(path)
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])
    with Ledger(path) as ledger:
        assert path.read_bytes() == whole[: whole.rfind(b"\n", 0, cut) + 1]
        ledger.keep("gemini/0", [("k9", ANSWER)])
    again = Ledger(path)
    assert again.known["k9"] == ANSWER
    assert again.known == ledger.known
    assert set(again.known) <= {"k1", "k2", "k9"}


@pytest.mark.parametrize(
    "line", ["not json", "[]", "{}", '{"by": "x", "got": 1}', '{"by": "x", "job": "l", "name": null, "requests": 3}']
)
def test_a_foreign_line_is_named_with_its_place(tmp_path, line):
    path = tmp_path / "a"
    filled(path)
    lines = path.read_text().count("\n")
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(ArtifactError, match="none of a ledger") as failure:
        Ledger(path)
    assert failure.value.where == f"{path}:{lines + 1}"


FULL = """
import resource, sys
from pathlib import Path
from hicra_cli.core.errors import RunError
from hicra_cli.grams.annotators.ledger import Answer, Ledger
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
kept = 0
try:
    with Ledger(Path(sys.argv[1])) as ledger:
        while True:
            ledger.keep("x", [(f"k{kept}", Answer("none", 0.5, "reason", "model"))])
            kept += 1
except RunError as error:
    print(kept, error.exit_code, "--resume" in str(error))
"""


def test_a_full_disk_ends_the_run_and_loses_no_answer_that_was_kept(tmp_path):
    path = tmp_path / "a"
    done = subprocess.run([sys.executable, "-c", FULL, str(path)], capture_output=True, text=True, check=True)
    kept, exit_code, says_resume = done.stdout.split()
    assert (exit_code, says_resume) == ("1", "True")
    assert int(kept) > 5
    assert len(Ledger(path).known) == int(kept)


def test_every_line_is_one_json_object(tmp_path):
    filled(tmp_path / "a")
    for line in (tmp_path / "a").read_bytes().split(b"\n")[:-1]:
        assert isinstance(json.loads(line), dict)
