"""How fast n-grams are counted: the array count against a plain dictionary on the same solutions, as a ratio.

    python -m tests.benchmarks.bench_counting --rollouts FILE.jsonl.gz

Both count occurrences and distinct problems of all 3- to 5-grams; segmentation into words, which both need, is timed
apart. Times are CPU seconds of this machine and this run.
"""

import argparse
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from hicra_cli.config.collect import CollectConfig, RolloutFields
from hicra_cli.grams.counting import Solution, count_grams
from hicra_cli.grams.sources import read_rows
from hicra_cli.text.words import segments


def by_dictionary(solutions: list[Solution]) -> dict[str, tuple[int, int]]:
    """Occurrences and problems per gram."""
    count: Counter[str] = Counter()
    problems: dict[str, set[str]] = {}
    for solution in solutions:
        for segment in segments(solution.text):
            words = [word.normalised for word in segment]
            for n in (3, 4, 5):
                for start in range(len(words) - n + 1):
                    gram = " ".join(words[start : start + n])
                    count[gram] += 1
                    problems.setdefault(gram, set()).add(solution.problem_id)
    return {gram: (number, len(problems[gram])) for gram, number in count.items()}


def measured(work: Callable[[], object]) -> tuple[float, object]:
    started = time.process_time()
    result = work()
    return time.process_time() - started, result


def peak_mib(work: Callable[[], object]) -> float:
    tracemalloc.start()
    work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 2**20


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rollouts", type=Path, required=True)
    parser.add_argument("--memory", action="store_true", help="measure peak memory too (slow)")
    arguments = parser.parse_args()
    rows = list(read_rows(arguments.rollouts, RolloutFields()))
    solutions = [Solution(row.prompt_id, row.text, row.policy, row.step) for row in rows if row.is_correct]
    config = CollectConfig(contexts=0)

    words_s, split = measured(lambda: sum(len(part) for each in solutions for part in segments(each.text)))
    arrays_s, counts = measured(lambda: count_grams(solutions, config, seed=0))
    plain_s, _ = measured(lambda: by_dictionary(solutions))
    contexts_s, _ = measured(lambda: count_grams(solutions, CollectConfig(), seed=0))
    print(f"{len(solutions)} solutions, {split} words, {getattr(counts, 'distinct_grams', 0)} distinct grams")
    print(
        f"segmentation {words_s:.1f} s; arrays {arrays_s:.1f} s, with contexts {contexts_s:.1f} s; dict {plain_s:.1f} s"
    )
    without = _without(plain_s, arrays_s, words_s)
    print(f"dictionary / arrays: {plain_s / arrays_s:.2f} (without segmentation {without:.2f})")
    if arguments.memory:
        arrays, plain = (
            peak_mib(lambda: count_grams(solutions, config, seed=0)),
            peak_mib(lambda: by_dictionary(solutions)),
        )
        print(f"peak memory: arrays {arrays:.0f} MiB, dictionary {plain:.0f} MiB, ratio {plain / arrays:.2f}")


def _without(plain_s: float, arrays_s: float, words_s: float) -> float:
    return (plain_s - words_s) / max(arrays_s - words_s, 1e-9)


if __name__ == "__main__":
    main()
