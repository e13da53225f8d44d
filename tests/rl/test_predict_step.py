"""The calculation of docs/gpu.md: its formulas by hand, and the page shows what the script prints."""

from pathlib import Path

import pytest

from tests.benchmarks import predict_step
from tests.benchmarks.predict_step import MODEL, Batch, optimizer_time, sampling_time, sync_time, update_flops

PAGE = (Path(__file__).parent.parent.parent / "docs" / "gpu.md").read_text(encoding="utf-8")


def test_the_sizes_of_qwen3_4b():
    # a layer: 2 * 2560 * (32 + 8) * 128 + 3 * 2560 * 9728 = 100,925,440; embedding 151936 * 2560
    assert MODEL.body == 36 * 100_925_440
    assert MODEL.weights == 36 * 100_925_440 + 388_956_160
    assert MODEL.kv_bytes == 147_456


def test_the_flops_of_an_update_by_hand():
    # one response, no prompt, mean 3: lengths 0 to 6 have the mean square 4/3 * 9 = 12
    batch = Batch(responses=1, prompt=0, mean=3)
    assert batch.squares == 12
    without = 6 * MODEL.body * 3 + 36 * (2 + 5) * 12 * 4096 + 6 * MODEL.head * 3
    assert update_flops(batch, checkpointing=False) == without
    assert update_flops(batch, checkpointing=True) == without + 2 * MODEL.body * 3 + 36 * 2 * 12 * 4096


def test_a_cache_that_holds_all_rows_needs_as_many_steps_as_the_longest_response():
    # 4 responses, mean 3: sum of cached tokens 4 * 2/3 * 9 = 24, six steps of all weights
    batch = Batch(responses=4, prompt=0, mean=3)
    assert batch.cached == 24
    traffic = 6 * 2 * MODEL.weights + 24 * MODEL.kv_bytes
    assert sampling_time(batch, gpus=1, cache_tokens=1000).low == pytest.approx(traffic / 3.35e12 / 0.8)
    # with room for 2 tokens twelve steps
    traffic += 6 * 2 * MODEL.weights
    assert sampling_time(batch, gpus=1, cache_tokens=2).high == pytest.approx(traffic / 3.35e12 / 0.5)


def test_copies_by_hand():
    # one GPU: 4 bytes a weight at 80 % of 3.35e12; eight: 7/8 of 2 bytes over 450e9 besides
    assert sync_time(gpus=1).low == pytest.approx(4 * MODEL.weights / 3.35e12 / 0.8)
    both = 4 * MODEL.weights / 3.35e12 + 2 * MODEL.weights * 7 / 8 / 450e9
    assert sync_time(gpus=8).high == pytest.approx(both / 0.4)
    assert optimizer_time(bytes_per_weight=10, gpus=1).low == pytest.approx(20 * MODEL.weights / 3.35e12 / 0.8)


@pytest.mark.slow
def test_the_page_shows_what_the_script_prints(capsys):
    predict_step.main()
    for line in capsys.readouterr().out.splitlines():
        assert line in PAGE
