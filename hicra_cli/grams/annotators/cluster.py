"""Clusters of embeddings as annotator: the recipe of the paper's later versions, offline.

Embed the grams, cluster them, count for each cluster the documents that use any of its grams (Cluster DF), keep the
most widespread clusters; the strategic grams are the union of their members. Deviations, each of them an option of
`annotate.cluster`: clusters are found by a cosine threshold, so that each is one intent; documents are problems;
fillers are refused. The move, which the paper's later versions do not give, is that of most uses of the members in the
eyes of the lexicon; where it knows too few, that of the nearest seed phrases.

Clusters are numbered by falling Cluster DF, then by their first gram in alphabetical order.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hicra_cli.config.annotate import AnnotateConfig
from hicra_cli.core.progress import Progress
from hicra_cli.core.records import Move
from hicra_cli.grams.candidates import Candidate
from hicra_cli.grams.clustering import centroids, cluster_embeddings
from hicra_cli.grams.counting import Solution
from hicra_cli.grams.embeddings import Embedder, Embeddings, open_embedder

from .base import Annotation
from .cluster_selection import NO_VOTES, MoveVotes, Seeds, Verdict, border_frequency, lexicon_votes, seeds_of, verdict
from .cluster_usage import Usage, cluster_usage

SHOWN_GRAMS = 20  # per cluster in the report; all are in the annotations


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster with all that was decided on it. number: from 0, the most widespread first.

    grams: the most used first. cohesion: mean cosine of the members to their centroid. votes: none of a rare cluster,
    which nobody asks for its move.
    """

    number: int
    grams: tuple[str, ...]
    document_frequency: int
    solutions: int
    uses: int
    cohesion: float
    seeds: Seeds
    votes: MoveVotes
    verdict: Verdict

    @property
    def move(self) -> Move | None:
        """The move of a kept cluster."""
        if self.verdict is not Verdict.KEPT:
            return None
        return self.votes.winner or self.seeds.move


@dataclass(frozen=True, slots=True)
class Clustering:
    """All clusters in their order, the cluster and the cosine to its centroid of each gram, and the corpus' figures."""

    clusters: tuple[Cluster, ...]
    cluster_of: dict[str, int]
    cosine_of: dict[str, float]
    border: int
    num_documents: int
    num_solutions: int


class ClusterAnnotator:
    """Judges all candidates together. `solutions` is called once, for one pass over the solutions counted before.

    report: after the last annotation, what was found: the content of `clusters.json`.
    """

    name = "cluster"

    def __init__(self, config: AnnotateConfig, *, solutions: Callable[[], Iterable[Solution]], seed: int) -> None:
        self._config = config.cluster
        self._solutions = solutions
        self._seed = seed
        self.report: dict[str, Any] = {}

    def annotate(self, candidates: Sequence[Candidate], progress: Progress) -> Iterator[Annotation]:
        """One annotation per candidate, in order. Raises ConfigError, ServiceError and EngineError of the embedder."""
        grams = sorted({candidate.gram for candidate in candidates})
        if not grams:
            return
        embedder = open_embedder(self._config.embedder, grams, seed=self._seed)
        found = self.cluster(grams, embedder, progress)
        self.report = _report(found, embedder, self._config.model_dump(mode="json"))
        for candidate in candidates:
            yield self._annotation(candidate.gram, found, embedder)

    def cluster(self, grams: Sequence[str], embedder: Embedder, progress: Progress) -> Clustering:
        """Embed, cluster, count, decide. grams: sorted, distinct."""
        with progress.phase("embed grams", len(grams)) as advance:
            embeddings = embedder.embed(grams, advance=advance)
        with progress.phase("cluster grams"):
            first_rows = cluster_embeddings(embeddings, self._config, seed=self._seed)
        cluster_ids = np.unique(first_rows, return_inverse=True)[1]
        by_problem = self._config.document == "problem"
        with progress.phase("count clusters") as advance:
            usage = cluster_usage(grams, cluster_ids, self._solutions(), by_problem=by_problem, on_solution=advance)
        return self._decided(grams, embeddings, cluster_ids, usage, embedder)

    def _decided(
        self,
        grams: Sequence[str],
        embeddings: Embeddings,
        cluster_ids: NDArray[np.int64],
        usage: Usage,
        embedder: Embedder,
    ) -> Clustering:
        frequency = usage.document_frequency.tolist()
        centres, cohesion = centroids(embeddings, cluster_ids, len(frequency))
        seeds = seeds_of(centres, embedder)
        border = border_frequency(frequency, self._config.keep_fraction)
        rows_of = np.split(np.argsort(cluster_ids, kind="stable"), np.cumsum(np.bincount(cluster_ids))[:-1])
        order = sorted(range(len(frequency)), key=lambda at: (-frequency[at], rows_of[at][0]))
        clusters: list[Cluster] = []
        for number, at in enumerate(order):
            rows = rows_of[at][np.argsort(-usage.uses[rows_of[at]], kind="stable")]
            members = tuple(grams[row] for row in rows)
            decision = verdict(frequency[at], seeds[at], border=border, refuse_fillers=self._config.refuse_fillers)
            clusters.append(
                Cluster(
                    number=number,
                    grams=members,
                    document_frequency=frequency[at],
                    solutions=int(usage.solutions[at]),
                    uses=int(usage.uses[rows].sum()),
                    cohesion=float(cohesion[at]),
                    seeds=seeds[at],
                    votes=NO_VOTES if decision is Verdict.RARE else lexicon_votes(members, usage.uses[rows]),
                    verdict=decision,
                )
            )
        cosines = np.einsum("md,md->m", embeddings, centres[cluster_ids])
        return Clustering(
            clusters=tuple(clusters),
            cluster_of={gram: cluster.number for cluster in clusters for gram in cluster.grams},
            cosine_of=dict(zip(grams, cosines.tolist(), strict=True)),
            border=border,
            num_documents=usage.num_documents,
            num_solutions=usage.num_solutions,
        )

    def _annotation(self, gram: str, found: Clustering, embedder: Embedder) -> Annotation:
        cluster = found.clusters[found.cluster_of[gram]]
        return Annotation(
            gram=gram,
            move=cluster.move,
            confidence=_confidence(cluster, found, cosine=found.cosine_of[gram]),
            reason=_reason(cluster, found, document=self._config.document),
            annotator=self.name,
            model=f"{embedder.name}@{embedder.digest[:12]}",
            cluster=cluster.number,
        )


def _confidence(cluster: Cluster, found: Clustering, *, cosine: float) -> float:
    """How sure the verdict is, for one gram, rounded to 4 places.

    kept: 0.5, a quarter for the share of documents that use the cluster, a quarter for the gram's cosine to the
    cluster's centre. filler: 0.5 and by how much execution is nearer. rare: at most 0.5, for rarity proves little: how
    far below the border it is.
    """
    if cluster.verdict is Verdict.KEPT:
        share = cluster.document_frequency / found.num_documents
        return round(0.5 + 0.25 * share + 0.25 * min(max(cosine, 0.0), 1.0), 4)
    if cluster.verdict is Verdict.FILLER:
        return round(min(1.0, 0.5 - cluster.seeds.margin), 4)
    return round(0.5 * (1 - cluster.document_frequency / found.border), 4)


def _reason(cluster: Cluster, found: Clustering, *, document: str) -> str:
    """The verdict in words, with its figures."""
    size = len(cluster.grams)
    where = (
        f"cluster {cluster.number} of {len(found.clusters)} ({size} gram{'s' * (size > 1)}, cohesion "
        f"{cluster.cohesion:.2f}) is used in {cluster.document_frequency} of {found.num_documents} {document}s"
    )
    if cluster.verdict is Verdict.RARE:
        return f"{where}; kept are those in at least {found.border}"
    seeds = cluster.seeds
    if cluster.verdict is Verdict.FILLER:
        return (
            f"{where}, but is filler: nearer to the likes of {seeds.execution.phrase!r} ({seeds.execution.cosine:.2f}) "
            f"than of {seeds.planning.phrase!r} ({seeds.planning.cosine:.2f})"
        )
    if cluster.votes.winner is not None:
        return f"{where}; the lexicon gives {cluster.votes.fraction:.0%} of its uses a move"
    return f"{where}; the move is that of {seeds.planning.phrase!r} ({seeds.planning.cosine:.2f})"


def _report(found: Clustering, embedder: Embedder, settings: dict[str, Any]) -> dict[str, Any]:
    """Everything a reader needs to judge the clustering; kept and refused clusters each with their figures."""
    sizes = sorted(len(cluster.grams) for cluster in found.clusters)
    return {
        "embedder": {"name": embedder.name, "digest": embedder.digest, "dimensions": embedder.dimensions},
        "settings": settings,
        "grams": sum(sizes),
        "documents": found.num_documents,
        "solutions": found.num_solutions,
        "clusters": len(sizes),
        "sizes": {"largest": sizes[-1], "median": sizes[len(sizes) // 2], "singletons": sizes.count(1)},
        "border_document_frequency": found.border,
        "kept": [_row(cluster) for cluster in found.clusters if cluster.verdict is Verdict.KEPT],
        "fillers_refused": [_row(cluster) for cluster in found.clusters if cluster.verdict is Verdict.FILLER],
    }


def _row(cluster: Cluster) -> dict[str, Any]:
    return {
        "cluster": cluster.number,
        "grams": list(cluster.grams[:SHOWN_GRAMS]),
        "size": len(cluster.grams),
        "document_frequency": cluster.document_frequency,
        "solutions": cluster.solutions,
        "uses_per_solution": round(cluster.uses / cluster.solutions, 4) if cluster.solutions else 0.0,
        "cohesion": round(cluster.cohesion, 4),
        "move": cluster.move.value if cluster.move else None,
        "lexicon_fraction": round(cluster.votes.fraction, 4),
        "planning": {"phrase": cluster.seeds.planning.phrase, "cosine": round(cluster.seeds.planning.cosine, 4)},
        "execution": {"phrase": cluster.seeds.execution.phrase, "cosine": round(cluster.seeds.execution.cosine, 4)},
    }
