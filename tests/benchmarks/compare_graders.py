"""Compares graders decision by decision: hicra and others on the corpus, and on real golds where there are any.

    python -m tests.benchmarks.compare_graders [--data-dir FOLDER] [--peers math-verify verl …] [--held-out | --seen]

For the corpus, where the right decision is known: a table by kind with the share of right decisions of each grader,
wrong acceptances and refusals, and every case in which the first peer (math-verify) is right and hicra is not. For the
golds of each benchmark, against themselves and shuffled: every pair on which hicra and the first peer disagree, to be
judged by a reader. --show lists where hicra is right and the first peer is not, too. The peers are hicra's policies
(hicra_cli/grading/policies.py); where one has no verdict within --limit-s, that is a refusal.
"""

import argparse
import json
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from hicra_cli.core.records import Outcome
from hicra_cli.grading import GradingPool
from hicra_cli.grading.policies import POLICIES
from hicra_cli.grading.policy_pool import PolicyPool
from tests.grading.corpus import KINDS, Case, all_cases

Pair = tuple[str, str]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--data-dir", type=Path)
    arguments.add_argument("--peers", nargs="+", choices=POLICIES, default=list(POLICIES))
    arguments.add_argument("--limit-s", type=float, default=5.0)
    arguments.add_argument("--show", action="store_true")
    half = arguments.add_mutually_exclusive_group()
    half.add_argument("--held-out", action="store_true")
    half.add_argument("--seen", action="store_true")
    options = arguments.parse_args()
    cases = [case for case in all_cases() if not (options.seen if case.held_out else options.held_out)]
    report_corpus(cases, options.peers, limit_s=options.limit_s, show=options.show)
    for bench in sorted(options.data_dir.glob("bench/*.jsonl")) if options.data_dir else ():
        report_bench(bench, options.peers[0], limit_s=options.limit_s)


def report_corpus(cases: Sequence[Case], peers: Sequence[str], *, limit_s: float, show: bool) -> None:
    """Who is right, by kind."""
    pairs = [(case.answer, case.gold) for case in cases]
    verdicts = {name: verdicts_of(name, pairs, limit_s=limit_s) for name in ("hicra", *peers)}
    right = {name: [v is case.same for v, case in zip(each, cases, strict=True)] for name, each in verdicts.items()}
    print(f"{'kind':16}{'cases':>6}" + "".join(f"{name:>13}" for name in right))
    for kind in (*KINDS, "all"):
        places = [place for place, case in enumerate(cases) if kind in (case.kind, "all")]
        shares = [sum(each[place] for place in places) / max(1, len(places)) for each in right.values()]
        print(f"{kind:16}{len(places):6}" + "".join(f"{100 * share:12.1f}%" for share in shares))
    for name, each in right.items():
        wrong = Counter(case.same for case, good in zip(cases, each, strict=True) if not good)
        print(f"{name}: {wrong[False]} wrong acceptances, {wrong[True]} wrong refusals")
    ours, theirs = right["hicra"], right[peers[0]]
    print_cases(f"{peers[0]} is right, hicra is not", cases, [b and not a for a, b in zip(ours, theirs, strict=True)])
    if show:
        print_cases(
            f"hicra is right, {peers[0]} is not", cases, [a and not b for a, b in zip(ours, theirs, strict=True)]
        )
        print_cases("neither is right", cases, [not a and not b for a, b in zip(ours, theirs, strict=True)])


def report_bench(bench: Path, peer: str, *, limit_s: float) -> None:
    """Disagreements on one benchmark's golds; a shuffled gold may equal its partner by chance."""
    with bench.open(encoding="utf-8") as lines:
        golds = [json.loads(line)["answer"] for line in lines]
    shuffled = random.Random(0).sample(golds, len(golds))
    for label, answers in (("gold against itself", golds), ("golds shuffled", shuffled)):
        pairs = list(dict.fromkeys(zip(answers, golds, strict=True)))
        ours, theirs = verdicts_of("hicra", pairs, limit_s=limit_s), verdicts_of(peer, pairs, limit_s=limit_s)
        print(f"{bench.stem}, {label}: {len(pairs)} pairs, accepted by hicra {sum(ours)}, by {peer} {sum(theirs)}")
        for (answer, gold), mine, other in zip(pairs, ours, theirs, strict=True):
            if mine != other:
                print(f"    {'hicra' if mine else peer} alone accepts {answer!r} for {gold!r}")


def verdicts_of(grader: str, pairs: Sequence[Pair], *, limit_s: float) -> list[bool]:
    """Whether each answer is accepted by hicra or by a policy; the answer stands in a box."""
    responses = [(f"\\boxed{{{answer}}}", gold) for answer, gold in pairs]
    if grader == "hicra":
        with GradingPool(workers=1, timeout_s=limit_s) as pool:
            verdicts = pool.grade_many([(response, gold, False) for response, gold in responses])
        return [verdict.outcome is Outcome.CORRECT for verdict in verdicts]
    with PolicyPool(grader, timeout_s=limit_s) as policy:
        judgements = policy.judge([(response, [gold], False) for response, gold in responses])
    return [judgement.correct is True for judgement in judgements]


def print_cases(title: str, cases: Sequence[Case], chosen: Sequence[bool]) -> None:
    print(f"{title}: {sum(chosen)}")
    for case, wanted in zip(cases, chosen, strict=True):
        if wanted:
            sign = "=" if case.same else "!="
            print(f"    [{case.kind}] {case.answer!r} {sign} {case.gold!r}: {case.why} ({case.source})")


if __name__ == "__main__":
    main()
