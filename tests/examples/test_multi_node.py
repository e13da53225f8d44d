"""The scripts for several machines: their command lines parse, and two "machines" on this one train together."""

import json
import os
import stat
import subprocess
import sys

import pytest

from tests.commands.run_hicra import ROOT, clean_environment, document, hicra
from tests.rl.forks import free_port

EXAMPLES = ROOT / "examples"
SHOW = '#!/bin/sh\nwhile [ "$1" != hicra_cli ]; do shift; done; shift\nprintf "%s\\n" "$@"\n'
TASK = '#!/bin/sh\nshift\nexec "$@"\n'  # srun, without its one option
HOSTS = "#!/bin/sh\necho node0\n"


@pytest.fixture
def words_of(tmp_path):
    """Run a script with launchers that, instead of starting processes, show the words of the hicra command."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in {"torchrun": SHOW, "accelerate": SHOW, "srun": TASK, "scontrol": HOSTS}.items():
        path = folder / name
        path.write_text(text)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def run(script, *words, code=0, **environment):
        done = subprocess.run(
            ["bash", EXAMPLES / script, *words],
            cwd=tmp_path,
            env=clean_environment(PATH=f"{folder}:{os.environ['PATH']}", **environment),
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == code, done.stderr
        return done.stdout.splitlines()

    return run


@pytest.mark.parametrize("script", ["multi_node.sh", "slurm.sbatch"])
def test_the_command_line_inside_a_script_is_one_of_hicra(words_of, tmp_path, script):
    words = words_of(script, "-c", "quickstart", "--steps", "7")
    done = hicra(*words, "--dry-run", "--json", cwd=tmp_path, check=0)
    assert document(done)["data"]["settings"]["train"]["steps"] == 7


def test_both_launchers_start_the_same_command(words_of):
    torchrun, accelerate = (
        words_of("multi_node.sh", "--steps", "7", LAUNCHER=name) for name in ("torchrun", "accelerate")
    )
    assert torchrun == accelerate


def test_another_launcher_is_refused(words_of):
    words_of("multi_node.sh", code=2, LAUNCHER="mpirun")


@pytest.mark.slow
def test_two_machines_train_together(tmp_path):
    words = ["-c", "quickstart", "--steps", "2", "--num-prompts", "2", "--max-new-tokens", "24", "--device", "cpu"]
    common = {"NODES": "2", "PROCESSES": "1", "PORT": str(free_port()), "HICRA_HOME": str(tmp_path / "home")}
    path = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
    nodes = [
        subprocess.Popen(
            ["bash", EXAMPLES / "multi_node.sh", *words, "--json"],
            cwd=tmp_path,
            env=clean_environment(**common, NODE_RANK=str(rank), PATH=path, OMP_NUM_THREADS="1"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    (result, talk), (silence, other_talk) = [node.communicate(timeout=200) for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], talk + other_talk
    assert json.loads(result)["artifacts"][0]["ref"] == "training:grpo@v1"
    assert silence == ""
    assert "2 processes, each with a copy of the weights" in talk
