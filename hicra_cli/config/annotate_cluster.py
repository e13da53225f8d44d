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
    threshold: float = Field(0.8, gt=0, le=1, description="agglomerative: cosine that the members of a cluster share.")
    num_clusters: int = Field(100, ge=2, description="kmeans: number of clusters.")
    keep_fraction: float = Field(
        0.2, gt=0, le=1, description="Keep this share of the clusters, those that most problems use (the paper's 20 %)."
    )
