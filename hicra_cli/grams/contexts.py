"""Example surroundings of grams, chosen by a hash: independent of the order of solutions, one per problem."""

from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b

from hicra_cli.core.seeds import seed_for
from hicra_cli.grams.counting import Solution
from hicra_cli.text.words import segments

CONTEXT_BEFORE = 120
CONTEXT_AFTER = 120


def choose_contexts(
    solutions: Iterable[Solution],
    grams: Sequence[str],
    *,
    limit: int,
    seed: int,
    on_solution: Callable[[], None] = lambda: None,
) -> list[tuple[str, ...]]:
    """Up to `limit` surroundings of each gram, in the order of `grams`, at most one from each problem.

    Only successful solutions are shown, each by the gram's first occurrence in it. Which ones is decided by a hash of
    (seed, problem, text, gram).
    """
    best: list[dict[str, tuple[int, str]]] = [{} for _ in grams]
    index = {gram: at for at, gram in enumerate(grams)}
    lengths = sorted({len(gram.split()) for gram in grams})
    for solution in solutions:
        on_solution()
        if not solution.successful or not limit:
            continue
        found: dict[int, tuple[int, int]] = {}
        for segment in segments(solution.text):
            words = [word.normalised for word in segment]
            for n in lengths:
                for start in range(len(words) - n + 1):
                    gram = index.get(" ".join(words[start : start + n]))
                    if gram is not None:
                        found.setdefault(gram, (segment[start].start, segment[start + n - 1].end))
        salt = seed_for(seed, "contexts", prompt=f"{solution.problem_id}\n{solution.text}")
        for gram, (start, end) in found.items():
            priority = salt ^ _text_hash(grams[gram])
            context = context_around(solution.text, start, end)
            known = best[gram].get(solution.problem_id)
            best[gram][solution.problem_id] = min(known or (priority, context), (priority, context))
            if len(best[gram]) > limit:
                del best[gram][max(best[gram], key=lambda problem: best[gram][problem])]
    return [tuple(context for _, context in sorted(each.values())) for each in best]


def context_around(text: str, start: int, end: int) -> str:
    """The characters around text[start:end], cut at blanks, each run of white space as one blank."""
    left, right = max(0, start - CONTEXT_BEFORE), min(len(text), end + CONTEXT_AFTER)
    before, after = text[left:start], text[end:right]
    if left > 0 and " " in before:
        before = before[before.index(" ") :]
    if right < len(text) and " " in after:
        after = after[: after.rindex(" ")]
    return " ".join((before + text[start:end] + after).split())


def _text_hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")
