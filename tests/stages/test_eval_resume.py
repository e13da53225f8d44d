"""An evaluation that is killed at any moment goes on to the same bytes."""

import json
import random
import signal
import subprocess
import sys
import time

import pytest

from hicra_cli.core.errors import RunError
from hicra_cli.core.progress import SilentProgress
from hicra_cli.core.registry import Registry
from hicra_cli.stages import eval as eval_stage
from hicra_cli.stages import eval_grading
from hicra_cli.stages.base import execute
from hicra_cli.stages.eval import STAGE
from hicra_cli.stages.eval_results import publish_rows
from hicra_cli.stages.kept_lines import KeptLines
from hicra_cli.stages.samples import ENGINES, SAMPLED, SAMPLES, VERDICTS, key_of
from tests.stages.test_eval import config, evaluate, summary_of

FILES = ("samples.jsonl", "summary.json")
LONGER = {"countdown_questions": 40, "samples": 2}


class Notes(SilentProgress):
    """Keeps what is said."""

    def __init__(self):
        super().__init__()
        self.notes = []

    def note(self, text):
        self.notes.append(text)


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    return evaluate(config(tmp_path_factory.mktemp("straight"), **LONGER)).artifact


@pytest.mark.parametrize("samples_before_kill", [1, 9])
def test_a_killed_evaluation_resumes_to_the_same_bytes(tmp_path, straight, samples_before_kill):
    killed = config(tmp_path, **LONGER)
    kept = kill_after(killed, samples_before_kill)
    progress = Notes()
    resumed = evaluate(killed, resume=True, progress=progress)
    assert not resumed.cached
    assert f"{kept} samples of the interrupted run are kept" in progress.notes
    assert bytes_of(resumed.artifact) == bytes_of(straight)


@pytest.mark.slow
def test_killed_again_and_again_at_random_moments_it_comes_to_the_same_bytes(tmp_path, straight):
    draw = random.Random(6)
    for attempt in range(3):
        killed = config(tmp_path / str(attempt), **LONGER)
        for _ in range(6):  # the first moments lie in loading, the later ones in sampling, grading and publication
            if kill_within(killed, draw.uniform(0.0, 9.0)):
                break
        resumed = evaluate(killed, resume=True)
        assert bytes_of(resumed.artifact) == bytes_of(straight)
        assert sorted(path.name for path in resumed.artifact.path.iterdir()) == sorted(FILES)


@pytest.mark.parametrize("moment", ["publish_rows", "write_summary", "drop_working_files", "warn_of_trouble"])
def test_an_end_before_any_step_of_publication_loses_no_sample(tmp_path, straight, moment, monkeypatch):
    settings = config(tmp_path, **LONGER)
    with monkeypatch.context() as patched:
        patched.setattr(eval_stage, moment, stop)
        with pytest.raises(KeyboardInterrupt):
            evaluate(settings)
    with monkeypatch.context() as patched:
        patched.setattr("hicra_cli.engine.factory.build_engine", stop)  # nothing may be sampled again
        assert bytes_of(evaluate(settings, resume=True).artifact) == bytes_of(straight)


def stop(*_, **__):
    raise KeyboardInterrupt


def test_verdicts_that_were_given_are_not_given_again(tmp_path, straight, monkeypatch):
    settings = config(tmp_path, **LONGER)
    with monkeypatch.context() as patched:
        patched.setattr(eval_stage, "publish_rows", stop)
        with pytest.raises(KeyboardInterrupt):
            evaluate(settings)
    (verdicts,) = tmp_path.glob(f"staging/*/files/{VERDICTS}")
    lines = verdicts.read_bytes().splitlines(keepends=True)
    assert len(lines) == 80
    verdicts.write_bytes(b"".join(lines[:-3]))
    graded = []
    real = eval_grading.judged

    def counted(rows, *rest):
        graded.extend(rows)
        return real(rows, *rest)

    monkeypatch.setattr(eval_grading, "judged", counted)
    assert bytes_of(evaluate(settings, resume=True).artifact) == bytes_of(straight)
    assert len(graded) == 3


def test_a_run_that_goes_on_with_another_engine_names_both(tmp_path):
    settings = config(tmp_path, **LONGER)
    kill_after(settings, 1)
    (path,) = tmp_path.glob(f"staging/*/files/{ENGINES}")
    (engine,) = json.loads(path.read_text())
    path.write_text(json.dumps([engine | {"version": "5.0.0"}]))
    progress = Notes()
    summary = summary_of(evaluate(settings, resume=True, progress=progress).artifact)
    assert any("another engine (version)" in warning for warning in progress.warnings)
    assert summary["engine"] == engine
    assert [each["version"] for each in summary["earlier_engines"]] == ["5.0.0"]


def test_a_missing_sample_is_refused_by_name(tmp_path):
    row = {"bench": "b", "question": "q", "sample": 0, "prompt": "", "text": ""}
    keys = [("b", "q", 0), ("b", "q", 1)]
    with KeptLines(tmp_path / SAMPLED, key_of) as sampled, KeptLines(tmp_path / VERDICTS, key_of) as verdicts:
        sampled.add(row)
        verdicts.add(row)
        with pytest.raises(RunError, match="1 of 2 samples are missing, the first is sample 1 of b q"):
            publish_rows(tmp_path, keys, sampled, verdicts)
    assert not (tmp_path / SAMPLES).exists()


def test_a_grader_that_cannot_start_ends_the_run_and_keeps_the_samples(tmp_path, monkeypatch):
    settings = config(tmp_path, **LONGER)

    def fail(*_):
        raise RunError("grading workers do not start")

    with monkeypatch.context() as patched:
        patched.setattr(eval_grading, "judged", fail)
        with pytest.raises(RunError, match="do not start"), Registry.open(settings.home) as registry:
            execute(STAGE, settings, registry, SilentProgress())
    (file,) = tmp_path.glob(f"staging/*/files/{SAMPLED}")
    assert file.read_bytes().count(b"\n") > 0
    assert evaluate(settings, resume=True).artifact.ref == "evaluation:nano-countdown@v1"


def bytes_of(artifact):
    return [(artifact.path / name).read_bytes() for name in FILES]


def start(configuration):
    configuration.home.mkdir(parents=True, exist_ok=True)
    path = configuration.home / "config.json"
    path.write_text(configuration.model_dump_json())
    return subprocess.Popen([sys.executable, "-m", "tests.stages.eval_process", str(path)])


def kill_after(configuration, count):
    """Evaluate in a process, SIGKILL it once so many samples are on disk; the number of whole rows it left."""
    process = start(configuration)
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        found = [each.read_bytes().count(b"\n") for each in configuration.home.glob(f"staging/*/files/{SAMPLED}")]
        if found and max(found) >= count:
            break
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=60)
    (file,) = configuration.home.glob(f"staging/*/files/{SAMPLED}")
    return file.read_bytes().count(b"\n")


def kill_within(configuration, seconds):
    """Evaluate in a process for so long at most; whether it came to its end."""
    process = start(configuration)
    try:
        return process.wait(timeout=seconds) == 0
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=60)
        return False
