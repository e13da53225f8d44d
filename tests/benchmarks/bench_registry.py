"""Publications per second, alone and contended: `python -m tests.benchmarks.bench_registry`.

Prints one JSON line. A publication here is one file of a few bytes, so this measures the durable steps (fsync, rename,
transaction), not copying. `contended_ratio` is contended ÷ alone; `gap_free` says that every version was given once.
"""

import json
import multiprocessing
import tempfile
import time
from pathlib import Path

from hicra_cli.core.registry import Registry

PROCESSES = 16
EACH = 25


def publish(home: Path, count: int) -> None:
    """Publishes `count` small artifacts of one name."""
    with Registry.open(home) as registry:
        for number in range(count):
            draft = registry.begin("policy", "nano")
            (draft.path / "config.json").write_text(f"{draft.id} {number}")
            draft.publish()


def rate_of(home: Path, *, processes: int, each: int) -> float:
    """Publications per second of all processes together, from their start to the end of the last."""
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=publish, args=(home, each)) for _ in range(processes)]
    start = time.perf_counter()
    for child in children:
        child.start()
    for child in children:
        child.join()
    return processes * each / (time.perf_counter() - start)


def main() -> None:
    """Measures and prints."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        alone = rate_of(home, processes=1, each=EACH * 4)
        contended = rate_of(home, processes=PROCESSES, each=EACH)
        with Registry.open(home) as registry:
            versions = sorted(artifact.version for artifact in registry.list())
    result = {
        "publications_per_second_alone": round(alone, 1),
        "publications_per_second_contended": round(contended, 1),
        "contended_ratio": round(contended / alone, 2),
        "gap_free": versions == list(range(1, EACH * 4 + PROCESSES * EACH + 1)),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
