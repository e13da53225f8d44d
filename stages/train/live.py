"""What a run shows while it goes on: a live view on a terminal, a line of status elsewhere."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hicra_cli.core.progress import Dashboard, Figure

TREND_STEPS = 60
PHASES = ("generate", "credit", "update", "publish")


class LiveView:
    """The figures of the newest step with the trends of those before; told by the loop and by the step's clock."""

    def __init__(self, dashboard: Dashboard, records: Sequence[Mapping[str, Any]]) -> None:
        self._dashboard = dashboard
        self._records: deque[Mapping[str, Any]] = deque(records[-TREND_STEPS:], maxlen=TREND_STEPS)
        self._evaluated = next((each for each in reversed(records) if "eval/accuracy" in each), None)
        if self._records:
            self._show()

    def see(self, record: Mapping[str, Any]) -> None:
        """A finished step."""
        self._records.append(record)
        if "eval/accuracy" in record:
            self._evaluated = record
        self._dashboard.advance(1, status=status(record))
        self._show()

    def tell(self, activity: str) -> None:
        """What the run is busy with."""
        self._dashboard.tell(activity)

    def count_rollouts(self, doing: str, total: int) -> Callable[[object], None]:
        """A callback for an engine: one more of `total` rollouts is finished."""
        done = 0

        def count(rollout: object) -> None:
            nonlocal done
            done += 1
            self.tell(f"{doing} {done}/{total} rollouts")

        return count

    def _show(self) -> None:
        self._dashboard.show(figures(list(self._records), self._evaluated))


def figures(records: Sequence[Mapping[str, Any]], evaluated: Mapping[str, Any] | None) -> list[Figure]:
    """What is shown after the last of `records`: the most telling first, for terminals of few lines.

    evaluated: the newest record with an evaluation inside the run.
    """
    now = records[-1]

    def figure(name: str, key: str, text: Callable[[float], str]) -> Figure:
        past = tuple(each[key] for each in records if each.get(key) is not None)
        value = now.get(key)
        return Figure(name, "-" if value is None else text(value), past)

    shown = [
        figure("reward", "reward/mean", "{:.3f}".format),
        figure("accuracy", "reward/accuracy", "{:.1%}".format),
        figure("length", "response/length_mean_tokens", "{:.0f} tokens".format),
        figure("cut at limit", "response/clipped_fraction", "{:.1%}".format),
        figure("planning", "hicra/planning_fraction", "{:.2%}".format),
        figure("H planning", "policy/token_entropy_planning_nats", "{:.3f} nats".format),
        figure("H execution", "policy/token_entropy_execution_nats", "{:.3f} nats".format),
        figure("no signal", "groups/no_signal_fraction", "{:.0%} of groups".format),
        figure("grad norm", "policy/grad_norm", "{:.3g}".format),
        figure("ratio p99", "policy/ratio_p99", "{:.3f}".format),
        Figure("alpha", f"{now['hicra/alpha']:.3g}"),
        Figure("learning rate", f"{now['policy/learning_rate']:.2g}"),
        figure("tokens/s", "time/tokens_per_s", "{:,.0f}".format),
        Figure("memory peak", f"{now['memory/peak_bytes'] / 2**30:.2f} GiB"),
    ]
    seconds = [(name, now.get(f"time/{name}_s")) for name in PHASES]
    shown += [Figure(f"{name} s", f"{value:.2f}") for name, value in seconds if value is not None]
    if evaluated is not None:
        low, high = evaluated["eval/low"], evaluated["eval/high"]
        interval = "" if low is None or high is None else f" ({low:.0%}-{high:.0%})"
        shown.insert(2, Figure("evaluation", f"{evaluated['eval/accuracy']:.1%}{interval} @{evaluated['step']}"))
    return shown


def status(record: Mapping[str, Any]) -> str:
    """A step in one line, for a log."""
    evaluation = f" · evaluation {record['eval/accuracy']:.1%}" if "eval/accuracy" in record else ""
    return (
        f"reward {record['reward/mean']:.3f} · {record['response/length_mean_tokens']:.0f} tokens · "
        f"planning {record['hicra/planning_fraction']:.1%} · {record['time/step_s']:.1f} s/step{evaluation}"
    )
