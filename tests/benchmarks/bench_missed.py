"""How fast missed grams are found: families looked up by key against every pair compared, as a ratio.

    python -m tests.benchmarks.bench_missed

Made-up candidates, 20,000 and then ten times as many, against a set of 500. The pairwise way only finds the pairs that
differ in one word or one end; its time on a part of the candidates is scaled to all. CPU seconds of one run.
"""

import random
import time

from hicra_cli.core.records import Move, StrategicGram
from hicra_cli.grams.candidates import Candidate
from hicra_cli.grams.missed import propose_missed

SET = 500
SHARE_OF_PAIRS = 50


def made_up(number: int, *, seed: int) -> list[Candidate]:
    """Distinct grams of 3 to 5 words whose words are as unevenly common as those of a text."""
    generator = random.Random(seed)
    words = [f"w{at}" for at in range(3000)]
    weights = [1 / (at + 1) for at in range(3000)]
    texts: dict[str, None] = {}
    while len(texts) < number:
        texts[" ".join(generator.choices(words, weights, k=generator.randint(3, 5)))] = None
    return [
        Candidate(text, len(text.split()), generator.randint(3, 400), 5, generator.randint(3, 90), (), ())
        for text in texts
    ]


def near_pairs(members: list[tuple[str, ...]], candidates: list[tuple[str, ...]]) -> int:
    """Pairs that differ in one word, or by one at an end."""
    found = 0
    for words in candidates:
        for member in members:
            if len(words) == len(member):
                found += sum(a != b for a, b in zip(words, member, strict=True)) == 1
            elif abs(len(words) - len(member)) == 1:
                short, long = sorted((words, member), key=len)
                found += short in (long[1:], long[:-1])
    return found


def main() -> None:
    seconds = {}
    for number in (20_000, 200_000):
        candidates = made_up(number, seed=0)
        members = [StrategicGram(tuple(each.gram.split()), Move.BRANCHING) for each in candidates[:SET]]
        started = time.process_time()
        found = propose_missed(members, candidates, limit=200)
        seconds[number] = time.process_time() - started
        print(f"{number:,} candidates, {SET} grams: {seconds[number]:.2f} s, {len(found)} proposals")
        if number == 20_000:
            part = [tuple(each.gram.split()) for each in candidates[::SHARE_OF_PAIRS]]
            started = time.process_time()
            near_pairs([gram.words for gram in members], part)
            pairwise = (time.process_time() - started) * SHARE_OF_PAIRS
            print(f"every pair: {pairwise:.2f} s, {pairwise / seconds[number]:.1f} x")
    print(f"ten times the candidates: {seconds[200_000] / seconds[20_000]:.1f} x the time")


if __name__ == "__main__":
    main()
