"""1, 2 and 4 processes compute one gradient; shards come together again; checkpoints move between numbers of them."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from hicra_cli.rl.checkpoint import latest_checkpoint
from hicra_cli.rl.replicated import buckets
from tests.commands.run_hicra import ROOT, clean_environment
from tests.rl.models import tiny_model
from tests.rl.parallel_process import CHOSEN


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What one, two and four workers wrote; the numbers after two take up the checkpoints of two."""
    path: Path = tmp_path_factory.mktemp("parallel")
    done = subprocess.run(
        [sys.executable, "-m", "tests.rl.parallel_process", path],
        cwd=ROOT, env=clean_environment(OMP_NUM_THREADS="1"), capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return path


@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize("name", CHOSEN)
def test_every_worker_has_the_gradient_of_one_process_with_uneven_shares_and_without_any(folder, name, size):
    expected = load_file(folder / f"{name}-1-0.safetensors")
    assert bool(expected) == bool(CHOSEN[name])
    found = [load_file(folder / f"{name}-{size}-{rank}.safetensors") for rank in range(size)]
    for each in found:
        assert each.keys() == expected.keys()
        for key, gradient in expected.items():
            torch.testing.assert_close(each[key], gradient, atol=1e-10, rtol=0)
            assert torch.equal(each[key], found[0][key])  # or the copies would drift apart


@pytest.mark.parametrize("layout", ["sharded", "kept"])
@pytest.mark.parametrize("kind", ["qwen3", "qwen2-tied"])
@pytest.mark.parametrize("size", [2, 4])
def test_sharded_updates_equal_those_of_one_process(folder, layout, kind, size):
    expected = load_file(folder / f"{kind}-alone-1-0.safetensors")
    found = [load_file(folder / f"{kind}-{layout}-{size}-{rank}.safetensors") for rank in range(size)]
    for each in found:
        assert each.keys() == expected.keys()
        for key, weights in expected.items():
            torch.testing.assert_close(each[key], weights, atol=1e-5, rtol=0)
            assert torch.equal(each[key], found[0][key])


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("layout", ["sharded", "kept"])
def test_weights_are_whole_only_where_they_are_kept_for_a_backward(folder, layout, rank):
    held = json.loads((folder / f"held-{layout}-{rank}.json").read_text())
    every = sum(each.numel() * 4 for each in tiny_model("qwen3").parameters())
    shards = [json.loads((folder / f"held-{layout}-{each}.json").read_text())["before"] for each in (0, 1)]
    assert sum(shards) == every
    assert held["before"] == held["figures"] == held["after"] == shards[rank]
    assert held["between"] == (every if layout == "kept" else shards[rank])


@pytest.mark.parametrize("layout", ["sharded", "kept"])
def test_a_pass_without_gradient_leaves_no_old_weights_behind(folder, layout):
    held = json.loads((folder / f"held-{layout}-0.json").read_text())
    assert held["renewed"]
    assert held["moved"]


@pytest.mark.parametrize("layout", ["replicated", "sharded", "kept"])
@pytest.mark.parametrize("resumed", ["replicated-4", "sharded-4", "alone-1"])
def test_a_checkpoint_of_two_processes_is_taken_up_by_another_number_and_layout(folder, layout, resumed):
    straight = load_file(folder / "from-2" / layout / "straight.safetensors")
    found = load_file(folder / "from-2" / layout / f"resumed-{resumed}.safetensors")
    for key, weights in straight.items():
        torch.testing.assert_close(found[key], weights, atol=1e-5, rtol=0)


@pytest.mark.parametrize("layout", ["replicated", "sharded", "kept"])
def test_the_same_number_of_processes_goes_on_bit_for_bit(folder, layout):
    straight = load_file(folder / "from-2" / layout / "straight.safetensors")
    found = load_file(folder / "from-2" / layout / f"resumed-{layout}-2.safetensors")
    assert all(torch.equal(found[key], weights) for key, weights in straight.items())


def test_a_checkpoint_of_shards_holds_safetensors_and_json_only(folder):
    (path,) = (folder / "from-2" / "sharded").glob("step-*")
    assert {each.suffix for each in path.iterdir()} == {".safetensors", ".json"}


def test_a_damaged_shard_makes_a_checkpoint_not_count(folder, tmp_path):
    shutil.copytree(folder / "from-2" / "sharded" / "step-000001", tmp_path / "step-000001")
    assert latest_checkpoint(tmp_path) is not None
    shard = sorted((tmp_path / "step-000001").glob("*.safetensors"))[1]
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)
    assert latest_checkpoint(tmp_path) is None


def test_buckets_keep_types_apart_and_stay_within_their_size():
    # 4-byte numbers: 12 + 8 bytes fit 20, the next 4 do not; 40 alone; then another type
    tensors = [torch.zeros(size) for size in (3, 2, 1, 10)] + [torch.zeros(1, dtype=torch.float64)]
    found = [[each.numel() for each in bucket] for bucket in buckets(tensors, num_bytes=20)]
    assert found == [[3, 2], [1], [10], [1]]
