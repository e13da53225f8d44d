"""What a process says of its own memory."""

import subprocess
import sys
from pathlib import Path

import pytest

from hicra_cli.core.resident import peak_resident_bytes, resident_bytes

LARGE = 300 * 2**20


def test_the_peak_stays_when_memory_is_given_back():
    held = b"x" * LARGE
    assert resident_bytes() > LARGE
    del held
    assert peak_resident_bytes() > LARGE


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc: the peak includes the parent's")
def test_a_small_child_of_a_large_process_is_small():
    held = b"x" * LARGE
    code = "from hicra_cli.core.resident import peak_resident_bytes; print(peak_resident_bytes())"
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert int(told) < len(held) / 3
