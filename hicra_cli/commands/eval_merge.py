"""hicra eval --merge: the shards of a job array as one evaluation."""

from collections.abc import Sequence

from hicra_cli.commands.session import Report, Session
from hicra_cli.commands.stage import executed


def merge_evaluations(session: Session, references: Sequence[str], *, force: bool) -> Report:
    """Join all shards of an evaluation; the result has the bytes and the cache key of the whole."""
    from hicra_cli.stages.eval_merge import merge_stage

    with session.registry() as registry:
        return executed(merge_stage(references), session, registry, force=force, resume=False)
