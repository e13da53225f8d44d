"""Measures grading against math-verify: the same pairs, one core for each side, in fresh processes, round by round.

    python -m tests.benchmarks.bench_grading --data-dir FOLDER [--bench math500 …] [--pairs 200] [--rounds 3]

Four lists of every benchmark: its golds against themselves, golds in equivalent spellings, wrong answers (other golds
and near misses, half each), and typical responses: reasoning of some 3,000 characters before a right or a wrong box.
Prints answers a second of both sides and how many times more hicra grades, as median and range over the rounds, and
what either side got wrong. Each side has one core (hicra's worker process included); nothing is remembered from a
round to the next, and no pair occurs twice in one.
"""

import argparse
import json
import logging
import os
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.measure import spread
from tests.grading.corpus.near_misses import near_misses
from tests.grading.corpus.spellings import spellings

BENCHMARKS = ("aime24", "aime25", "amc23", "gsm8k", "math500", "minerva", "olympiad", "hmmt_24_25")
KINDS = ("golds", "spellings", "wrong", "responses")
SIDES = ("hicra", "math-verify")
REASONING = (
    "Let us compute \\(x^2 + 3x - 4 = (x-1)(x+4)\\), so $x = 1$ or $x = -4$; the sum is $-3$. Then we check it. "
)
REPEATS = 30

Pair = tuple[str, str, bool]
"""A response with an answer in a box, the gold, and whether they are equal (two golds are taken for different)."""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--data-dir", type=Path, required=True)
    arguments.add_argument("--bench", nargs="*", default=BENCHMARKS)
    arguments.add_argument("--pairs", type=int, default=200)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--side", choices=SIDES, help="measure one side of one list from stdin; for the rounds")
    options = arguments.parse_args()
    if options.side is not None:
        print(json.dumps(measured(options.side, json.load(sys.stdin))))
        return
    for bench in options.bench:
        golds = golds_of(options.data_dir, bench)
        for kind in KINDS:
            report(bench, kind, pairs_of(kind, golds, options.pairs), rounds=options.rounds, options=options)


def golds_of(data_dir: Path, bench: str) -> list[str]:
    with (data_dir / "bench" / f"{bench}.jsonl").open(encoding="utf-8") as lines:
        return list(dict.fromkeys(json.loads(line)["answer"] for line in lines))


def pairs_of(kind: str, golds: Sequence[str], count: int) -> list[Pair]:
    """At most `count` pairs of a kind, chosen by a fixed seed."""
    dice = random.Random(kind)
    same = [(gold, gold, True) for gold in golds]
    spelled = [(text, gold, True) for gold in golds for text in spellings(gold).values()]
    missed = [(text, gold, False) for gold in golds for text in near_misses(gold).values()]
    others = [(other, gold, False) for gold in golds if (other := dice.choice(golds)) != gold]
    wrong = others + dice.sample(missed, min(len(missed), len(others)))
    typical = same + dice.sample(spelled, len(same)) + others
    chosen = {"golds": same, "spellings": spelled, "wrong": wrong, "responses": typical}[kind]
    picked = dice.sample(chosen, min(count, len(chosen)))
    before = REASONING * REPEATS if kind == "responses" else ""
    return [(f"{before}The answer is $\\boxed{{{text}}}$.", gold, equal) for text, gold, equal in picked]


def report(bench: str, kind: str, pairs: Sequence[Pair], *, rounds: int, options: argparse.Namespace) -> None:
    """Rounds of both sides in turn; a chance equality of two golds counts as wrong on either side."""
    rates: dict[str, list[float]] = {side: [] for side in SIDES}
    wrong = dict.fromkeys(SIDES, 0)
    for _ in range(rounds):
        for side in SIDES:
            seconds, wrong[side] = side_of(side, pairs, options)
            rates[side].append(len(pairs) / seconds)
    ratios = [ours / theirs for ours, theirs in zip(*rates.values(), strict=True)]
    print(f"{bench:12} {kind:10} {len(pairs):5} pairs  {spread(ratios, 1)} times", end="")
    for side in SIDES:
        print(f"  {side} {spread(rates[side], 0)}/s, {wrong[side]} wrong", end="")
    print(flush=True)


def side_of(side: str, pairs: Sequence[Pair], options: argparse.Namespace) -> tuple[float, int]:
    """One side in a process of its own."""
    command = [
        sys.executable,
        "-m",
        "tests.benchmarks.bench_grading",
        "--data-dir",
        str(options.data_dir),
        "--side",
        side,
    ]
    done = subprocess.run(command, input=json.dumps(pairs), capture_output=True, text=True, check=True)
    seconds, wrong = json.loads(done.stdout.splitlines()[-1])
    return float(seconds), int(wrong)


def measured(side: str, pairs: Sequence[Pair]) -> tuple[float, int]:
    """Seconds for all pairs, and how many verdicts are not as known, on one core."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    logging.getLogger("math_verify").setLevel(logging.CRITICAL)
    seconds, verdicts = by_hicra(pairs) if side == "hicra" else by_math_verify(pairs)
    return seconds, sum(verdict is not equal for verdict, (_, _, equal) in zip(verdicts, pairs, strict=True))


def by_hicra(pairs: Sequence[Pair]) -> tuple[float, list[bool]]:
    from hicra_cli.core.records import Outcome
    from hicra_cli.grading import GradingPool

    with GradingPool(workers=1) as pool:
        pool.grade_many([(r"\boxed{\int_0^1 q(x)dx}", "1", False)])  # the worker's start is not the grading
        start = time.perf_counter()
        verdicts = pool.grade_many([(text, gold, False) for text, gold, _ in pairs])
        seconds = time.perf_counter() - start
    return seconds, [verdict.outcome is Outcome.CORRECT for verdict in verdicts]


def by_math_verify(pairs: Sequence[Pair]) -> tuple[float, list[bool]]:
    from math_verify import parse, verify

    verify(parse("$x+1$"), parse(r"\boxed{1+x}"))
    start = time.perf_counter()
    verdicts = [bool(verify(parse(f"${gold}$"), parse(text))) for text, gold, _ in pairs]
    return time.perf_counter() - start, verdicts


if __name__ == "__main__":
    main()
