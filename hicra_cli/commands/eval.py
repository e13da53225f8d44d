"""hicra eval"""

from hicra_cli.commands.options import COMPUTE_KNOBS, DryRun, Force, Knob, Resume
from hicra_cli.commands.session import Report, Session
from hicra_cli.commands.stage import run_stage, single_app

KNOBS = (
    Knob("--bench", "eval.bench"),
    Knob("--policy", "eval.policy"),
    Knob("--samples", "eval.samples"),
    Knob("--pass-k", "eval.pass_k"),
    Knob("--limit", "eval.limit"),
    Knob("--data-dir", "data_dir"),
    Knob("--temperature", "eval.sampling.temperature"),
    Knob("--top-p", "eval.sampling.top_p"),
    Knob("--max-new-tokens", "eval.sampling.max_new_tokens"),
    Knob("--gram-set", "eval.gram_set"),
    Knob("--name", "eval.name"),
    *COMPUTE_KNOBS,
)


def evaluate(session: Session, dry_run: DryRun = False, force: Force = False, resume: Resume = False) -> Report:
    """Grade a policy on benchmarks: avg@k and pass@k with 95 % intervals, strict boxed answers.

    Reads a policy and benchmarks (countdown is built in; others come from --data-dir, HICRA_DATA_DIR or the hub),
    writes evaluation:NAME with one record per sample.

    \b
    Examples:
      hicra eval
      hicra eval --bench aime24,amc23 --data-dir data --policy ./model
      hicra eval --bench my-questions.jsonl --samples 8
    """
    return run_stage(session, dry_run=dry_run, force=force, resume=resume)


app = single_app("eval", evaluate, KNOBS)
