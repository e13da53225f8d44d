"""Compares graders decision by decision: hicra and math-verify on the corpus, and on real golds where there are any.

    python -m tests.benchmarks.compare_graders [--data-dir FOLDER] [--held-out | --seen] [--limit-s 3] [--show]

For the corpus, where the right decision is known: a table by kind with how often each is right, and every case in
which math-verify is right and hicra is not. For the golds of a benchmark, against themselves and shuffled: every pair
on which the two disagree, to be judged by a reader. --show lists where hicra alone is right, too.
"""

import argparse
import json
import logging
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from math_verify import parse, verify

from hicra_cli.core.records import Outcome
from hicra_cli.grading import GradingPool
from tests.grading.corpus import KINDS, Case, all_cases

Pair = tuple[str, str]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--data-dir", type=Path)
    arguments.add_argument("--limit-s", type=int, default=3)
    arguments.add_argument("--show", action="store_true")
    half = arguments.add_mutually_exclusive_group()
    half.add_argument("--held-out", action="store_true")
    half.add_argument("--seen", action="store_true")
    options = arguments.parse_args()
    logging.getLogger("math_verify").setLevel(logging.CRITICAL)
    cases = [case for case in all_cases() if not (options.held_out and not case.held_out)]
    cases = [case for case in cases if not (options.seen and case.held_out)]
    with GradingPool(workers=1, timeout_s=options.limit_s) as pool:
        report_corpus(cases, pool, limit_s=options.limit_s, show=options.show)
        for bench in sorted(options.data_dir.glob("bench/*.jsonl")) if options.data_dir else ():
            report_bench(bench, pool, limit_s=options.limit_s)


def report_corpus(cases: Sequence[Case], pool: GradingPool, *, limit_s: int, show: bool) -> None:
    """Who is right, by kind."""
    pairs = [(case.answer, case.gold) for case in cases]
    ours = ours_of(pairs, pool)
    theirs = theirs_of(pairs, limit_s=limit_s)
    right = [(mine is case.same, other is case.same) for case, mine, other in zip(cases, ours, theirs, strict=True)]
    print(f"{'kind':16} {'cases':>6} {'hicra':>8} {'math-verify':>12} {'only hicra':>11} {'only m-v':>9}")
    for kind in (*KINDS, "all"):
        rows = [each for case, each in zip(cases, right, strict=True) if kind in (case.kind, "all")]
        if rows:
            print(table_row(kind, rows))
    for name, verdicts in (("hicra", ours), ("math-verify", theirs)):
        wrong = Counter(case.same for case, verdict in zip(cases, verdicts, strict=True) if verdict is not case.same)
        print(f"{name}: {wrong[False]} wrong acceptances, {wrong[True]} wrong refusals")
    print_cases("math-verify is right, hicra is not:", cases, right, (False, True))
    if show:
        print_cases("hicra is right, math-verify is not:", cases, right, (True, False))
        print_cases("neither is right:", cases, right, (False, False))


def report_bench(bench: Path, pool: GradingPool, *, limit_s: int) -> None:
    """Disagreements on one benchmark's golds; a shuffled gold may equal its partner by chance."""
    with bench.open(encoding="utf-8") as lines:
        golds = [json.loads(line)["answer"] for line in lines]
    shuffled = random.Random(0).sample(golds, len(golds))
    for label, answers in (("gold against itself", golds), ("golds shuffled", shuffled)):
        pairs = list(zip(answers, golds, strict=True))
        ours, theirs = ours_of(pairs, pool), theirs_of(pairs, limit_s=limit_s)
        print(f"{bench.stem}, {label}: {len(pairs)} pairs, accepted by hicra {sum(ours)}, by math-verify {sum(theirs)}")
        for (answer, gold), mine, other in zip(pairs, ours, theirs, strict=True):
            if mine != other:
                print(f"    {'hicra' if mine else 'math-verify'} alone accepts {answer!r} for {gold!r}")


def ours_of(pairs: Sequence[Pair], pool: GradingPool) -> list[bool]:
    verdicts = pool.grade_many([(f"\\boxed{{{answer}}}", gold, False) for answer, gold in pairs])
    return [verdict.outcome is Outcome.CORRECT for verdict in verdicts]


def theirs_of(pairs: Iterable[Pair], *, limit_s: int) -> list[bool]:
    return [their_verdict(answer, gold, limit_s=limit_s) for answer, gold in pairs]


def their_verdict(answer: str, gold: str, *, limit_s: int) -> bool:
    """math-verify as its documentation has it: LaTeX between dollars for the gold, a box for the answer."""
    read_gold = parse(gold if "$" in gold else f"${gold}$", parsing_timeout=limit_s)
    read_answer = parse(f"\\boxed{{{answer}}}", parsing_timeout=limit_s)
    return bool(verify(read_gold, read_answer, timeout_seconds=limit_s))


def table_row(kind: str, rows: Sequence[tuple[bool, bool]]) -> str:
    ours, theirs = sum(mine for mine, _ in rows), sum(other for _, other in rows)
    alone, other_alone = rows.count((True, False)), rows.count((False, True))
    return (
        f"{kind:16} {len(rows):6} {100 * ours / len(rows):7.1f}% {100 * theirs / len(rows):11.1f}%"
        f" {alone:11} {other_alone:9}"
    )


def print_cases(
    title: str, cases: Sequence[Case], right: Sequence[tuple[bool, bool]], which: tuple[bool, bool]
) -> None:
    chosen = [case for case, each in zip(cases, right, strict=True) if each == which]
    print(f"{title} {len(chosen)}")
    for case in chosen:
        sign = "=" if case.same else "!="
        print(f"    [{case.kind}] {case.answer!r} {sign} {case.gold!r}: {case.why} ({case.source})")


if __name__ == "__main__":
    main()
