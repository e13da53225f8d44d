"""Measures grading: ours against math-verify alone, on the golds of a benchmark, in one process and one run.

    python -m tests.benchmarks.bench_grading BENCH.jsonl [--pairs 500]

Prints, for gold against itself and for golds shuffled: answers a second of both and their ratio, verdict counts, and
every acceptance of a shuffled gold (a wrong one, unless two questions have equal answers).
"""

import argparse
import json
import random
import time
from collections import Counter
from pathlib import Path

from math_verify import parse, verify

from hicra_cli.core.records import Outcome
from hicra_cli.grading import GradingPool


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("bench", type=Path)
    arguments.add_argument("--pairs", type=int, default=500)
    options = arguments.parse_args()
    with options.bench.open(encoding="utf-8") as lines:
        golds = [json.loads(line)["answer"] for line in lines][: options.pairs]
    shuffled = golds[:]
    random.Random(0).shuffle(shuffled)
    for label, answers in (("gold against itself", golds), ("golds shuffled", shuffled)):
        report(label, list(zip(answers, golds, strict=True)))


def report(label: str, pairs: list[tuple[str, str]]) -> None:
    with GradingPool(workers=1) as pool:
        pool.grade_many([("\\boxed{x+1}", "1+x", False)])  # the worker's start is not the grading
        start = time.perf_counter()
        verdicts = pool.grade_many([(f"\\boxed{{{answer}}}", gold, False) for answer, gold in pairs])
        ours_s = time.perf_counter() - start
    parse("$x+1$")
    start = time.perf_counter()
    theirs = [bool(verify(parse(f"${gold}$"), parse(f"\\boxed{{{answer}}}"))) for answer, gold in pairs]
    theirs_s = time.perf_counter() - start
    counts = Counter(str(verdict.outcome) for verdict in verdicts)
    print(f"{label}: {len(pairs)} pairs")
    print(f"  hicra        {len(pairs) / ours_s:10.0f} answers/s  {dict(counts)}")
    print(f"  math-verify  {len(pairs) / theirs_s:10.0f} answers/s  {{'correct': {sum(theirs)}}}")
    print(f"  ratio        {theirs_s / ours_s:10.1f}")
    for (answer, gold), verdict, other in zip(pairs, verdicts, theirs, strict=True):
        accepted = verdict.outcome is Outcome.CORRECT
        if accepted != other or verdict.outcome in (Outcome.ERROR, Outcome.TIMEOUT) or (accepted != (answer == gold)):
            print(f"    {verdict.outcome} (math-verify {other}): {answer!r} for {gold!r} {verdict.detail}")


if __name__ == "__main__":
    main()
