"""Grade and summarise many samples in a process of its own: python -m tests.stages.eval_memory_process FOLDER QUESTIONS

Prints one JSON line: samples, bytes of their log, main memory before and at the peak, seconds of each phase.
"""

import json
import sys
import time
from itertools import pairwise
from pathlib import Path

from hicra_cli.config.task import TaskConfig
from hicra_cli.core.progress import SilentProgress
from hicra_cli.core.records import Prompt
from hicra_cli.core.resident import peak_resident_bytes
from hicra_cli.stages.eval_grading import Grading
from hicra_cli.stages.eval_results import publish_rows, read_summary, write_summary
from hicra_cli.stages.kept_lines import KeptLines
from hicra_cli.stages.samples import SAMPLED, drop_working_files, key_of
from hicra_cli.tasks.benchmarks import Benchmark

SAMPLES = 50
TEXT = "Let x be the number of apples. " * 100


def main() -> None:
    folder, questions = Path(sys.argv[1]), int(sys.argv[2])
    prompts = tuple(
        Prompt(f"many/{number:05d}", f"What is {number} + 1?", str(number + 1)) for number in range(questions)
    )
    bench = Benchmark("many", "maths", prompts, SAMPLES, "", "")
    keys = [(bench.name, prompt.id, sample) for prompt in prompts for sample in range(SAMPLES)]
    clock = [time.monotonic()]
    with KeptLines(folder / SAMPLED, key_of) as sampled:
        warm_up(folder, sampled, bench)
        before = peak_resident_bytes()
        for place, key in enumerate(reversed(keys)):
            if key not in sampled:
                sampled.add(row(key, place))
        log_bytes = (folder / SAMPLED).stat().st_size
        clock.append(time.monotonic())
        with Grading(folder, sampled, [bench], TaskConfig(kind="maths", train_data=["none.jsonl"])) as grading:
            grading.announce(keys)
            grading.finish(SilentProgress())
            clock.append(time.monotonic())
            publish_rows(folder, keys, sampled, grading.verdicts)
    clock.append(time.monotonic())
    write_summary(folder, {}, {"many": {}}, {"bench": {"many": {"doubtful": {}}}, "pass_k": []})
    clock.append(time.monotonic())
    drop_working_files(folder)
    phases = ("sample", "grade", "write", "summarise")
    seconds = {name: later - earlier for name, (earlier, later) in zip(phases, pairwise(clock), strict=True)}
    figures = {"samples": len(keys), "log_bytes": log_bytes, "before": before, "peak": peak_resident_bytes()}
    print(json.dumps({**figures, "average": read_summary(folder)["bench"]["many"]["average"], "seconds": seconds}))


def warm_up(folder: Path, sampled: KeptLines[tuple[str, str, int]], bench: Benchmark) -> None:
    """Load what is loaded at the first use, so that it does not count as growth."""
    sampled.add(row((bench.name, bench.prompts[0].id, 0), 0))
    with Grading(folder, sampled, [bench], TaskConfig(kind="maths", train_data=["none.jsonl"])) as grading:
        grading.announce([(bench.name, bench.prompts[0].id, 0)])
        grading.finish(SilentProgress())


def row(key: tuple[str, str, int], place: int) -> dict[str, object]:
    bench, question, sample = key
    answer = int(question.rpartition("/")[2]) + 1 + sample % 2  # every second sample is wrong
    return {
        "bench": bench,
        "question": question,
        "sample": sample,
        "seed": place,
        "prompt": TEXT[:200],
        "num_tokens": 700,
        "finish_reason": "stop",
        "text": f"{TEXT}So the answer is \\boxed{{{answer}}}.",
    }


if __name__ == "__main__":
    main()
