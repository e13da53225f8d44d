"""hicra eval --merge: the shards of a job array as one evaluation."""

from collections.abc import Sequence

from hicra_cli.commands.session import Report, Session
from hicra_cli.commands.stage import executed, show_plan


def merge_evaluations(session: Session, references: Sequence[str], *, force: bool, dry_run: bool = False) -> Report:
    """Join all shards of an evaluation; the result has the bytes and the cache key of the whole."""
    from hicra_cli.stages.eval_merge import merge_stage

    stage = merge_stage(references)
    if dry_run:
        return show_plan(stage, session.config)
    with session.registry() as registry:
        return executed(stage, session, registry, force=force, resume=False)
