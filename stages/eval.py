"""eval: sample a policy on benchmarks, grade strictly, and say how sure the numbers are.

Writes `samples.jsonl` (a row per sample: bench, question, sample, seed, num_tokens, finish_reason, planning_tokens
where a gram-set is given, reward, outcome, answer, detail, lenient_reward, gold, prompt as the policy got it, text) and
`summary.json`. A question that does not fit into the model's context is a row of its own with outcome `error`:
counted, never dropped. Memory does not grow with the texts: rows lie in files, memory holds their places.
"""

from typing import Any

from hicra_cli.config.root import HicraConfig
from hicra_cli.core.artifact import Artifact
from hicra_cli.core.progress import Progress
from hicra_cli.core.registry import Registry
from hicra_cli.grading import GRADER_VERSION

from .base import Input, Plan, Stage, Work, Workspace, execute
from .eval_grading import Grading
from .eval_provenance import SHARD, about_benches, provenance, remember_engine
from .eval_questions import Exam, bench_settings, evaluation_name, read_exam, shard_name
from .eval_results import SUMMARY, headlines, publish_rows, read_summary, warn_of_trouble, write_summary
from .eval_sampling import sample_missing
from .gram_sets import resolve_gram_set
from .kept_lines import KeptLines
from .policies import resolve_policy
from .samples import SAMPLED, SAMPLES, Key, drop_working_files, key_of

PROMPT_FIELDS = {"system_prompt", "instruction", "chat_template", "template_options", "grader_timeout_s"}


def run(config: HicraConfig, registry: Registry, progress: Progress) -> Artifact:
    """Evaluate a policy, or return the evaluation that equal settings and inputs have given."""
    return execute(STAGE, config, registry, progress).artifact


def plan(config: HicraConfig, registry: Registry) -> Plan:
    """The policy, the gram-set, and which questions are asked how often."""
    inputs: dict[str, Input] = {"policy": resolve_policy(config.eval.policy, registry)}
    if config.eval.gram_set is not None:
        inputs["gram-set"] = resolve_gram_set(config.eval.gram_set, registry)
    exam = read_exam(config)
    settings: dict[str, Any] = {
        "name": evaluation_name(config, exam),
        "bench": bench_settings(exam),
        "sampling": config.eval.sampling.model_dump(mode="json"),
        "pass_k": config.eval.pass_k,
        "task": config.task.model_dump(mode="json", include=PROMPT_FIELDS),
        "engine": config.engine.identity,
        "grader": GRADER_VERSION,
        "seed": config.seed,
    }
    details = {
        f"bench {bench.name}": f"{len(bench.prompts)} x {exam.samples[bench.name]}: {bench.source}"
        for bench in exam.benches
    }
    details["samples"] = str(len(exam.keys))
    if exam.shard is None:
        return Plan(settings["name"], inputs, settings, details)
    return Plan(shard_name(settings["name"], exam.shard), inputs, {**settings, SHARD: str(exam.shard)}, details)


def work(space: Workspace) -> Work:
    """Sample what is missing and grade it meanwhile, write the samples in order, then the summary from them."""
    exam = read_exam(space.config)
    for warning in (warning for bench in exam.whole for warning in bench.warnings):
        space.progress.warn(warning)
    if not (space.folder / SAMPLES).exists():
        _sample_and_grade(space, exam)
    if not (space.folder / SUMMARY).exists():
        about = about_benches(exam.benches, space)
        write_summary(space.folder, provenance(space, exam), about, space.plan.settings)
    summary = read_summary(space.folder)
    drop_working_files(space.folder)
    warn_of_trouble(summary, space.progress)
    return Work(headlines(summary))


STAGE = Stage("eval", "evaluation", "2", plan, work, resumable=True)


def _sample_and_grade(space: Workspace, exam: Exam) -> None:
    with KeptLines(space.folder / SAMPLED, key_of) as sampled:
        _report_found(sampled, space)
        with Grading(space.folder, sampled, exam.benches, space.config.task) as grading:
            grading.announce(key for key in exam.keys if key in sampled)
            if any(key not in sampled for key in exam.keys):
                remember_engine(space)
                sample_missing(space, exam, sampled, grading)
            grading.finish(space.progress)
            publish_rows(space.folder, exam.keys, sampled, grading.verdicts)


def _report_found(sampled: KeptLines[Key], space: Workspace) -> None:
    if sampled.torn:
        space.progress.warn("the last sample of the interrupted run was cut off in the middle; it is drawn again")
    if sampled.damaged:
        space.progress.warn(f"{sampled.damaged} samples of the interrupted run cannot be read; they are drawn again")
    if len(sampled):
        space.progress.note(f"{len(sampled)} samples of the interrupted run are kept")
