"""New weights by name: all of them, in any order and type, or an error that says which did not fit."""

import pytest
import torch
from torch import nn

from hicra_cli.core.errors import EngineError
from hicra_cli.engine.transformers_engine import TransformersEngine
from hicra_cli.engine.weights import load_named
from tests.engine.tiny_models import STOP_IDS, tiny_model, tiny_tokenizer


def assert_same_weights(model: nn.Module, expected: nn.Module) -> None:
    wanted = expected.state_dict()
    assert all(torch.equal(tensor, wanted[name]) for name, tensor in model.state_dict().items())


def test_an_engine_takes_weights_from_a_generator():
    model, other = tiny_model(seed=1), tiny_model(seed=2)
    engine = TransformersEngine(model, tiny_tokenizer(), stop_ids=STOP_IDS)
    engine.load_weights(reversed([*other.named_parameters()]), version=3)
    assert engine.version == 3
    assert_same_weights(model, other)


def test_tied_weights_may_come_under_one_name_or_both():
    model, other = (tiny_model("llama", seed=seed, tie_word_embeddings=True) for seed in (1, 2))
    load_named(other.named_parameters(), model)  # lm_head is not among them
    assert_same_weights(model, other)
    load_named(tiny_model("llama", seed=1, tie_word_embeddings=True).state_dict().items(), model)
    assert_same_weights(model, tiny_model("llama", seed=1, tie_word_embeddings=True))


def test_weights_of_another_type_are_converted():
    model, other = tiny_model(seed=1).bfloat16(), tiny_model(seed=2)
    load_named(other.named_parameters(), model)
    assert_same_weights(model, other.bfloat16())


def test_an_unknown_name_and_another_shape_are_named():
    model = tiny_model()
    engine = TransformersEngine(model, tiny_tokenizer(), stop_ids=STOP_IDS)
    with pytest.raises(EngineError, match=r"module\.norm of shape \(3,\) is unknown to it"):
        engine.load_weights([("module.norm", torch.zeros(3))], version=1)
    with pytest.raises(EngineError, match=r"model\.norm\.weight of shape \(3,\) is \(32,\) there"):
        engine.load_weights([("model.norm.weight", torch.zeros(3))], version=1)
    assert engine.version == 0


def test_a_weight_that_did_not_come_is_named():
    weights = dict(tiny_model(seed=2).named_parameters())
    del weights["model.norm.weight"]
    # 25 tensors: embedding, head, last norm, and per layer 4 projections, 2 norms of them, 3 of the MLP, 2 norms
    with pytest.raises(EngineError, match=r"1 of 25 tensors have not come, first model\.norm\.weight"):
        load_named(weights.items(), tiny_model())
