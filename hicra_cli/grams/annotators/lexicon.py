"""Offline rules as annotator: which words announce deduction, branching or backtracing, and how surely.

The rules are patterns over normalised English words (`lexicon_rules.py`; docs/lexicon.md lists them):

- deduction: inference and its premises ("this implies that", "since we know"), and the goals and plans that inference
  serves ("we need to find", "the key is", "let's break it down"), which belong to no move of the paper by name;
- branching: another way, a case, an assumption, a guess ("alternatively", "what if we", "maybe the problem");
- backtracing: doubt, check, return ("wait but", "let me check", "but the problem says", "i made a mistake").

A gram's confidence is the strength of its best rule, less what speaks against it:

- it is a piece of something, because the cue does not begin it ("number let me check") or it ends inside a phrase ("let
  me double-check to make"): 0.45;
- it is an empty frame, which says that something is about to be done, but not what ("so we need", "but let me"): 0.4;
- words tie it to a subject ("we need to find marbles"): 0.4 for the first, 0.15 for each other;
- it ends in the air ("let me check the"): 0.15.

So what stands below one half is doubted, not unseen: `curate --interactive` asks about it. Calculation and its results
("let me add", "so the answer is") and what is satisfied and turns nowhere ("that makes sense") are not strategic.
Contexts are not read: the same gram always gets the same judgement. English only; what it covers of real rollouts is
measured by `curate`.
"""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

from hicra_cli.core.progress import Progress
from hicra_cli.core.records import Move
from hicra_cli.grams.candidates import Candidate

from .base import Annotation
from .lexicon_rules import CUT_ENDS, PIECES, RULES, VETOES, Rule
from .lexicon_words import COMMON_WORDS, DANGLING, FRAME, LEADS

PIECE_COST = 0.45
FIRST_SUBJECT_COST = 0.4
OTHER_SUBJECT_COST = 0.15
OPEN_END_COST = 0.15
EMPTY_COST = 0.4
UNCLEAR = 0.9


class LexiconAnnotator:
    """Judges by rules alone: no network, no model, no state."""

    name = "lexicon"

    def annotate(self, candidates: Sequence[Candidate], progress: Progress) -> Iterator[Annotation]:
        """One annotation per candidate, in order."""
        with progress.phase("annotate", len(candidates)) as advance:
            for candidate in candidates:
                yield judge(candidate.gram)
                advance()


def judge(gram: str) -> Annotation:
    """The lexicon's judgement of one gram (normalised words joined by blanks)."""
    if _any_of(VETOES).fullmatch(gram):
        return _annotation(gram, None, UNCLEAR, "calculates or closes a calculation")
    if _any_of(PIECES).fullmatch(gram):
        return _annotation(gram, None, UNCLEAR, "a piece of a phrase")
    best: tuple[float, Rule, str] | None = None
    for rule, pattern in _patterns():
        confidence, costs = _confidence(gram, rule, pattern)
        if confidence > (best[0] if best else 0.0):
            best = (confidence, rule, costs)
    if best is None:
        return _annotation(gram, None, UNCLEAR, "no words of a move")
    confidence, rule, costs = best
    return _annotation(gram, rule, confidence, f"rule `{rule.name}`{costs}")


def rules_text() -> str:
    """All rules as text, move after move: strength, name and cue; docs/lexicon.md shows it."""
    parts = []
    for move in Move:
        rows = [f"{rule.strength:.2f}  {rule.name:<28}{rule.cue}" for rule in RULES if rule.move is move]
        parts.append("\n".join([f"# {move}", *rows]))
    return "\n\n".join(parts) + "\n"


def _confidence(gram: str, rule: Rule, pattern: re.Pattern[str]) -> tuple[float, str]:
    """0 where the rule does not match; else its strength less the costs, and the costs in words."""
    matches = list(pattern.finditer(gram))
    if not matches:
        return 0.0, ""
    words = gram.split()
    confidence, costs = rule.strength, ""
    if not any(_begins(gram, match) for match in matches) or _cut_ends().search(gram):
        confidence, costs = confidence - PIECE_COST, costs + ", a piece"
    if subjects := sum(word not in COMMON_WORDS for word in words):
        confidence -= FIRST_SUBJECT_COST + OTHER_SUBJECT_COST * (subjects - 1)
        costs += f", {subjects} words of a subject"
    if all(word in FRAME for word in words):
        confidence, costs = confidence - EMPTY_COST, costs + ", empty"
    elif words[-1] in DANGLING:
        confidence, costs = confidence - OPEN_END_COST, costs + ", open end"
    return round(max(confidence, 0.0), 2), costs


def _begins(gram: str, match: re.Match[str]) -> bool:
    return all(word in LEADS for word in gram[: match.start()].split())


def _annotation(gram: str, rule: Rule | None, confidence: float, reason: str) -> Annotation:
    return Annotation(gram, rule.move if rule else None, confidence, reason, LexiconAnnotator.name)


@lru_cache(maxsize=1)
def _patterns() -> tuple[tuple[Rule, re.Pattern[str]], ...]:
    return tuple((rule, re.compile(rf"(?<!\S)(?:{rule.cue})(?!\S)")) for rule in RULES)


@lru_cache(maxsize=2)
def _any_of(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{each})" for each in patterns))


@lru_cache(maxsize=1)
def _cut_ends() -> re.Pattern[str]:
    return re.compile(rf"(?<!\S)(?:{'|'.join(CUT_ENDS)})$")
