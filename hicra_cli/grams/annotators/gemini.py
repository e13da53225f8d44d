"""Gemini as the only annotator of a run, by its old names; `service.build_service` is what it is made of."""

from pathlib import Path

from hicra_cli.config.annotate import AnnotateConfig
from hicra_cli.config.keys import ServiceKey

from .budget import Budget
from .service import ServiceAnnotator, build_service, key_for


def gemini_key() -> ServiceKey | None:
    """The key from the environment. Raises ServiceError with what to do where there is none."""
    return key_for("gemini", AnnotateConfig())


def GeminiAnnotator(config: AnnotateConfig, *, key: object, ledger: Path, seed: int) -> ServiceAnnotator:
    """`build_service` for one vote of gemini."""
    budget = Budget(config.service.max_cost)
    return build_service("gemini", config, ledger=ledger, seed=seed, vote=0, budget=budget)
