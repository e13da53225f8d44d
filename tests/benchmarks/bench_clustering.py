"""How long the cluster annotator takes, and what its clustering costs beside scikit-learn's.

    python -m tests.benchmarks.bench_clustering --rollouts FILE.jsonl.gz --grams 100000 --shuffle 1

Counts the 3- to 5-grams of the correct solutions, takes the most widespread `--grams` of them in an order shuffled by
`--shuffle`, and annotates them by clusters; the digest of the result must not depend on the shuffle. Then, on
`--compare` grams, average linkage over neighbours against scikit-learn's AgglomerativeClustering with the same
threshold: the ratio of times, and whether the partitions are equal. Wall seconds are of this machine as loaded as it
is; CPU seconds are summed over threads.
"""

import argparse
import hashlib
import random
import resource
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from sklearn.cluster import AgglomerativeClustering  # type: ignore[import-untyped]
from sklearn.metrics import adjusted_rand_score  # type: ignore[import-untyped]

from hicra_cli.config.annotate import AnnotateConfig
from hicra_cli.config.annotate_cluster import ClusterConfig
from hicra_cli.config.collect import CollectConfig, RolloutFields
from hicra_cli.core.progress import Advance, SilentProgress
from hicra_cli.grams.annotators.cluster import ClusterAnnotator
from hicra_cli.grams.candidates import Candidate
from hicra_cli.grams.clustering import cluster_embeddings
from hicra_cli.grams.clustering_linkage import average_linkage
from hicra_cli.grams.clustering_pairs import near_pairs
from hicra_cli.grams.counting import Solution, count_grams
from hicra_cli.grams.embeddings import open_embedder
from hicra_cli.grams.sources import read_rows


class Timed(SilentProgress):
    """Prints what each phase took."""

    @contextmanager
    def phase(self, label: str, total: int | None = None) -> Iterator[Advance]:
        with timed(label), super().phase(label, total) as advance:
            yield advance


@contextmanager
def timed(label: str) -> Iterator[None]:
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    print(f"{label:24} {time.perf_counter() - wall:8.1f} s wall {time.process_time() - cpu:8.1f} s CPU", flush=True)


def counted(rollouts: Path, *, grams: int) -> tuple[list[Candidate], list[Solution]]:
    """The most widespread grams of the correct solutions, and these solutions."""
    rows = read_rows(rollouts, RolloutFields())
    solutions = [Solution(row.prompt_id, row.text, row.policy, row.step) for row in rows if row.is_correct]
    config = CollectConfig(
        min_document_frequency=2,
        max_candidates=grams,
        contexts=0,
        merge_phrases=False,
        rank_by="document_frequency",
        balance=False,
    )
    return list(count_grams(solutions, config).candidates[:grams]), solutions


def compare(grams: Sequence[str], config: ClusterConfig) -> None:
    """Both clusterings of the same embeddings."""
    embeddings = open_embedder(config.embedder, grams, seed=0).embed(grams)
    started = time.process_time()
    ours = cluster_embeddings(embeddings, config, seed=0)
    ours_s = time.process_time() - started
    full = AgglomerativeClustering(
        n_clusters=None, metric="cosine", linkage="average", distance_threshold=1 - config.threshold
    )
    started = time.process_time()
    theirs = full.fit_predict(embeddings)
    theirs_s = time.process_time() - started
    pairs = len(set(zip(ours.tolist(), theirs.tolist(), strict=True)))
    same = pairs == len(np.unique(ours)) == len(np.unique(theirs))
    print(
        f"{len(grams)} grams: scikit-learn takes {theirs_s / ours_s:.1f} times the CPU time of hicra; clusters "
        f"{len(np.unique(theirs))} and {len(np.unique(ours))}, partitions {'equal' if same else 'DIFFERENT'}"
    )


def compare_cells(grams: Sequence[str], config: ClusterConfig) -> None:
    """What is lost where there are too many grams to compare all pairs: cells against all pairs."""
    embeddings = open_embedder(config.embedder, grams, seed=0).embed(grams)
    found = {}
    for label, exact_rows in (("all pairs", len(grams)), ("cells", 0)):
        started = time.process_time()
        neighbours = near_pairs(embeddings, threshold=config.threshold, seed=0, exact_rows=exact_rows)
        clusters = average_linkage(embeddings, neighbours, threshold=config.threshold)
        found[label] = (len(neighbours.ids), clusters, time.process_time() - started)
    (pairs, exact, exact_s), (some_pairs, some, some_s) = found.values()
    print(
        f"{len(grams)} grams: cells find {some_pairs / pairs:.1%} of the neighbours in {some_s / exact_s:.2f} of the "
        f"CPU time; clusters {len(np.unique(some))} for {len(np.unique(exact))}, adjusted Rand index "
        f"{adjusted_rand_score(exact, some):.3f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rollouts", type=Path, required=True, help="JSONL, gzipped or not")
    parser.add_argument("--grams", type=int, default=100_000)
    parser.add_argument("--shuffle", type=int, default=0)
    parser.add_argument("--embedder", default="auto")
    parser.add_argument("--compare", type=int, default=8000, help="grams that both clusterings get; 0: none")
    parser.add_argument("--cells", action="store_true", help="only compare cells with all pairs")
    arguments = parser.parse_args()
    candidates, solutions = counted(arguments.rollouts, grams=arguments.grams)
    if arguments.cells:
        compare_cells(sorted(candidate.gram for candidate in candidates), ClusterConfig(embedder=arguments.embedder))
        return
    random.Random(arguments.shuffle).shuffle(candidates)
    config = AnnotateConfig(cluster=ClusterConfig(embedder=arguments.embedder))
    annotator = ClusterAnnotator(config, solutions=lambda: solutions, seed=0)
    print(f"{len(candidates)} grams, {len(solutions)} solutions, embedder {arguments.embedder}")
    with timed("all"):
        annotations = list(annotator.annotate(candidates, Timed()))
    rows = sorted(repr(each) for each in annotations)
    print(f"digest of the annotations: {hashlib.sha256(chr(10).join(rows).encode()).hexdigest()[:16]}")
    print(f"clusters {annotator.report['clusters']}, sizes {annotator.report['sizes']}")
    print(f"peak RSS {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")
    if arguments.compare:
        some = sorted(candidate.gram for candidate in candidates[: arguments.compare])
        compare(some, config.cluster)


if __name__ == "__main__":
    main()
