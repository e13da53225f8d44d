"""How fast n-grams are counted, in how much memory, and how that grows; every comparison in one run, as a ratio.

    python -m tests.benchmarks.bench_counting --rollouts FOLDER [--sizes 10,100,1000] [--memory 1GB] [--folder TMP]

First the correct solutions of `longcot_gsm8k_math.jsonl.gz`: words per second of CPU from texts to counts, beside
scikit-learn's CountVectorizer on the same texts (it counts occurrences in solutions only; no problems, no groups, no
maths left out). Then corpora of so many megabytes, written to a temporary folder: sentences of all rollouts, every
other one continued after a common word as another sentence goes on, so that new n-grams keep coming as in real text.
Each is counted in a process of its own, reading the file included, under --memory and with none to spare; the digests
must be equal. Memory is the sum of resident sets of that process and its children, every 20 ms, shared pages counted
in each.
"""

import argparse
import gzip
import hashlib
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from hicra_cli.config.collect import CollectConfig
from hicra_cli.grams.counting import Solution, count_grams
from hicra_cli.text.words import segments

LONGCOT = "longcot_gsm8k_math.jsonl.gz"
MODULE = "tests.benchmarks.bench_counting"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rollouts", type=Path, help="folder of real rollouts")
    parser.add_argument("--sizes", default="10,100,1000", help="megabytes of the corpora")
    parser.add_argument("--memory", default="1GB", help="limit under which each corpus is counted once more")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="where the corpora go and stay; by default nowhere")
    parser.add_argument("--skip-sklearn", action="store_true")
    parser.add_argument("--count", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.count is not None:
        print(json.dumps(count_file(arguments.count, memory=arguments.memory, workers=arguments.workers)))
        return
    compare_with_sklearn(arguments.rollouts, skip=arguments.skip_sklearn)
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        for size in (int(each) for each in arguments.sizes.split(",") if each):
            corpus = folder / f"{size}.jsonl"
            if not corpus.exists():
                write_corpus(corpus, arguments.rollouts, size_bytes=size * 10**6)
            grow(corpus, limits=[(arguments.memory, arguments.workers), (arguments.memory, 1), ("100GB", 1)])


def compare_with_sklearn(rollouts: Path, *, skip: bool) -> None:
    """Words per second on one core, the fastest of three."""
    rows = [row for row in read_lines(rollouts / LONGCOT) if row["correct"]]
    solutions = [Solution(row["problem"], row["response"], row["model"], row["step"]) for row in rows]
    words = sum(len(run) for each in solutions for run in segments(each.text))
    config = CollectConfig(workers=1)
    seconds = min(cpu_seconds(lambda: count_grams(solutions, config)) for _ in range(3))
    print(f"{LONGCOT}: {len(solutions)} solutions, {words} words; {words / seconds / 1e6:.2f} M words/s of CPU")
    if skip:
        return
    from sklearn.feature_extraction.text import CountVectorizer  # type: ignore[import-untyped]

    texts = [each.text for each in solutions]
    theirs = cpu_seconds(lambda: CountVectorizer(ngram_range=(3, 5)).fit_transform(texts))
    print(
        f"CountVectorizer(ngram_range=(3, 5)) / count_grams: {theirs:.1f} s / {seconds:.2f} s = {theirs / seconds:.1f}"
    )


def grow(corpus: Path, *, limits: list[tuple[str, int]]) -> None:
    """Count one corpus under each (memory, workers)."""
    digests = set()
    for memory, workers in limits:
        found, peak = watched(
            [sys.executable, "-m", MODULE, "--count", str(corpus), "--memory", memory, "--workers", str(workers)]
        )
        digests.add(found["digest"])
        print(
            f"{corpus.stem:>5} MB, memory {memory:>5}, {workers} workers: {found['words'] / 1e6:6.1f} M words, "
            f"{found['distinct_grams'] / 1e6:6.1f} M grams, {found['cpu_s']:6.1f} s CPU, {found['wall_s']:6.1f} s, "
            f"{found['words'] / found['cpu_s'] / 1e6:.2f} M words/s of CPU, peak {peak / 10**6:.0f} MB",
            flush=True,
        )
    print(f"{corpus.stem:>5} MB: results {'equal' if len(digests) == 1 else 'DIFFER'}")


def count_file(corpus: Path, *, memory: str, workers: int) -> dict[str, Any]:
    """Count a corpus in this process; CPU seconds include reading it and all workers."""
    config = CollectConfig.model_validate({"memory": memory, "workers": workers})
    started = time.perf_counter()
    counts = count_grams(read_corpus(corpus), config, scratch=corpus.parent)
    wall_s = time.perf_counter() - started
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    digest = hashlib.blake2b(repr(replace(counts, candidates=())).encode(), digest_size=16)
    for candidate in counts.candidates:
        digest.update(repr(candidate).encode())
    return {
        "digest": digest.hexdigest(),
        "words": counts.words,
        "distinct_grams": counts.distinct_grams,
        "wall_s": wall_s,
        "cpu_s": sum(each.ru_utime + each.ru_stime for each in usage),
    }


def watched(command: list[str]) -> tuple[dict[str, Any], int]:
    """What a command prints, and the peak of the resident sets of it and its children, in bytes."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    peak = 0
    while process.poll() is None:
        peak = max(peak, sum(resident(each) for each in [process.pid, *children_of(process.pid)]))
        time.sleep(0.02)
    assert process.stdout is not None
    return json.loads(process.stdout.read()), peak


def resident(process: int) -> int:
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:  # it has just ended
        return 0


def children_of(process: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{process}/task").glob("*/children"):
        try:
            found += [int(child) for child in task.read_text().split()]
        except OSError:
            continue
    return found


def write_corpus(path: Path, rollouts: Path, *, size_bytes: int) -> None:
    """Solutions of 20 to 60 sentences from 4 policies and 5 steps, some 8 for each problem."""
    rng = random.Random(0)
    sentences = [part for text in texts_of(rollouts) for part in text.split("\n") if part.strip()]
    crossings = Crossings(sentences, rng)
    written = 0
    with open(path, "w", encoding="utf-8") as stream:
        for number in range(1 << 40):
            text = "\n".join(crossings.sentence() for _ in range(rng.randint(20, 60)))
            row = [f"problem {number // 8}", text, f"policy {number % 4}", rng.randrange(5)]
            stream.write(json.dumps(row, ensure_ascii=False) + "\n")
            written += len(text.encode())
            if written >= size_bytes:
                return


class Crossings:
    """Sentences, every other one of which goes on after some word as another sentence with that word does."""

    def __init__(self, sentences: list[str], rng: random.Random) -> None:
        self._sentences = sentences
        self._rng = rng
        self._places: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for number, sentence in enumerate(sentences):
            words = sentence.split(" ")
            at = rng.randrange(len(words))
            self._places[words[at]].append((number, sum(len(word) + 1 for word in words[: at + 1])))

    def sentence(self) -> str:
        sentence = self._rng.choice(self._sentences)
        if self._rng.random() < 0.5:
            return sentence
        words = sentence.split(" ")
        at = self._rng.randrange(len(words))
        places = self._places.get(words[at])
        if not places:
            return sentence
        number, begin = self._rng.choice(places)
        return " ".join(words[: at + 1]) + " " + self._sentences[number][begin:]


def texts_of(rollouts: Path) -> Iterator[str]:
    for path in sorted(rollouts.glob("*.jsonl.gz")):
        for row in read_lines(path):
            yield row["response"]


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        for line in stream:
            yield json.loads(line)


def read_corpus(path: Path) -> Iterator[Solution]:
    with open(path, encoding="utf-8") as stream:
        for line in stream:
            yield Solution(*json.loads(line))


def cpu_seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


if __name__ == "__main__":
    main()
