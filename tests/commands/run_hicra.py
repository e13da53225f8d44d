"""A real `hicra` process."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def hicra(*arguments, cwd, check=None, timeout=300, **environment):
    """Run `hicra ARGUMENTS` in `cwd`; with `check` the exit code is asserted. HICRA_ variables of ours are dropped."""
    done = subprocess.run(
        [sys.executable, "-m", "hicra_cli", *map(str, arguments)],
        cwd=cwd,
        env=clean_environment(**environment),
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    if check is not None:
        assert done.returncode == check, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def clean_environment(**more):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HICRA_")}
    return kept | {"PYTHONPATH": str(ROOT)} | more


def document(done):
    """The one JSON document of a --json command."""
    assert done.stdout.count("\n") == 1, done.stdout
    found = json.loads(done.stdout)
    keys = {"schema", "command", "status", "artifacts", "metrics", "warnings", "run_id", "seconds", "cached"}
    assert keys <= set(found)
    assert found["schema"] == 1
    assert (found["status"] == "error") == ("error" in found)
    if "error" in found:
        assert set(found["error"]) == {"kind", "what", "where", "fix", "exit_code"}
    return found
