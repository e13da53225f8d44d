"""hicra grade: a real process; whatever the input holds, one line in gives one line out, in order."""

import gzip
import json
import os
import select
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hicra_cli.core.errors import UsageError
from hicra_cli.grading import GradingPool
from hicra_cli.grading.log_reader import LogReader
from hicra_cli.grading.log_reports import EveryVerdict, graded_entries
from tests.commands.run_hicra import clean_environment, document, hicra

COMMAND = [sys.executable, "-m", "hicra_cli", "grade"]


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


def grade_stdin(content, *arguments, cwd):
    done = subprocess.run(
        [*COMMAND, "--jsonl", "-", *arguments], input=content, cwd=cwd, env=clean_environment(), capture_output=True,
        timeout=120,
    )  # fmt: skip
    return done.returncode, lines(done.stdout.decode("ascii")), done.stderr.decode()


@contextmanager
def live(cwd):
    """A grading process that waits for lines: (process, stdin, stdout)."""
    process = subprocess.Popen(
        [*COMMAND, "--jsonl", "-"], cwd=cwd, env=clean_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield process, process.stdin, process.stdout


def test_each_line_gets_its_verdict_in_order(tmp_path):
    rows = [
        {"id": "a", "gold": "\\frac12", "response": "so \\boxed{0.5}"},
        {"id": 2, "gold": "42", "response": "so \\boxed{41}"},
        {"id": 2.5, "gold": "42", "response": "the answer is 42"},
        {"id": None, "gold": 42, "answer": "42"},
        {"id": "e", "gold": ["7", "8"], "answer": 8},
        {"id": "f", "gold": "42", "response": "so \\boxed{4", "truncated": True},
        {"id": "g", "gold": "42", "response": "so \\boxed{4", "finish_reason": "stop"},
        {"gold": "0.10", "answer": 0.1},
    ]
    done = hicra("grade", "--jsonl", write(tmp_path / "in.jsonl", rows), cwd=tmp_path, check=0)
    found = lines(done.stdout)
    assert [(row["id"], row["correct"], row["outcome"], row["extracted"]) for row in found] == [
        ("a", True, "correct", "0.5"),
        (2, False, "wrong", "41"),
        (2.5, False, "no_answer", None),
        (None, True, "correct", "42"),
        ("e", True, "correct", "8"),
        ("f", False, "truncated", None),
        ("g", False, "unclosed", None),
        (None, True, "correct", "0.1"),
    ]
    assert found[4]["gold_normal"] == ["7", "8"]
    assert found[1]["gold_normal"] == "42"
    assert (found[3]["line"], found[7]["line"]) == (4, 8)
    assert "8 graded in" in done.stderr
    assert "4 correct" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]  # and no home was made


FAULTS = [
    (b"", "empty"),
    (b"nonsense", "no JSON"),
    (b'{"id": 1, "gold": "1", "answer": "1"', "no JSON"),
    (b"[1, 2]", "no JSON object"),
    (b"NaN", "no JSON object"),
    (b'{"id": "x"}', "no gold"),
    (b'{"id": "x", "gold": "1"}', "no response"),
    (b'{"id": "x", "gold": null, "answer": "1"}', "no gold"),
    (b'{"id": "x", "gold": "1", "response": null}', "null"),
    (b'{"id": "x", "gold": "", "answer": "1"}', "gold is empty"),
    (b'{"id": "x", "gold": [], "answer": "1"}', "empty list"),
    (b'{"id": "x", "gold": true, "answer": "1"}', "true or false"),
    (b'{"id": "x", "gold": NaN, "answer": "1"}', "finite"),
    (b'{"id": "x", "gold": "1", "answer": -Infinity}', "finite"),
    (b'{"id": "x", "gold": "1", "response": 7}', "not a text"),
    (b'{"id": "x", "gold": {"a": 1}, "answer": "1"}', "an object"),
    (b'{"id": ["x"], "gold": "1", "answer": "1"}', "a list"),
    (b'{"id": "x", "gold": "1", "answer": "1", "truncated": 3}', "true or false"),
    (b'{"id": "x", "gold": "1", "answer": "\xff"}', "UTF-8"),
    (b"[" * 100_000, "cannot be read as JSON"),
    (b'{"id": 1' + b"0" * 5000 + b', "gold": "1", "answer": "1"}', "cannot be read as JSON"),
]


def test_a_line_that_cannot_be_graded_gives_an_error_line_in_its_place(tmp_path):
    good = b'{"id": "good", "gold": "1", "answer": "1"}'
    content = b"\xef\xbb\xbf" + b"\r\n".join([good, *(line for fault, _ in FAULTS for line in (fault, good))])
    code, found, talk = grade_stdin(content, cwd=tmp_path)
    assert code == 1
    assert len(found) == 1 + 2 * len(FAULTS)
    assert all(row["correct"] and row["id"] == "good" for row in found[::2])
    for row, (line, detail) in zip(found[1::2], FAULTS, strict=True):
        assert (row["correct"], row["outcome"]) == (False, "error"), line
        assert detail in row["detail"], (line, row)
        assert row["id"] == ("x" if b'"x",' in line or line == b'{"id": "x"}' else None), line
    assert f"{len(FAULTS)} of {len(found)} could not be graded (line 2: the line is empty" in talk
    assert "Traceback" not in talk


def test_strange_but_sound_lines_are_graded(tmp_path):
    rows = [
        b'{"id": "surrogate", "gold": "1", "response": "\\ud800 so \\\\boxed{1}"}',
        b'{"id": "\\u0000", "gold": "1", "response": "\\u0000\\u001b[2J\\\\boxed{1}"}',
        "{\"id\": \"separator\u2028\", \"gold\": \"1\", \"response\": \"a\u2028b \\\\boxed{1}\"}".encode(),
        b'  {"id": "blanks", "gold": "1", "response": "\\\\boxed{1}", "score": NaN}  ',
        b'{"id": "twice", "gold": "2", "gold": "1", "answer": "1"}',
        b'{"id": "huge", "gold": "1", "response": "' + b"{" * 3_000_000 + b'\\\\boxed{1}"}',
    ]  # fmt: skip
    code, found, _ = grade_stdin(b"\n".join(rows), cwd=tmp_path)
    assert [row["id"] for row in found] == ["surrogate", "\x00", "separator\u2028", "blanks", "twice", "huge"]
    assert [row["correct"] for row in found] == [True] * 6
    assert code == 0


BYTES = st.one_of(
    st.binary(max_size=60),
    st.sampled_from([line for line, _ in FAULTS if len(line) < 100]),
    st.fixed_dictionaries(
        {"id": st.integers() | st.text(), "gold": st.text() | st.floats() | st.lists(st.text(), max_size=2)},
        optional={"response": st.text() | st.none(), "answer": st.text() | st.booleans(), "truncated": st.booleans()},
    ).map(lambda row: json.dumps(row).encode()),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(BYTES.map(lambda line: line.replace(b"\n", b" ")), max_size=6))
def test_one_line_in_gives_one_line_out_whatever_it_holds(tmp_path, rows):
    path = tmp_path / "any.jsonl"
    path.write_bytes(b"".join(row + b"\n" for row in rows))
    with GradingPool() as pool:
        found = [
            row
            for batch in LogReader(path, format_name="hicra").batches()
            for row in EveryVerdict("both").rows(graded_entries(batch, pool, "both"))
        ]
    assert len(found) == len(rows)
    assert all(row["outcome"] and isinstance(row["correct"], bool) for row in found)


def test_a_pipe_that_stays_open_gets_each_answer_at_once(tmp_path):
    with live(tmp_path) as (process, questions, answers):
        for number in range(3):
            questions.write(json.dumps({"id": number, "gold": "1", "answer": "1"}).encode() + b"\n")
            questions.flush()
            assert select.select([answers], [], [], 60)[0]
            assert json.loads(answers.readline())["id"] == number
        questions.close()
        assert process.wait(60) == 0


def test_a_reader_that_leaves_ends_it_quietly(tmp_path):
    write(tmp_path / "many.jsonl", [{"id": number, "gold": "1"} for number in range(20_000)])
    command = f"set -o pipefail; {' '.join(COMMAND)} --jsonl many.jsonl | head -1"
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, env=clean_environment(), capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["id"] == 0


def test_an_interrupt_keeps_the_lines_so_far(tmp_path):
    with live(tmp_path) as (process, questions, answers):
        questions.write(b'{"id": 1, "gold": "1", "answer": "1"}\n')
        questions.flush()
        assert json.loads(answers.readline())["correct"]
        process.send_signal(signal.SIGINT)
        _, talk = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"The same command starts anew" in talk
    assert b"Traceback" not in talk


def test_json_is_a_summary_and_needs_a_file_for_the_lines(tmp_path):
    source = write(tmp_path / "in.jsonl", [{"id": 1, "gold": "1", "answer": "1"}, {"id": 2, "gold": "1"}])
    refused = document(hicra("grade", "--jsonl", source, "--json", cwd=tmp_path, check=2))
    assert "--output" in refused["error"]["fix"]
    found = document(hicra("grade", "--jsonl", source, "--json", "--output", "out.jsonl", cwd=tmp_path, check=1))
    assert found["metrics"] == {"graded": 2, "correct": 1, "faults": 1}
    assert found["data"]["outcomes"] == {"correct": 1, "error": 1}
    assert [row["id"] for row in lines((tmp_path / "out.jsonl").read_text())] == [1, 2]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "out.jsonl"]


def test_the_output_replaces_neither_what_is_read_nor_what_is_no_file(tmp_path):
    source = write(tmp_path / "in.jsonl", [{"id": 1, "gold": "1", "answer": "1"}])
    (tmp_path / "link.jsonl").symlink_to("in.jsonl")
    for output in ("in.jsonl", "link.jsonl"):
        assert "would replace" in hicra("grade", "--jsonl", source, "-o", output, cwd=tmp_path, check=2).stderr
    write(tmp_path / "old.jsonl", [{"id": 1, "correct": True}])
    hicra("grade", "--jsonl", source, "--diff", "old.jsonl", "-o", "old.jsonl", cwd=tmp_path, check=2)
    assert [len(path.read_text().splitlines()) for path in (source, tmp_path / "old.jsonl")] == [1, 1]
    os.mkfifo(tmp_path / "pipe")
    reader = subprocess.Popen(["cat", "pipe"], cwd=tmp_path, stdout=subprocess.PIPE)
    hicra("grade", "--jsonl", source, "-o", "pipe", cwd=tmp_path)
    assert lines(reader.communicate(timeout=60)[0].decode())[0]["correct"]
    assert (tmp_path / "pipe").is_fifo()
    for stdout in ("-", "/dev/stdout"):
        assert lines(hicra("grade", "--jsonl", source, "-o", stdout, cwd=tmp_path).stdout)[0]["correct"]


def test_an_output_that_is_a_link_keeps_being_one(tmp_path):
    source = write(tmp_path / "in.jsonl", [{"id": 1, "gold": "1", "answer": "1"}])
    (tmp_path / "link.jsonl").symlink_to("out.jsonl")
    hicra("grade", "--jsonl", source, "-o", "link.jsonl", cwd=tmp_path)
    assert (tmp_path / "link.jsonl").is_symlink()
    assert lines((tmp_path / "out.jsonl").read_text())[0]["correct"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_told(tmp_path):
    source = write(tmp_path / "in.jsonl", [{"id": 1, "gold": "1", "answer": "1"}])
    done = hicra("grade", "--jsonl", source, "-o", "/dev/full", cwd=tmp_path, check=1)
    assert "no room while writing the lines" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--jsonl", "a", "--evaluation", "b"],
        ["--jsonl", "nowhere.jsonl", "--output", "out.jsonl"],
        ["--jsonl", "."],
        ["--jsonl", "-", "--fields", "colour=red"],
        ["--jsonl", "-", "--fields", "response"],
        ["--jsonl", "-", "--diff", "input", "--against", "verl"],
        ["--jsonl", "-", "--against", "nobody"],
        ["--jsonl", "-", "--output", "no/such/folder/out.jsonl"],
        ["--jsonl", "-", "--mode", "kind"],
    ],
)
def test_wrong_usage_is_exit_code_2(arguments, tmp_path):
    done = hicra("grade", *arguments, cwd=tmp_path, check=2)
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_missing_evaluation_is_exit_code_3(tmp_path):
    hicra("grade", "--evaluation", "evaluation:none", cwd=tmp_path, check=3)


def test_lenient_verdicts_are_marked_and_both_stand_side_by_side(tmp_path):
    rows = [{"id": 1, "gold": "7", "response": "The answer is 7."}, {"id": 2, "gold": "7", "response": "\\boxed{7}"}]
    source = write(tmp_path / "in.jsonl", rows)
    lenient = lines(hicra("grade", "--jsonl", source, "--mode", "lenient", cwd=tmp_path, check=0).stdout)
    assert [(row["correct"], row["mode"], row.get("detail")) for row in lenient] == [
        (True, "lenient", "lenient: found by phrase"),
        (True, "lenient", None),
    ]
    both = lines(hicra("grade", "--jsonl", source, "--mode", "both", cwd=tmp_path, check=0).stdout)
    assert [(row["correct"], row["lenient_correct"], row["lenient_extracted"]) for row in both] == [
        (False, True, "7"),
        (True, True, "7"),
    ]


def test_what_changed_since_an_earlier_grading_is_told(tmp_path):
    rows = [{"id": number, "gold": "7", "response": f"\\boxed{{{number}}}"} for number in range(9)]
    source = write(tmp_path / "in.jsonl", rows)
    old = tmp_path / "old.jsonl"
    old.write_text(hicra("grade", "--jsonl", source, cwd=tmp_path, check=0).stdout)
    same = hicra("grade", "--jsonl", source, "--diff", old, cwd=tmp_path, check=0)
    assert same.stdout == ""
    assert "9 unchanged, 0 now correct, 0 now wrong" in same.stderr
    old.write_text(old.read_text().replace('"correct": true', '"correct": false'))
    changed = hicra("grade", "--jsonl", source, "--diff", old, cwd=tmp_path, check=0)
    (row,) = lines(changed.stdout)
    assert (row["id"], row["before"], row["correct"], row["gold"]) == (7, False, True, "7")
    assert "8 unchanged, 1 now correct, 0 now wrong" in changed.stderr
    assert "0 correct before, 1 correct after" in changed.stderr


@pytest.mark.parametrize(
    ("old", "why"),
    [
        (["0"], "fewer lines"),
        (["0", "1", "2"], "more lines"),
        (["0", "2"], "its id is '2'"),
        (["0", None], "id is None"),
    ],
)
def test_verdicts_of_another_input_are_refused(old, why, tmp_path):
    source = write(tmp_path / "in.jsonl", [{"id": each, "gold": "7", "answer": "7"} for each in "01"])
    write(tmp_path / "old.jsonl", [{"id": each, "correct": True} for each in old])
    done = hicra("grade", "--jsonl", source, "--diff", "old.jsonl", cwd=tmp_path, check=2)
    assert why in done.stderr


def test_disagreement_with_another_grader_is_told(tmp_path):
    rows = [
        {"id": "same", "gold": "7", "response": "\\boxed{7}"},
        {"id": "factor 100", "gold": "7", "response": "\\boxed{700}"},
        {"id": "only here", "gold": "\\frac{1}{2}", "response": "\\boxed{2^{-1}}"},
        {"id": "wrong", "gold": "7", "response": "\\boxed{8}"},
        {"id": "fault"},
    ]
    source = write(tmp_path / "in.jsonl", rows)
    done = hicra("grade", "--jsonl", source, "--against", "qwen", "--json", "-o", "out", cwd=tmp_path, check=1)
    assert document(done)["data"]["counts"] == {
        "both_correct": 2,
        "both_wrong": 1,
        "only_hicra": 0,
        "only_policy": 1,
        "policy_failed": 0,
        "not_compared": 1,
    }
    (row,) = lines((tmp_path / "out").read_text())
    assert (row["id"], row["correct"], row["policy"], row["policy_correct"]) == ("factor 100", False, "qwen", True)
    done = hicra("grade", "--jsonl", source, "--against", "verl", cwd=tmp_path, check=1)
    assert [(row["id"], row["policy_correct"]) for row in lines(done.stdout)] == [("only here", False)]


def test_a_compressed_log_is_read(tmp_path):
    with gzip.open(tmp_path / "in.jsonl.gz", "wt") as stream:
        stream.write('{"id": 1, "gold": "1", "answer": "1"}\n' * 3)
    assert len(lines(hicra("grade", "--jsonl", "in.jsonl.gz", cwd=tmp_path, check=0).stdout)) == 3
    whole = (tmp_path / "in.jsonl.gz").read_bytes()
    (tmp_path / "cut.jsonl.gz").write_bytes(whole[:-12])
    done = hicra("grade", "--jsonl", "cut.jsonl.gz", cwd=tmp_path, check=1)
    assert "cannot be read on" in lines(done.stdout)[-1]["detail"]


def test_an_evaluation_is_graded_again_and_stays_as_it_is(tmp_path):
    hicra(
        "eval", "--bench", "countdown", "--limit", "3", "--samples", "2", "--set", "eval.countdown_questions=3",
        "--name", "small", "--max-new-tokens", "64", cwd=tmp_path, check=0,
    )  # fmt: skip
    (samples,) = tmp_path.rglob("samples.jsonl")
    before = samples.read_bytes()
    done = hicra("grade", "--evaluation", "small", "--json", "--output", "changed.jsonl", cwd=tmp_path, check=0)
    found = document(done)
    assert found["data"]["format"] == "samples"
    assert found["data"]["counts"]["unchanged"] == len(before.splitlines())
    assert (tmp_path / "changed.jsonl").read_text() == ""
    assert samples.read_bytes() == before
    assert len(list(tmp_path.rglob("samples.jsonl"))) == 1


def test_grading_loads_no_torch(tmp_path):
    write(tmp_path / "in.jsonl", [{"id": 1, "gold": "1", "answer": "1"}])
    program = (
        "import sys; sys.argv = ['hicra', 'grade', '--jsonl', 'in.jsonl', *sys.argv[1:]]\n"
        "from hicra_cli.app import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'datasets', 'sympy', 'math_verify'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    for more, talk in (([], ["1 graded"]), (["--help"], [])):
        done = subprocess.run(
            [sys.executable, "-c", program, *more], cwd=tmp_path, env=clean_environment(), capture_output=True,
            text=True, timeout=60,
        )  # fmt: skip
        assert done.stderr.splitlines()[-1] == "[]"
        assert all(each in done.stderr for each in talk)


@pytest.mark.slow
def test_a_hundred_thousand_lines_take_no_more_memory_than_ten_thousand(tmp_path):
    text = "thinking about it " * 100

    def peak_kib(count):
        path = tmp_path / f"{count}.jsonl"
        with path.open("w") as stream:
            stream.writelines(
                json.dumps({"id": number, "gold": str(number % 997), "response": f"{text}\\boxed{{{number % 1009}}}"})
                + "\n"
                for number in range(count)
            )
        process = subprocess.Popen(
            [*COMMAND, "--jsonl", path, "--output", os.devnull], cwd=tmp_path, env=clean_environment()
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = status
        assert status == 0
        return usage.ru_maxrss

    few = peak_kib(10_000)
    # ten times the lines: at most the memory of comparisons (65,536 pairs, some 20 MiB) more
    assert peak_kib(100_000) - few < 40_000


def test_an_unreadable_source_is_refused_before_anything_is_graded(tmp_path):
    (tmp_path / "log.parquet").write_text("no parquet")
    with pytest.raises(UsageError, match="Parquet"):
        list(LogReader(tmp_path / "log.parquet").batches())
