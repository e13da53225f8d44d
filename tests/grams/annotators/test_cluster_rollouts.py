"""Clusters of real long reasoning (`--rollouts FOLDER`), without a model: checks are kept, counting is refused."""

from hicra_cli.config.annotate import AnnotateConfig
from hicra_cli.core.progress import SilentProgress
from hicra_cli.core.records import Move
from hicra_cli.grams.annotators.cluster import ClusterAnnotator
from tests.benchmarks.bench_clustering import counted


def test_real_clusters_part_checks_from_calculation(rollouts_dir):
    candidates, solutions = counted(rollouts_dir / "longcot_gsm8k_math.jsonl.gz", grams=3000)
    config = AnnotateConfig.model_validate({"cluster": {"embedder": "lsa"}})
    annotator = ClusterAnnotator(config, solutions=lambda: solutions, seed=0)
    found = {each.gram: each for each in annotator.annotate(candidates, SilentProgress())}
    assert found["let me check"].move is found["wait let me check"].move is Move.BACKTRACING
    assert found["is there another way"].move is Move.BRANCHING
    assert found["the total number of"].move is found["is equal to the"].move is found["the number of"].move is None
    assert "filler" in found["the number of"].reason
    # One gram's documents are among its cluster's.
    widest = {row["cluster"]: row["document_frequency"] for row in annotator.report["kept"]}
    for candidate in candidates:
        cluster = found[candidate.gram].cluster
        assert candidate.document_frequency <= widest.get(cluster or 0, candidate.document_frequency)
