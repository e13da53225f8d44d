"""Candidates published without counting: what tests of the stages after collect-grams start from."""

from collections.abc import Sequence

from hicra_cli.core.records import Outcome
from hicra_cli.core.registry import Artifact, Registry
from hicra_cli.grams.candidate_file import write_candidates
from hicra_cli.grams.candidates import Candidate
from hicra_cli.grams.rollout_file import FILE_NAME, RolloutRow, write_rollouts


def publish_candidates(
    registry: Registry,
    texts: Sequence[str],
    *,
    problems: int = 3,
    name: str = "default",
    outcome: Outcome = Outcome.CORRECT,
) -> Artifact:
    """rollouts:NAME with every text once per problem, and candidates:NAME with all their grams of 3 to 5 words.

    A text is one run of words without punctuation; texts share no gram. More frequent grams do not come first: all
    have the same count, and the order is alphabetical.
    """
    rows = [
        RolloutRow(f"p{problem}", at, text, outcome=outcome)
        for problem in range(problems)
        for at, text in enumerate(texts)
    ]
    draft = registry.begin("rollouts", name)
    write_rollouts(draft.path / FILE_NAME, rows)
    rollouts = draft.publish()
    draft = registry.begin("candidates", name)
    write_candidates(draft.path, [_candidate(gram, text, problems) for gram, text in sorted(_grams(texts))], {})
    return draft.publish(inputs=[(rollouts, "rollouts")])


def _grams(texts: Sequence[str]) -> set[tuple[str, str]]:
    found = set()
    for text in texts:
        words = text.split()
        for length in (3, 4, 5):
            found |= {(" ".join(words[at : at + length]), text) for at in range(len(words) - length + 1)}
    return found


def _candidate(gram: str, text: str, problems: int) -> Candidate:
    return Candidate(gram, len(gram.split()), problems, problems, problems, (), (text,))
