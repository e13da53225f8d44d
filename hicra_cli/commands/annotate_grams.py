"""hicra annotate-grams"""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from hicra_cli.commands.options import DryRun, Force, Knob, Resume
from hicra_cli.commands.session import Report, Session
from hicra_cli.commands.stage import load_stage, open_for_plan, run_stage, show_plan, single_app
from hicra_cli.core.errors import UsageError
from hicra_cli.core.output import Table, View

if TYPE_CHECKING:
    from hicra_cli.grams.annotators.service import Estimate

KNOBS = (
    Knob("--annotator", "annotate.annotators"),
    Knob("--votes", "annotate.votes"),
    Knob("--candidates", "annotate.candidates"),
    Knob("--max-grams", "annotate.max_grams"),
    Knob("--model", "annotate.gemini.model"),
    Knob("--base-url", "annotate.gemini.base_url"),
    Knob("--max-cost", "annotate.service.max_cost"),
    Knob("--batch-size", "annotate.service.batch_size"),
    Knob("--concurrency", "annotate.service.concurrency"),
    Knob("--embedder", "annotate.cluster.embedder"),
    Knob("--name", "annotate.name"),
)
# Options that belong to whichever service is asked.
SERVICE_OPTIONS = {"--model": "annotate.openai.model", "--base-url": "annotate.openai.base_url"}


def annotate_grams(session: Session, dry_run: DryRun = False, force: Force = False, resume: Resume = False) -> Report:
    """Say which candidates are strategic, and which move they make.

    Reads candidates:NAME, writes annotations:NAME. `lexicon` (rules) and `cluster` (embeddings) work offline; `gemini`
    needs GEMINI_API_KEY or GOOGLE_API_KEY, `openai` an OpenAI-compatible server and, if that asks for one,
    OPENAI_API_KEY. --model and --base-url belong to the service that --annotator names.

    Several annotators, or --votes, give one combined annotation per gram; the single judgements, their agreement and
    the grams they disagree on are kept beside it. --dry-run shows requests, tokens, cost and the whole first prompt,
    and sends nothing.

    \b
    Examples:
      hicra annotate-grams
      hicra annotate-grams --annotator lexicon,cluster
      hicra annotate-grams --annotator gemini --votes 3 --max-cost 5 --dry-run
      hicra annotate-grams --annotator openai --base-url http://127.0.0.1:8000/v1 --model Qwen/Qwen3-4B
    """
    _address(session)
    if dry_run:
        return _forecast(session)
    return run_stage(session, dry_run=False, force=force, resume=resume)


app = single_app("annotate-grams", annotate_grams, KNOBS)


def _address(session: Session) -> None:
    """Give --model and --base-url to openai where that is the service asked; they are gemini's by default."""
    typed = [flag for _, _, flag in session.options if flag in SERVICE_OPTIONS]
    if not typed or "openai" not in session.config.annotate.annotators:
        return
    if "gemini" in session.config.annotate.annotators:
        raise UsageError(
            f"two services are asked, so {typed[0]} could mean either",
            fix="Use --set annotate.gemini.model=… and --set annotate.openai.model=… (or .base_url) instead",
        )
    from hicra_cli.config.load import load_config

    session.options = [(SERVICE_OPTIONS.get(flag, path), value, flag) for path, value, flag in session.options]
    session.resolved = load_config(session.files, settings=session.settings, options=session.options)


def _forecast(session: Session) -> Report:
    """The plan, and for each service what would be sent and what it would cost; nothing is sent."""
    from hicra_cli.stages.annotate_grams import estimates

    report = show_plan(load_stage(session.command), session.config)
    with open_for_plan(session.config.home) as registry:
        found = estimates(session.config, registry)
    if not found:
        return report
    data = {**report.data, "estimates": {name: asdict(each) for name, each in found.items()}}
    return replace(report, views=[*report.views, *_estimate_views(found)], data=data)


def _estimate_views(found: Mapping[str, "Estimate"]) -> list[View]:
    rows = [
        (name, str(each.requests), str(each.input_tokens), str(each.output_tokens), _dollars(each.cost))
        for name, each in found.items()
    ]
    table = Table(("service", "requests", "input tokens", "output tokens", "US dollars"), rows)
    note = "Estimates: about four characters a token, without a model's thoughts, nothing asked twice."
    prompts = [
        f"\nFirst request to {name}, all the text it sends:\n\n{each.first_prompt}" for name, each in found.items()
    ]
    return [table, note, *prompts]


def _dollars(cost: float | None) -> str:
    return "price unknown" if cost is None else f"{cost:.4f}"
