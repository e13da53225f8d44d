"""Options and fixtures every test may use. Folders of real data are given by option and skipped loudly without."""

import os
import signal
from pathlib import Path

import pytest

import hicra_cli.embedded

# Before torch loads OpenMP: idle threads sleep instead of spinning. Beside another busy process spinning made the
# same work 5 to 12 times slower on two cores. The command line does the same (hicra_cli/app.py).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# A shell starts background jobs with SIGINT ignored, and what they start inherits that: no test of Ctrl-C would end.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser):
    parser.addoption("--data-dir", type=Path, default=None, help="folder with bench/ and train/ JSONL files")
    parser.addoption("--rollouts", type=Path, default=None, help="folder with real rollouts (*.jsonl.gz)")
    parser.addoption("--device", default="cpu", help="device of the tests that compute: cpu or cuda")


@pytest.fixture
def data_dir(request) -> Path:
    return _folder(request, "--data-dir")


@pytest.fixture
def rollouts_dir(request) -> Path:
    return _folder(request, "--rollouts")


@pytest.fixture
def device(request) -> str:
    return str(request.config.getoption("--device"))


@pytest.fixture(scope="session")
def nano_path() -> Path:
    """The embedded model's folder."""
    path = hicra_cli.embedded.policy_path("nano")
    assert path is not None
    return path


def _folder(request, option: str) -> Path:
    folder: Path | None = request.config.getoption(option)
    if folder is None:
        pytest.skip(f"NOT RUN: needs {option} FOLDER")
    if not folder.is_dir():
        pytest.fail(f"{option} {folder} is no folder")
    return folder.resolve()
