"""hicra annotate-grams"""

from hicra_cli.commands.options import DryRun, Force, Knob, Resume
from hicra_cli.commands.session import Report, Session
from hicra_cli.commands.stage import run_stage, single_app

KNOBS = (
    Knob("--annotator", "annotate.annotators"),
    Knob("--candidates", "annotate.candidates"),
    Knob("--max-grams", "annotate.max_grams"),
    Knob("--model", "annotate.gemini.model"),
    Knob("--base-url", "annotate.gemini.base_url"),
    Knob("--batch-size", "annotate.service.batch_size"),
    Knob("--concurrency", "annotate.service.concurrency"),
    Knob("--name", "annotate.name"),
)


def annotate_grams(session: Session, dry_run: DryRun = False, force: Force = False, resume: Resume = False) -> Report:
    """Say which candidates are strategic, and which move they make.

    Reads candidates:NAME, writes annotations:NAME. `lexicon` works offline; `gemini` asks Google's API and needs
    GEMINI_API_KEY or GOOGLE_API_KEY.

    \b
    Examples:
      hicra annotate-grams
      hicra annotate-grams --annotator gemini --candidates candidates:default@v2
    """
    return run_stage(session, dry_run=dry_run, force=force, resume=resume)


app = single_app("annotate-grams", annotate_grams, KNOBS)
