"""What reaches a terminal, a pipe and a log."""

import io
import json
import math
import os
import pty
import subprocess
import sys
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hicra_cli.core import output as output_module
from hicra_cli.core.output import Output, Table, clean, json_line, table_lines
from hicra_cli.core.runlog import RunLog

HOSTILE = "[/b] [link=file:///x] \x1b[31mred\x1b]8;;http://x\x07 \x9b \u202egnitrats\u2066 \x00 \ud800 end\r"


def quiet_output(**settings):
    return Output(results=io.StringIO(), talk=io.StringIO(), **settings)


def test_hostile_text_loses_its_controls_and_keeps_its_words():
    cleaned = clean(HOSTILE)
    assert "[/b] [link=file:///x]" in cleaned
    assert not any(each in cleaned for each in "\x1b\x07\x9b\u202e\u2066\x00\ud800\r")
    assert cleaned.endswith("end\ufffd")
    assert clean("a\r\nb\tc\n") == "a\nb\tc\n"


@given(st.text())
def test_cleaned_text_is_printable_in_any_view(text):
    cleaned = clean(text)
    cleaned.encode("utf-8")
    assert all(each in "\n\t" or ord(each) >= 32 for each in cleaned)
    output = quiet_output()
    output.warn(text)
    output.error(text)
    output.show([text, Table(("a",), [(text,)])])
    assert "\x1b" not in output.talk.getvalue() + output.results.getvalue()


def test_json_is_one_ascii_line_whatever_it_holds():
    document: dict[Any, Any] = {"text": HOSTILE + "ü\n", "nan": math.nan, "inf": [math.inf, 1.5], 3: {"path": os}}
    line = json_line(document)
    assert line.isascii()
    assert "\n" not in line
    assert json.loads(line)["nan"] is None
    assert json.loads(line)["inf"] == [None, 1.5]


def test_tables_are_never_cut_and_align_numbers():
    long = "x" * 300
    lines = table_lines(Table(("name", "value"), [(long, "9.5"), ("b", "10.25")]))
    assert lines[1] == f"{long}    9.5"
    assert lines[2].endswith(" 10.25")
    assert not any(line.endswith(" ") for line in lines)


def test_a_warning_is_said_once_and_kept():
    output = quiet_output(quiet=True)
    output.warn("careful")
    output.warn("careful")
    output.note("not said")
    assert output.talk.getvalue() == "warning: careful\n"
    assert output.warnings == ["careful"]


def test_progress_in_a_log_is_a_line_now_and_then(monkeypatch):
    monkeypatch.setattr(output_module, "LINE_EVERY_S", 0.0)
    output = quiet_output()
    with output.phase("sampling", 4) as advance:
        advance(1)
        advance(3, status="reward 0.5 [/b]")
    lines = output.talk.getvalue().splitlines()
    assert lines[0].startswith("sampling: 1/4 (0 s")
    assert lines[-1].startswith("sampling: 4/4")
    assert lines[-1].endswith("reward 0.5 [/b]")
    monkeypatch.setattr(output_module, "LINE_EVERY_S", 1000.0)
    with output.phase("quick", 2) as advance:
        advance(2)
    assert "quick" not in output.talk.getvalue()


def test_progress_counts_from_many_threads(monkeypatch):
    monkeypatch.setattr(output_module, "LINE_EVERY_S", 0.0)
    output = quiet_output()
    with output.phase("requests", 800) as advance:
        threads = [threading.Thread(target=lambda: [advance() for _ in range(100)]) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert output.talk.getvalue().splitlines()[-1].startswith("requests: 800/800")


def test_a_log_reader_that_leaves_does_not_stop_the_work():
    reading, writing = os.pipe()
    os.close(reading)
    output = Output(results=io.StringIO(), talk=os.fdopen(writing, "w"))
    output.note("into the void")
    output.note("and again")


def test_bars_on_a_terminal_survive_markup_and_nested_phases():
    program = (
        "import sys; from hicra_cli.core.output import Output\n"
        "output = Output(results=sys.stdout, talk=sys.stderr)\n"
        "with output.phase('outer [/b]', 2) as outer:\n"
        "    with output.phase('inner', None) as inner:\n"
        "        inner(3, status='[/red] \\x1b[5m')\n"
        "    output.warn('odd [link=x]')\n"
        "    outer(2)\n"
    )
    seen = on_terminal([sys.executable, "-c", program])
    assert "outer [/b]" in seen
    assert "2/2" in seen
    assert "odd [link=x]" in seen
    assert "\x1b[5m" not in seen
    assert "Traceback" not in seen


def on_terminal(command, **environment):
    """Run a command whose stderr is a terminal of our own; returns what it showed."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=theirs, env=os.environ | {"TERM": "xterm"} | environment
    )
    os.close(theirs)
    seen = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # Linux says EIO when the other side is closed
            break
        if not piece:
            break
        seen += piece
    os.close(ours)
    assert process.wait(timeout=60) == 0
    return seen.decode()


def test_no_color_is_honoured_on_a_terminal():
    program = (
        "import sys; from hicra_cli.core.output import Output\n"
        "Output(results=sys.stdout, talk=sys.stderr).error('wrong')\n"
    )
    assert "\x1b[1;31m" in on_terminal([sys.executable, "-c", program])
    assert "\x1b[" not in on_terminal([sys.executable, "-c", program], NO_COLOR="1").replace("\x1b[1m", "").replace(
        "\x1b[0m", ""
    )


def test_the_log_waits_for_the_home_and_strikes_out_secrets(tmp_path):
    home = tmp_path / "home"
    log = RunLog(home, "train", secrets=["sekret-key-123"])
    log.write("before sekret-key-123 after")
    log.open()
    assert not home.exists()
    home.mkdir()
    log.open()
    log.write("lone \ud800 surrogate")
    assert log.path.parent == home / "logs"
    assert log.path.read_text() == "before [key] after\nlone \\ud800 surrogate\n"
    assert log.path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("stream", [">&-", "2>&-", "<&-"])
def test_a_closed_standard_stream_is_no_crash(stream, tmp_path):
    command = f"{sys.executable} -m hicra_cli config presets {stream}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
