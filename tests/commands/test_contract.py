"""The contract of every command line: exit codes, one JSON document, streams, pipes, hostile input."""

import json
import os
import signal
import subprocess
import sys

import pytest
from safetensors import SafetensorError

from hicra_cli.commands.failures import bug_report, failure_of
from hicra_cli.core.errors import Interrupted, RunError, ServiceError
from tests.commands.run_hicra import ROOT, clean_environment, document, hicra


def test_wrong_usage_is_exit_code_2_with_one_short_paragraph(tmp_path):
    done = hicra("trian", cwd=tmp_path, check=2)
    assert done.stdout == ""
    assert "Did you mean 'train'?" in done.stderr
    done = hicra("train", "--alpha", "-0.1", cwd=tmp_path, check=2)
    assert done.stderr.startswith("error: --alpha: train.alpha = -0.1: must be greater than or equal to 0")
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []  # and nothing was made


@pytest.mark.parametrize(
    ("arguments", "command", "kind"),
    [
        (["train", "--bogus"], "train", "usage"),
        (["artifacts", "shwo"], "artifacts", "usage"),
        (["train", "--set", "train.alhpa=1"], "train", "config"),
        (["config", "show", "nowhere"], "config show", "usage"),
    ],
)
def test_json_is_one_document_also_for_wrong_usage(arguments, command, kind, tmp_path):
    done = hicra(*arguments, "--json", cwd=tmp_path, check=2)
    found = document(done)
    assert (found["command"], found["status"], found["error"]["kind"]) == (command, "error", kind)
    assert found["error"]["exit_code"] == 2
    assert found["error"]["fix"]


def test_a_missing_registry_is_exit_code_3(tmp_path):
    found = document(hicra("artifacts", "list", "--json", cwd=tmp_path, check=3))
    assert found["error"]["kind"] == "artifact"
    assert list(tmp_path.iterdir()) == []


def test_faults_in_a_file_name_file_and_line(tmp_path):
    (tmp_path / "a.yaml").write_text("train:\n  steps: 3\n  stepz: 4\n")
    done = hicra("config", "show", "-c", "a.yaml", cwd=tmp_path, check=2)
    assert "a.yaml:3: unknown key train.stepz. Did you mean train.steps?" in done.stderr
    (tmp_path / "b.yaml").write_text("train:\n\tsteps: 3\n")
    assert "b.yaml:2" in hicra("config", "show", "-c", "b.yaml", cwd=tmp_path, check=2).stderr


def test_an_unknown_variable_is_refused_and_a_known_one_counts(tmp_path):
    done = hicra("config", "show", cwd=tmp_path, check=2, HICRA_TRAIN__ALHPA="0.1")
    assert "environment variable HICRA_TRAIN__ALHPA" in done.stderr
    found = document(hicra("config", "show", "train.alpha", "--json", cwd=tmp_path, check=0, HICRA_TRAIN__ALPHA="0.1"))
    assert found["data"]["config"] == {"train.alpha": 0.1}
    assert found["data"]["origins"] == {"train.alpha": "environment variable HICRA_TRAIN__ALPHA"}


def test_what_config_show_prints_resolves_to_the_same(tmp_path):
    first = hicra("config", "show", "-c", "qwen3-4b-nothink", "--set", "train.lr=3e-7", cwd=tmp_path, check=0)
    (tmp_path / "again.yaml").write_text(first.stdout)
    again = hicra("config", "show", "-c", "again.yaml", cwd=tmp_path, check=0)
    assert again.stdout == first.stdout
    assert "lr: 3e-07" in first.stdout


def test_the_schema_is_json_and_a_preset_prints_its_file(tmp_path):
    schema = json.loads(hicra("config", "schema", cwd=tmp_path, check=0).stdout)
    assert schema["properties"]["train"]
    shown = hicra("config", "presets", "quickstart", cwd=tmp_path, check=0)
    assert shown.stdout == (ROOT / "configs" / "quickstart.yaml").read_text()


def test_doctor_says_what_is_there_and_what_is_wrong_and_shows_no_key(tmp_path):
    environment = {"GEMINI_API_KEY": "sekret-key-123", "HICRA_DATA_DIR": str(tmp_path / "nowhere")}
    done = hicra("doctor", "--json", cwd=tmp_path, check=1, **environment)
    found = document(done)
    checks = {each["name"]: each for each in found["data"]["checks"]}
    assert checks["python"]["state"] == checks["torch"]["state"] == checks["home"]["state"] == "ok"
    assert checks["GEMINI_API_KEY"]["found"] == "set"
    assert checks["benchmarks"]["state"] == "bad"
    assert found["error"]["what"] == f"1 of {len(checks)} checks failed: benchmarks"
    assert "sekret" not in done.stdout + done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_reader_that_leaves_is_no_error(tmp_path):
    for command in ("config schema", "--help", "train --help", "config show --json"):
        line = f"set -o pipefail; {sys.executable} -m hicra_cli {command} | head -c 1"
        done = subprocess.run(
            ["bash", "-c", line], cwd=tmp_path, env=clean_environment(), capture_output=True, text=True, timeout=60
        )
        assert (done.returncode, done.stderr) == (0, ""), command


def test_hostile_arguments_reach_the_terminal_without_controls(tmp_path):
    hostile = "gram-set:\x1b[31m[/b]\u202e"
    done = hicra("artifacts", "show", hostile, "--home", tmp_path / "none", cwd=tmp_path)
    assert done.returncode in (2, 3)
    assert "\x1b" not in done.stderr
    done = hicra("eval", f"--{hostile}", cwd=tmp_path, check=2)
    assert "\x1b" not in done.stderr
    assert "\u202e" not in done.stderr


def test_a_narrow_dumb_colourless_terminal_gets_plain_text(tmp_path):
    done = hicra(
        "config", "presets", cwd=tmp_path, check=0, COLUMNS="20", TERM="dumb", NO_COLOR="1", LANG="C", LC_ALL="C"
    )
    assert "\x1b" not in done.stdout
    assert "llama-3.1-8b-instruct   Llama-3.1-8B-Instruct on maths, with DAPO's dynamic filtering\n" in done.stdout


CONDUCT = """
import os, sys, time
import typer
from hicra_cli.commands.session import Report, command
from hicra_cli.core.errors import ServiceError

def body(session):
    \"\"\"A body that misbehaves on order.\"\"\"
    session.log.open()
    os.write(1, b"a library that prints to file descriptor 1\\n")
    print("and one that prints")
    what = session.config.train.policy
    if what == "wait":
        session.resume_hint = "Go on with: hicra train --resume"
        print("ready", file=sys.stderr, flush=True)
        time.sleep(60)
    if what == "bug":
        secret = os.environ.get("GEMINI_API_KEY", "")
        raise ZeroDivisionError(f"oops {secret}")
    if what == "service":
        raise ServiceError("quota is spent", fix="Try tomorrow")
    if what == "memory":
        raise MemoryError
    if what == "disk":
        raise OSError(28, "No space left on device", "file")
    return Report(["done"], metrics={"accuracy": float("nan")})

app = typer.Typer()
app.command()(command(body, name="train"))
code = app(standalone_mode=False)
sys.exit(code)
"""


def conduct(tmp_path, policy, *more, **environment):
    home = tmp_path / "home"
    home.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-c", CONDUCT, "--set", f"train.policy={policy}", "--home", home, *more],
        cwd=tmp_path,
        env=clean_environment(**environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    stdout, stderr = process.communicate(timeout=60)
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def test_libraries_cannot_spoil_the_document(tmp_path):
    done = finish(conduct(tmp_path, "fine", "--json"))
    found = document(done)
    assert (done.returncode, found["status"], found["metrics"]) == (0, "ok", {"accuracy": None})
    assert "a library that prints to file descriptor 1" in done.stderr


def test_each_kind_of_failure_has_its_exit_code(tmp_path):
    running = {each: conduct(tmp_path, each, "--json") for each in ("service", "memory", "disk", "bug")}
    for policy, code, kind, words in (
        ("service", 4, "service", "quota is spent"),
        ("memory", 1, "run", "out of memory"),
        ("disk", 1, "run", "disk is full"),
        ("bug", 1, "error", "a bug in hicra: ZeroDivisionError"),
    ):
        done = finish(running[policy])
        assert done.returncode == code, done.stderr
        found = document(done)
        assert (found["error"]["kind"], found["error"]["exit_code"]) == (kind, code)
        assert words in found["error"]["what"]
        assert "Traceback" not in done.stderr


def test_a_traceback_goes_to_the_log_and_to_the_terminal_only_under_debug(tmp_path):
    done = finish(conduct(tmp_path, "bug", GEMINI_API_KEY="sekret-key-123"))
    logs = list((tmp_path / "home" / "logs").iterdir())
    assert str(logs[0]) in done.stderr
    text = logs[0].read_text()
    assert "ZeroDivisionError: oops [key]" in text
    assert '"train.policy": "bug"' in text
    assert "sekret" not in text
    assert "Traceback" in finish(conduct(tmp_path, "bug", "--debug")).stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_exit_code_130_and_says_how_to_go_on(number, tmp_path):
    process = conduct(tmp_path, "wait", "--json")
    while "ready" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(number)
    done = finish(process)
    assert done.returncode == 130
    found = document(done)
    assert (found["error"]["kind"], found["error"]["fix"]) == ("interrupted", "Go on with: hicra train --resume")


def test_failures_that_libraries_raise_are_told_in_our_words():
    class OutOfMemoryError(RuntimeError):
        """torch's, by its name: this module imports no torch."""

    assert "out of memory" in str(failure_of(OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")))
    full = SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
    assert "the disk is full" in str(failure_of(full))
    assert failure_of(SafetensorError("header too large")) is None
    assert isinstance(failure_of(PermissionError(13, "Permission denied", "/x")), RunError)
    assert str(failure_of(ServiceError("x"))) == "x"
    assert str(failure_of(Interrupted("x", fix="old"), resume_hint="new")) == "x. new"
    assert failure_of(KeyError("x")) is None
    try:
        raise KeyError("x")
    except KeyError as error:
        report = bug_report(error, "")
    assert report.exit_code == 1
    assert str(report).startswith("test_contract.py:")
    assert "--debug" in str(report)


def test_a_dry_run_of_a_home_that_cannot_be_made_is_no_bug(tmp_path):
    (tmp_path / "file").write_text("in the way")
    done = hicra("artifacts", "list", "--home", tmp_path / "file" / "home", cwd=tmp_path)
    assert done.returncode == 3
    assert "bug" not in done.stderr
    assert os.listdir(tmp_path) == ["file"]
