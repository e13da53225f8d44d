"""Trainings in processes of their own that end at a chosen place: by a signal to themselves at the n-th time there.

The product has no hooks for this: the process wraps functions of the modules before it trains. Processes are forked
from a server that has imported everything, so that each takes a second.
"""

import json
import multiprocessing
import os
import signal
import sys
from pathlib import Path

from hicra_cli.config.root import HicraConfig
from hicra_cli.core.errors import HicraError
from hicra_cli.core.progress import SilentProgress

PATIENCE_S = 120

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.stages.killed_training", "hicra_cli.stages.train.run", "transformers"])


def train(config: HicraConfig, place: str = "", nth: int = 1, number: int = signal.SIGKILL, *, then: str = "") -> int:
    """Train or resume in a process that gets the signal at the n-th time at `place`; returns its exit code.

    then: a place where it gets the signal too, the first time.
    """
    process = _context.Process(target=_train, args=(config.model_dump_json(), place, nth, int(number), then))
    process.start()
    process.join(PATIENCE_S)
    assert process.exitcode is not None, f"the training that was to end at {place} still runs"
    return process.exitcode


def _train(config_json: str, place: str, nth: int, number: int, then: str) -> None:
    from hicra_cli.core.registry import Registry
    from hicra_cli.stages.base import execute
    from hicra_cli.stages.train.run import STAGE

    sys.stderr = open(os.devnull, "w")  # noqa: SIM115 (until the process ends)
    config = HicraConfig.model_validate_json(config_json)
    if place:
        PLACES[place](_Signal(nth, number))
    if then:
        PLACES[then](_Signal(1, number))
    with Registry.open(config.home) as registry:
        try:
            execute(STAGE, config, registry, SilentProgress(), resume=True)
        except HicraError as error:
            Path(config.home, "said.json").write_text(json.dumps([error.what, error.fix]))
            os._exit(error.exit_code)
    os._exit(0)


class _Signal:
    def __init__(self, nth: int, number: int) -> None:
        self._left, self._number = nth, number

    def __call__(self) -> None:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), self._number)


def _before(owner, name, arrive, only=lambda *_, **__: True):
    inner = getattr(owner, name)

    def wrapped(*args, **kwargs):
        if only(*args, **kwargs):
            arrive()
        return inner(*args, **kwargs)

    setattr(owner, name, wrapped)


def _after(owner, name, arrive, only=lambda *_, **__: True):
    inner = getattr(owner, name)

    def wrapped(*args, **kwargs):
        result = inner(*args, **kwargs)
        if only(*args, **kwargs):
            arrive()
        return result

    setattr(owner, name, wrapped)


def _in_sampling(arrive):
    from hicra_cli.stages.train.live import LiveView

    _after(LiveView, "tell", arrive, lambda _, activity: activity.startswith("generate 3/"))


def _in_grading(arrive):
    from hicra_cli.tasks.countdown import CountdownTask

    _before(CountdownTask, "verdicts", arrive)


def _in_backward(arrive):
    import torch

    _after(torch.Tensor, "backward", arrive)


def _in_optimizer(arrive):
    import torch

    _after(torch.optim.AdamW, "step", arrive)


def _in_publish_to_engine(arrive):
    from hicra_cli.engine.transformers_engine import TransformersEngine

    _after(TransformersEngine, "update_weights", arrive)


def _in_evaluation(arrive):
    from hicra_cli.stages.train.live import LiveView

    _after(LiveView, "tell", arrive, lambda _, activity: activity.startswith("evaluate 3/"))


def _in_rollouts(arrive):
    from hicra_cli.stages.train import store

    _after(store.pq, "write_table", arrive)


def _in_record(arrive):
    from hicra_cli.stages.train import run

    whole = run.append_step

    def torn(folder, record):
        line = json.dumps(record)
        with (folder / "steps.jsonl").open("a") as stream:
            size = stream.tell()
            stream.write(line[: len(line) // 2])
        arrive()
        os.truncate(folder / "steps.jsonl", size)
        whole(folder, record)

    run.append_step = torn


def _after_record(arrive):
    from hicra_cli.stages.train import run

    _after(run, "append_step", arrive)


def _in_policy(arrive):
    from hicra_cli.stages.train import policies

    _after(policies, "write_policy", arrive)


def _after_policy(arrive):
    from hicra_cli.stages.train import run

    _after(run, "publish_policy", arrive)


def _in_checkpoint(arrive):
    from hicra_cli.rl import checkpoint

    _after(checkpoint, "save_file", arrive)


def _in_pruning(arrive):
    from hicra_cli.stages.train import state

    _before(state, "prune_checkpoints", arrive)


def _in_final_publication(arrive):
    from hicra_cli.core.registry import Draft

    _before(Draft, "publish", arrive, lambda draft, **_: draft.kind == "training")


def _in_final_move(arrive):
    from hicra_cli.core import publishing

    _after(publishing, "_place", arrive, lambda publication: publication.draft.kind == "training")


def _in_final_rows(arrive):
    from hicra_cli.core import publishing

    _after(
        publishing,
        "_record_all",
        arrive,
        lambda _, __, publications, *___, **____: publications[0].draft.kind == "training",
    )


PLACES = {
    "sampling": _in_sampling,
    "grading": _in_grading,
    "backward": _in_backward,
    "optimizer step": _in_optimizer,
    "weights to the engine": _in_publish_to_engine,
    "evaluation": _in_evaluation,
    "rollouts": _in_rollouts,
    "half a record": _in_record,
    "after the record": _after_record,
    "policy": _in_policy,
    "after the policy": _after_policy,
    "checkpoint": _in_checkpoint,
    "pruning": _in_pruning,
    "final publication": _in_final_publication,
    "files moved": _in_final_move,
    "rows of the registry": _in_final_rows,
}
