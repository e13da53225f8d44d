"""Candidates: counted n-grams, and the figures by which they are ranked."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Share:
    """How many solutions of one policy at one step use the gram, and which fraction of its solutions that is."""

    policy: str | None
    step: int | None
    solutions: int
    fraction: float


@dataclass(frozen=True, slots=True)
class Scores:
    """Why a candidate stands where it stands. None: the corpus cannot tell.

    log_odds: of being in a success rather than a failure, against the median use, in standard errors. growth: log2 of
    its share of solutions at the late checkpoints over the early ones. c_value: uses that no longer candidate accounts
    for, weighted by length. rank: what the candidates are ordered by, larger first.
    """

    log_odds: float | None = None
    growth: float | None = None
    c_value: float | None = None
    rank: float = 0.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """A counted n-gram. count: occurrences; solutions: that contain it; document_frequency: distinct problems.

    All three are of the counted (successful) solutions; failures: the unsuccessful solutions that contain it.
    """

    gram: str
    n: int
    count: int
    solutions: int
    document_frequency: int
    shares: tuple[Share, ...]
    contexts: tuple[str, ...]
    failures: int = 0
    scores: Scores = Scores()

    @property
    def sparsity(self) -> float:
        """Mean occurrences in a solution that contains it: near 1 for what is said once, larger for procedure."""
        return self.count / self.solutions if self.solutions else 0.0


@dataclass(frozen=True, slots=True)
class Counts:
    """Candidates, most widespread first, and what the corpus was. `dropped`: distinct grams by reason.

    solutions: counted ones; failures: unsuccessful ones that were read for comparison only.
    """

    candidates: tuple[Candidate, ...]
    problems: int
    solutions: int
    words: int
    distinct_grams: int
    dropped: dict[str, int]
    failures: int = 0
