"""A process of its own that works on a registry: `python -m tests.core.registry_worker HOME TASK [ARGUMENT …]`."""

import multiprocessing
import resource
import signal
import sys
import time
from pathlib import Path

from hicra_cli.core.errors import HicraError
from hicra_cli.core.registry import Registry

LARGE = 1 << 18


def race(home: Path, processes: str, each: str) -> None:
    """Forks processes that open the registry at the same instant and publish `each` artifacts of one name.

    Prints the versions; exit code 1 if any process failed.
    """
    context = multiprocessing.get_context("fork")
    start, versions = context.Barrier(int(processes)), context.Queue()

    def work() -> None:
        start.wait()
        with Registry.open(home) as registry:
            for number in range(int(each)):
                draft = registry.begin("policy", "nano")
                (draft.path / "model.safetensors").write_text(f"{draft.id} {number}")
                versions.put(draft.publish(aliases=["last"]).version)

    children = [context.Process(target=work) for _ in range(int(processes))]
    for child in children:
        child.start()
    for _ in range(int(processes) * int(each)):
        print(versions.get(timeout=60))
    for child in children:
        child.join()
    sys.exit(int(any(child.exitcode for child in children)))


def publish_one(home: Path) -> None:
    """One publication with lineage, alias, summary and key, into a registry that has its first artifact."""
    with Registry.open(home) as registry:
        source = registry.resolve("policy:first")
        draft = registry.begin("training", "killed", key="k" * 64, resume=True)
        (draft.path / "rollouts").mkdir(exist_ok=True)
        (draft.path / "steps.jsonl").write_text('{"step": 1}\n')
        (draft.path / "rollouts" / "step-000001.parquet").write_bytes(b"rows")
        draft.publish(inputs=[(source, "policy")], aliases=["last"], summary={"steps": 1})


def import_bundle(home: Path, bundle: str) -> None:
    """Imports a bundle and prints the references."""
    with Registry.open(home) as registry:
        for artifact in registry.import_bundle(Path(bundle)):
            print(artifact.ref)


def hold(home: Path) -> None:
    """Begins a draft, says so, and holds it until killed."""
    with Registry.open(home) as registry:
        draft = registry.begin("training", "held", key="h" * 64)
        (draft.path / "steps.jsonl").write_text('{"step": 1}\n')
        registry.start_run("train", ["hicra", "train"], {}, {})
        print(draft.id, flush=True)
        time.sleep(600)


def short_of_room(home: Path, limit: str) -> None:
    """Publishes under a limit of the size of any one file: what needs more fails as on a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with Registry.open(home) as registry:
        draft = registry.begin("policy", "large")
        (draft.path / "model.safetensors").write_bytes(bytes(LARGE))
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), resource.RLIM_INFINITY))
        print(draft.publish().ref)


if __name__ == "__main__":
    tasks = (race, publish_one, import_bundle, hold, short_of_room)
    try:
        {task.__name__: task for task in tasks}[sys.argv[2]](Path(sys.argv[1]), *sys.argv[3:])
    except HicraError as failure:
        print(f"{type(failure).__name__}: {failure}", file=sys.stderr)
        sys.exit(failure.exit_code)
