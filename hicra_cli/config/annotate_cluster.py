"""annotate-grams by clusters: the recipe of the paper's later versions."""

from typing import Literal

from pydantic import Field

from hicra_cli.config.section import Section


class ClusterConfig(Section):
    embedder: str = Field(
        "auto",
        description="`lsa` (character n-grams, needs no model), an installed model package, a folder or an HF id of an "
        "encoder; `auto` takes an installed model, else lsa.",
    )
    algorithm: Literal["agglomerative", "hdbscan", "kmeans"] = Field(
        "agglomerative", description="How grams are clustered; k-means is there for comparison with others."
    )
    threshold: float = Field(
        0.7,
        gt=0,
        le=1,
        description="agglomerative: mean cosine of the members from which two clusters become one; higher means more "
        "and narrower clusters.",
    )
    min_cluster_size: int = Field(3, ge=2, description="hdbscan: fewer grams than this are no cluster.")
    num_clusters: int = Field(100, ge=2, description="kmeans: number of clusters.")
    document: Literal["problem", "solution"] = Field(
        "problem",
        description="What Cluster DF counts: problems (many rollouts of one are one) or solutions (as in the paper).",
    )
    keep_fraction: float = Field(
        0.2,
        gt=0,
        le=1,
        description="Keep this share of the clusters, those with the largest Cluster DF (the paper's 20 %); a tie at "
        "the border is kept whole.",
    )
    refuse_fillers: bool = Field(
        True,
        description="Refuse kept clusters that are nearer to phrases of calculation and filler (`the number of`, `is "
        "equal to the`) than to phrases of planning; false is the paper's recipe to the letter.",
    )
