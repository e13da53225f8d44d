"""hicra eval --probe-contamination: does the policy complete the benchmarks' questions by heart?"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from hicra_cli.commands.session import Report, Session
from hicra_cli.core.filesystem import storage_errors, write_durably
from hicra_cli.core.output import Table, View

if TYPE_CHECKING:
    from hicra_cli.stages.completion_probe import Completion, ProbeScores

COLUMNS = ("benchmark", "questions", "completed exactly", "95 % interval", "ROUGE-L", "95 % interval")
SHOWN = 5
TEXT_SHOWN = 300


def probe_policy(session: Session, *, output: Path | None = None) -> Report:
    """Give the policy the first 60 % of every question and measure how much of the rest it writes, greedily.

    output: a JSON file with the scores and every completion.
    """
    from hicra_cli.stages.completion_probe import probe_completions, probe_summary
    from hicra_cli.stages.eval_questions import read_exam
    from hicra_cli.stages.policies import resolve_policy

    benches = read_exam(session.config).benches
    reference = session.config.eval.policy
    with session.registry(create=True) as registry:
        policy = resolve_policy(reference, registry).path
    scores, completions = probe_completions(benches, policy, session.config, session.output)
    data = {"policy": reference, **probe_summary(scores), "completions": [asdict(each) for each in completions]}
    if output is not None:
        with storage_errors("writing the completions", output):
            write_durably(output, (json.dumps(data, indent=1) + "\n").encode())
    return Report(
        views=_views(scores, completions, output),
        metrics={
            f"probe/{name}/{key}": value
            for name, each in scores.items()
            for key, value in (("exact_fraction", each.exact.mean), ("rouge_l", each.rouge.mean))
        },
        data=data,
    )


def _views(scores: "Mapping[str, ProbeScores]", completions: "Sequence[Completion]", output: Path | None) -> list[View]:
    rows = [
        (
            name,
            f"{each.questions:,}",
            f"{100 * each.exact.mean:.1f}%",
            f"[{100 * each.exact.low:.1f}, {100 * each.exact.high:.1f}]",
            f"{each.rouge.mean:.3f}",
            f"[{each.rouge.low:.3f}, {each.rouge.high:.3f}]",
        )
        for name, each in scores.items()
    ]
    views: list[View] = [
        Table(COLUMNS, rows, title="Questions completed from their first 60 %, greedily"),
        "Some words can be guessed: compare with a benchmark made after the policy was trained (aime25, hmmt_24_25).",
    ]
    left_out = sum(each.left_out for each in scores.values())
    if left_out:
        views.append(f"{left_out:,} questions are too short to be cut and are left out.")
    best = sorted(completions, key=lambda each: (not each.exact, -each.rouge))[:SHOWN]
    for each in best:
        name = each.question if each.question.startswith(f"{each.bench}/") else f"{each.bench} {each.question}"
        verdict = "exact" if each.exact else f"ROUGE-L {each.rouge:.2f}"
        views += ["", f"── {name} · {verdict}", f"   hidden   {_line(each.rest)}"]
        views.append(f"   written  {_line(each.written)}")
    if output is not None:
        views += ["", f"Every completion was written to {output}"]
    return views


def _line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= TEXT_SHOWN else f"{line[:TEXT_SHOWN]} …"
