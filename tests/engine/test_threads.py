"""How many CPU threads: of the process, and while decoding."""

from pathlib import Path

import pytest
import torch

from hicra_cli.config.sampling import SamplingConfig
from hicra_cli.engine.base import Draws
from hicra_cli.engine.threads import _candidates, _quota, cpu_threads, decoding_threads, fastest_threads, usable_cores
from hicra_cli.engine.transformers_engine import TransformersEngine
from tests.engine.tiny_models import STOP_IDS, request_of, tiny_model, tiny_tokenizer


def test_size_decides_where_nothing_is_set():
    assert decoding_threads(tiny_model()) == 1
    sizes = {"hidden_size": 4, "intermediate_size": 4, "num_hidden_layers": 1}
    # 600,000 x 4 = 2.4 million are looked up and as many multiplied: under 4 million; 1,100,000 x 4 are over
    assert decoding_threads(tiny_model("llama", vocab_size=600_000, **sizes)) == 1
    assert decoding_threads(tiny_model("llama", vocab_size=1_100_000, **sizes)) is None
    # tied, the same table is looked up and multiplied
    assert decoding_threads(tiny_model("smollm", vocab_size=1_100_000, **sizes)) is None


def test_threads_are_as_before_after_decoding():
    engine = TransformersEngine(tiny_model(), tiny_tokenizer(), stop_ids=STOP_IDS, threads=1)
    seen: list[int] = []
    with cpu_threads(2):
        engine.generate(
            [request_of("a", 4, 2)],
            SamplingConfig(max_new_tokens=4),
            Draws(0, "train"),
            on_rollout=lambda rollout: seen.append(torch.get_num_threads()),
        )
        assert seen == [1, 1]
        assert torch.get_num_threads() == 2
        with pytest.raises(RuntimeError, match="stop here"), cpu_threads(1):
            raise RuntimeError("stop here")
        assert torch.get_num_threads() == 2


def test_the_measured_number_is_one_of_the_candidates():
    engine = TransformersEngine(tiny_model(), tiny_tokenizer(), stop_ids=STOP_IDS)
    assert fastest_threads(engine, most=1) == 1
    assert fastest_threads(engine, most=2) in (1, 2)
    assert _candidates(1) == [1]
    assert _candidates(6) == [1, 2, 4, 6]
    assert _candidates(8) == [1, 2, 4, 8]


def test_cores_are_shared_by_the_processes_of_a_machine_and_bounded_by_its_quota(tmp_path: Path):
    assert usable_cores() >= usable_cores(processes=2) >= usable_cores(processes=1000) == 1
    for text, cores in (("max 100000\n", None), ("150000 100000\n", 2), ("50000 100000\n", 1), ("broken", None)):
        (tmp_path / "cpu.max").write_text(text)
        assert _quota(tmp_path / "cpu.max") == cores
    assert _quota(tmp_path / "absent") is None
