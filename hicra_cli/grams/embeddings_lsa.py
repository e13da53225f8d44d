"""Embeddings without a model: character n-grams inside words, weighted by TF-IDF, reduced by SVD.

Near means "spelled alike": `let me check` is near `let me double-check`, not near `i want to verify`. It needs nothing
but the grams themselves. The signs of the SVD are fixed by scikit-learn, and cosines do not depend on them.
"""

import hashlib
from collections.abc import Callable, Sequence
from importlib.metadata import version

import numpy as np

from hicra_cli.core.errors import DataError
from hicra_cli.core.seeds import seed_for
from hicra_cli.grams.embeddings import Embeddings

NGRAMS = (3, 5)
DIMENSIONS = 256
ITERATIONS = 5
MANY = 1000  # of so many grams, character n-grams that only one has say nothing
_BATCH = 8192


class LsaEmbedder:
    """Fitted on a corpus of grams; embeds these and other texts. Raises DataError where the corpus has no letter."""

    name = "lsa"

    def __init__(self, corpus: Sequence[str], *, seed: int) -> None:
        from sklearn.decomposition import TruncatedSVD  # type: ignore[import-untyped]
        from sklearn.feature_extraction.text import TfidfVectorizer  # type: ignore[import-untyped]

        texts = sorted(set(corpus))
        if not any(text.strip() for text in texts):
            raise DataError("there is no gram to embed", fix="Collect candidates first")
        self._tfidf = TfidfVectorizer(
            analyzer="char_wb",
            ngram_range=NGRAMS,
            min_df=2 if len(texts) >= MANY else 1,
            sublinear_tf=True,
            dtype=np.float32,
        )
        weights = self._tfidf.fit_transform(texts)
        self.dimensions = min(DIMENSIONS, *weights.shape)
        random_state = seed_for(seed, "lsa") % 2**32
        with np.errstate(invalid="ignore"):  # one gram has no variance to explain
            self._svd = TruncatedSVD(self.dimensions, n_iter=ITERATIONS, random_state=random_state).fit(weights)
        self.digest = _digest(texts, seed=seed)

    def embed(self, texts: Sequence[str], *, advance: Callable[[int], object] = lambda number: None) -> Embeddings:
        """(M, D) float32 unit rows; zeros for a text that shares no character n-gram with the corpus."""
        rows = np.zeros((len(texts), self.dimensions), np.float32)
        order = sorted(range(len(texts)), key=texts.__getitem__)
        for start in range(0, len(order), _BATCH):
            at = order[start : start + _BATCH]
            reduced = self._svd.transform(self._tfidf.transform([texts[each] for each in at]))
            norms = np.linalg.norm(reduced, axis=1, keepdims=True)
            rows[at] = np.where(norms > 1e-6, reduced / np.maximum(norms, 1e-6), 0.0)
            advance(len(at))
        return rows


def _digest(texts: Sequence[str], *, seed: int) -> str:
    """Of everything that decides the vectors: the corpus, the settings, the seed, scikit-learn's version."""
    content = hashlib.sha256()
    for part in (repr((NGRAMS, DIMENSIONS, ITERATIONS, MANY, seed)), version("scikit-learn"), *texts):
        content.update(part.encode() + b"\n")
    return content.hexdigest()
