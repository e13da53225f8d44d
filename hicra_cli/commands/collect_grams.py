"""hicra collect-grams"""

from hicra_cli.commands.options import COMPUTE_KNOBS, DryRun, Force, Knob, Resume
from hicra_cli.commands.session import Report, Session
from hicra_cli.commands.stage import run_stage, single_app

KNOBS = (
    Knob("--rollouts", "collect.rollouts"),
    Knob("--field", "collect.fields"),
    Knob("--policy", "collect.policies"),
    Knob("--training", "collect.training"),
    Knob("--points", "collect.points"),
    Knob("--num-prompts", "collect.num_prompts"),
    Knob("--samples", "collect.samples"),
    Knob("--temperature", "collect.sampling.temperature"),
    Knob("--max-new-tokens", "collect.sampling.max_new_tokens"),
    Knob("--successful-only", "collect.successful_only"),
    Knob("--unknown-is-success", "collect.unknown_is_success"),
    Knob("--ngram-min", "collect.ngram_min"),
    Knob("--ngram-max", "collect.ngram_max"),
    Knob("--min-df", "collect.min_document_frequency"),
    Knob("--document", "collect.document"),
    Knob("--drop-names", "collect.drop_names"),
    Knob("--merge-phrases", "collect.merge_phrases"),
    Knob("--rank-by", "collect.rank_by"),
    Knob("--balance", "collect.balance"),
    Knob("--max-candidates", "collect.max_candidates"),
    Knob("--memory", "collect.memory"),
    Knob("--workers", "collect.workers"),
    Knob("--name", "collect.name"),
    *COMPUTE_KNOBS,
)


def collect_grams(session: Session, dry_run: DryRun = False, force: Force = False, resume: Resume = False) -> Report:
    """Sample or read solutions, count the n-grams of successful ones and rank them.

    Reads policies to sample (by default the built-in model), checkpoints of a training, or existing rollouts: files,
    folders, data sets, artifacts. Writes candidates:NAME and, unless a rollouts artifact is read, rollouts:NAME.

    \b
    Examples:
      hicra collect-grams
      hicra collect-grams --training training:hicra --points 5
      hicra collect-grams --rollouts runs.jsonl.gz --field response=text --field gold=answer
      hicra collect-grams --rollouts rollouts:default --rank-by growth
    """
    return run_stage(session, dry_run=dry_run, force=force, resume=resume)


app = single_app("collect-grams", collect_grams, KNOBS)
