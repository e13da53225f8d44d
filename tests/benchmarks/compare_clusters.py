"""What clusters find on real rollouts, beside the lexicon: the tables of docs/clusters.md.

    python -m tests.benchmarks.compare_clusters --rollouts FILE.jsonl.gz > docs/clusters.md

Counts the 3- to 5-grams of the correct solutions and annotates the most widespread ones four times: by clusters of an
encoder's and of lsa embeddings, as others do it (k-means into 100, top 20 %, no guard), and by the lexicon. A
label is a move or none; a gram that the lexicon calls strategic with a confidence below one half counts as none.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hicra_cli.config.annotate import AnnotateConfig
from hicra_cli.config.annotate_cluster import ClusterConfig
from hicra_cli.core.progress import SilentProgress
from hicra_cli.core.records import Move
from hicra_cli.grams.annotators.base import Annotation
from hicra_cli.grams.annotators.cluster import ClusterAnnotator
from hicra_cli.grams.annotators.cluster_selection import border_frequency
from hicra_cli.grams.annotators.lexicon import judge
from hicra_cli.grams.candidates import Candidate
from hicra_cli.grams.counting import Solution
from hicra_cli.metrics.agreement import cohen_kappa

from .bench_clustering import counted

TOP = 20
KEPT = 0.2
RECIPE = {"algorithm": "kmeans", "num_clusters": 100, "document": "solution", "refuse_fillers": False}


@dataclass(frozen=True, slots=True)
class Run:
    """One way to annotate: label and cluster of each gram, and the report of its clusters."""

    title: str
    labels: dict[str, Move | None]
    clusters: dict[str, int | None]
    report: dict[str, Any]

    @property
    def strategic(self) -> set[str]:
        return {gram for gram, move in self.labels.items() if move is not None}


def annotated(title: str, candidates: Sequence[Candidate], solutions: Sequence[Solution], **settings: Any) -> Run:
    """Clusters with these settings."""
    config = AnnotateConfig(cluster=ClusterConfig.model_validate(settings))
    annotator = ClusterAnnotator(config, solutions=lambda: solutions, seed=0)
    annotations: list[Annotation] = list(annotator.annotate(candidates, SilentProgress()))
    return Run(
        title,
        {each.gram: each.move for each in annotations},
        {each.gram: each.cluster for each in annotations},
        annotator.report,
    )


def most_widespread(title: str, every: Run, keep_fraction: float) -> Run:
    """The run that keeps this share of the clusters, from one that kept them all."""
    rows = every.report["kept"]
    border = border_frequency([row["document_frequency"] for row in rows], keep_fraction)
    kept = {row["cluster"] for row in rows if row["document_frequency"] >= border}
    labels = {gram: move if every.clusters[gram] in kept else None for gram, move in every.labels.items()}
    report = {**every.report, "kept": [row for row in rows if row["cluster"] in kept]}
    return Run(title, labels, every.clusters, report)


def by_lexicon(candidates: Sequence[Candidate]) -> dict[str, Move | None]:
    judgements = [judge(candidate.gram) for candidate in candidates]
    return {each.gram: each.move if each.confidence >= 0.5 else None for each in judgements}


def summary(runs: Sequence[Run], lexicon: dict[str, Move | None]) -> list[str]:
    """One line a run: what it keeps, and how it agrees with the lexicon."""
    grams = sorted(lexicon)
    known = {gram for gram in grams if lexicon[gram] is not None}
    lines = [
        "| | clusters | grams in the largest | kept | fillers refused | strategic grams | of them in the lexicon | "
        "of the lexicon found | kappa strategic | kappa move, where both are strategic |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for run in runs:
        both = sorted(run.strategic & known)
        strategic = cohen_kappa([gram in run.strategic for gram in grams], [gram in known for gram in grams])
        move = cohen_kappa([run.labels[gram] for gram in both], [lexicon[gram] for gram in both])
        report = run.report
        lines.append(
            f"| {run.title} | {report['clusters']} | {report['sizes']['largest']} | {len(report['kept'])} | "
            f"{len(report['fillers_refused'])} | {len(run.strategic)} | {len(both) / len(run.strategic):.0%} | "
            f"{len(both) / len(known):.0%} | {strategic:.2f} | {move:.2f} |"
        )
    return lines


def top_clusters(run: Run) -> list[str]:
    """The clusters of largest Cluster DF, kept or refused."""
    rows = [(row, "kept") for row in run.report["kept"]] + [(row, "refused") for row in run.report["fillers_refused"]]
    rows.sort(key=lambda pair: pair[0]["cluster"])
    documents = run.report["documents"]
    lines = [
        "| Cluster DF | grams, most used first | size | verdict | move | lexicon | nearest planning phrase | nearest "
        "execution phrase |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row, verdict in rows[:TOP]:
        planning, execution = row["planning"], row["execution"]
        lines.append(
            f"| {row['document_frequency'] / documents:.0%} | {', '.join(row['grams'][:3])} | {row['size']} | "
            f"{verdict} | {row['move'] or ''} | {row['lexicon_fraction']:.0%} | {planning['phrase']} "
            f"{planning['cosine']:.2f} | {execution['phrase']} {execution['cosine']:.2f} |"
        )
    return lines


def touched(run: Run, every: Run) -> list[str]:
    """Shares of solutions that use a cluster: the kept ones, and all of them."""
    num_solutions = run.report["solutions"]
    kept, all_of_them = (
        np.array([row["solutions"] / num_solutions for row in each.report["kept"]]) for each in (run, every)
    )
    words = sum(row["size"] for row in run.report["kept"]) / run.report["grams"]
    return [
        f"- {len(kept)} of {len(all_of_them)} clusters are kept; they hold {words:.0%} of all grams.",
        f"- Share of the solutions that use a kept cluster: {kept.min():.0%} to {kept.max():.0%}, median "
        f"{np.median(kept):.0%}. Of all clusters: {all_of_them.min():.0%} to {all_of_them.max():.0%}, median "
        f"{np.median(all_of_them):.0%}; {(all_of_them > 0.5).sum()} are used in more than half of the solutions.",
    ]


def spread(runs: Sequence[Run]) -> list[str]:
    """Does sparsity within a solution part what is kept from what is refused?"""
    lines = ["| | uses per solution, kept: quartiles | refused fillers: quartiles |", "| --- | --- | --- |"]
    for run in runs:
        cells = [
            " / ".join(
                f"{value:.2f}" for value in np.quantile([row["uses_per_solution"] for row in rows], [0.25, 0.5, 0.75])
            )
            for rows in (run.report["kept"], run.report["fillers_refused"])
        ]
        lines.append(f"| {run.title} | {' | '.join(cells)} |")
    return lines


def page(file: str, runs: Sequence[Run], recipe: Run, every: Run, lexicon: dict[str, Move | None]) -> str:
    report = runs[0].report
    known = sum(move is not None for move in lexicon.values())
    lines = [
        "# What clusters find",
        "",
        f"Made by `python -m tests.benchmarks.compare_clusters --rollouts {file}`: the {len(lexicon)} most widespread "
        f"3- to 5-grams of {report['solutions']} correct long-reasoning solutions to {report['documents']} problems, "
        f"annotated by clusters and by the lexicon. The lexicon calls {known} of them strategic "
        f"({known / len(lexicon):.0%}).",
        "",
        f"Clusters are those of average linkage at a cosine of {report['settings']['threshold']}; kept are the "
        f"{report['settings']['keep_fraction']:.0%} of them that most problems use (Cluster DF, here as a share of the "
        f"problems), less the fillers. Encoder: "
        f"{report['embedder']['name']} (SHA-256 of its files {report['embedder']['digest'][:12]}…).",
        "",
        "## Agreement with the lexicon",
        "",
        *summary([*runs, recipe], lexicon),
        "",
        "The moves of clusters are the lexicon's own votes where it has enough, so their agreement is no independent "
        "evidence; whether a cluster is strategic is decided without it. Neither is the truth: `curate --audit` asks "
        "a person. The seed phrases that refuse fillers were written while looking at clusters of these rollouts.",
    ]
    for run in runs:
        lines += ["", f"## The {TOP} most widespread clusters: {run.title}", ""]
        lines += [
            "Lexicon: share of the cluster's uses that the lexicon gives a move. Cosines: mean of the three nearest "
            "phrases.",
            "",
            *top_clusters(run),
        ]
    lines += [
        "",
        "## K-means into 100 clusters, top 20 %, as published implementations have it",
        "",
        *touched(recipe, every),
        "",
    ]
    lines += [*top_clusters(recipe)[: 2 + 10], "", "## Sparsity within a solution does not part them", ""]
    lines += ["Uses per solution that uses the cluster, nested grams counted each.", "", *spread(runs)]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rollouts", type=Path, required=True, help="JSONL, gzipped or not")
    parser.add_argument("--grams", type=int, default=20_000)
    arguments = parser.parse_args()
    candidates, solutions = counted(arguments.rollouts, grams=arguments.grams)
    runs = [
        annotated("clusters, encoder", candidates, solutions, embedder="auto"),
        annotated("clusters, lsa", candidates, solutions, embedder="lsa"),
    ]
    every = annotated("every cluster of k-means", candidates, solutions, **RECIPE, keep_fraction=1.0)
    recipe = most_widespread("k-means 100, encoder", every, KEPT)
    print(page(arguments.rollouts.name, runs, recipe, every, by_lexicon(candidates)), end="")


if __name__ == "__main__":
    main()
