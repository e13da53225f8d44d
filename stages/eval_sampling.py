"""Draw what an evaluation does not have yet: all samples of all benchmarks in one queue of the engine.

One queue, because each end of a queue leaves rows idle: simulated with log-normal lengths of the paper's sets and 256
rows, one queue takes 1.1 times the ideal and a queue per benchmark 2.1 times. Benchmarks whose responses are long come
first (the other way round 1.15 times): what is left at the end is then short. A question that does not fit into the
model's context becomes rows of its own with the reason.
"""

import time
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hicra_cli.config.root import HicraConfig
from hicra_cli.config.task import TaskConfig
from hicra_cli.core.records import FinishReason, Rollout
from hicra_cli.core.seeds import seed_for
from hicra_cli.tasks.benchmarks import Benchmark
from hicra_cli.tasks.prompts import rendered, tells_the_date

from .base import Workspace
from .eval_grading import NOT_SAMPLED, Grading
from .eval_questions import Exam
from .gram_sets import load_gram_set
from .kept_lines import KeptLines, Row
from .samples import Key

PURPOSE = "eval"
# From the longest responses to the shortest, as reasoning models give them; a set that is not named may be long too.
LONG_FIRST = ("hmmt_24_25", "aime25", "aime24", "olympiad", "amc22_23", "amc23", "minerva", "math500", "gsm8k")
BENCH = "bench"

Planning = Callable[[Rollout], int] | None


@dataclass(frozen=True, slots=True)
class Question:
    """A question as the policy gets it: a `Request`'s prompt, whose metadata names the benchmark, and the exact text.

    missing: the samples that are still to be drawn. obstacle: why it cannot be asked.
    """

    request: Any
    text: str
    obstacle: str = ""

    @property
    def name(self) -> tuple[str, str]:
        return self.request.prompt.metadata[BENCH], self.request.prompt.id


@dataclass(slots=True)
class Speed:
    """What this process has sampled. It goes into the log and the run's metrics: an artifact knows no clock."""

    responses: int = 0
    tokens: int = 0
    started: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        return max(time.monotonic() - self.started, 1e-9)

    def add(self, rollout: Rollout) -> str:
        """Count a response; the rate so far as text."""
        self.responses += 1
        self.tokens += len(rollout.token_ids)
        return f"{self.tokens / self.seconds:,.0f} tokens/s"


def sample_missing(space: Workspace, exam: Exam, sampled: KeptLines[Key], grading: Grading) -> None:
    """Draw every sample that is not there yet; as soon as one is finished it is kept, then announced to the grader."""
    from hicra_cli.engine.factory import set_threads
    from hicra_cli.engine.policy import load_tokenizer

    path = space.plan.inputs["policy"].path
    set_threads(space.config)
    tokenizer = load_tokenizer(path)
    questions = missing_questions(exam, tokenizer, path, sampled, space.config)
    if tells_the_date(tokenizer, space.config.task):
        space.progress.warn(
            "the chat template writes today's date into every prompt, so a run on another day samples other responses; "
            "task.template_options.date_string fixes it"
        )
    for question in (each for each in questions if each.obstacle):
        for row in _obstacle_rows(question):
            sampled.add(row)
        grading.announce(_keys_of(question))
    asked = [each for each in questions if not each.obstacle]
    if asked:
        _generate(space, asked, sampled, grading, _planning_counter(space, tokenizer))


def missing_questions(
    exam: Exam, tokenizer: Any, policy: Path, sampled: Container[object], config: HicraConfig
) -> list[Question]:
    """The questions of which samples are missing, templated, those of benchmarks with long responses first."""
    context = context_of(policy, config)
    questions: list[Question] = []
    for bench in sorted(exam.benches, key=_place_in_queue):
        missing = {
            prompt.id: tuple(
                sample for sample in range(exam.samples[bench.name]) if (bench.name, prompt.id, sample) not in sampled
            )
            for prompt in bench.prompts
        }
        questions += _questions(bench, missing, tokenizer, config.task, context)
    return questions


def bench_task(bench: Benchmark, task: TaskConfig) -> TaskConfig:
    """How this benchmark's questions are put: with its own instruction where it has one."""
    return task if bench.instruction is None else task.model_copy(update={"instruction": bench.instruction})


def context_of(policy: Path, config: HicraConfig) -> int:
    """Tokens that prompt and response together may have."""
    from hicra_cli.engine.policy import read_context

    chosen = None if config.engine.name == "transformers" else config.engine.max_model_len
    return min(read_context(policy), chosen or 1 << 30)


def sample_row(rollout: Rollout, prompt_text: str, seed: int, planning: Planning) -> Row:
    """What is kept of a response."""
    row: Row = {
        "bench": rollout.prompt.metadata[BENCH],
        "question": rollout.prompt.id,
        "sample": rollout.sample,
        "seed": seed_for(seed, PURPOSE, prompt=rollout.prompt.id, sample=rollout.sample),
        "prompt": prompt_text,
        "num_tokens": len(rollout.token_ids),
        "finish_reason": rollout.finish_reason.value,
        "text": rollout.text,
    }
    return row if planning is None else {**row, "planning_tokens": planning(rollout)}


def _place_in_queue(bench: Benchmark) -> int:
    if bench.kind == "countdown":
        return len(LONG_FIRST)
    return LONG_FIRST.index(bench.name) if bench.name in LONG_FIRST else -1


def _questions(
    bench: Benchmark, missing: dict[str, tuple[int, ...]], tokenizer: Any, task: TaskConfig, context: int
) -> list[Question]:
    from hicra_cli.engine.base import Request

    prompts = [
        replace(each, metadata={**each.metadata, BENCH: bench.name}) for each in bench.prompts if missing[each.id]
    ]
    questions = []
    texts = rendered(prompts, tokenizer, bench_task(bench, task), instruct=bench.kind == "maths")
    for prompt, given in zip(prompts, texts, strict=True):
        length = len(given.token_ids)
        obstacle = f"the prompt has {length} tokens, the context {context}" if length >= context else ""
        questions.append(Question(Request(prompt, given.token_ids, missing[prompt.id]), given.text, obstacle))
    return questions


def _planning_counter(space: Workspace, tokenizer: Any) -> Planning:
    """Counts the planning tokens of a rollout under the gram-set, where one is given."""
    if "gram-set" not in space.plan.inputs:
        return None
    from hicra_cli.grams.matcher import PlanningMatcher

    matcher = PlanningMatcher(load_gram_set(space.plan.inputs["gram-set"]), tokenizer)
    return lambda rollout: int(
        matcher.planning_mask(rollout.token_ids, truncated=rollout.finish_reason is FinishReason.LENGTH).sum()
    )


def _generate(
    space: Workspace, asked: Sequence[Question], sampled: KeptLines[Key], grading: Grading, planning: Planning
) -> None:
    from hicra_cli.engine.base import Draws
    from hicra_cli.engine.factory import build_engine

    config = space.config
    texts = {each.name: each.text for each in asked}
    benches = list(dict.fromkeys(bench for bench, _ in texts))
    label = f"sample {', '.join(benches) if len(benches) <= 3 else f'{len(benches)} benchmarks'}"
    total = sum(len(each.request.samples) for each in asked)
    longest = max(len(each.request.token_ids) for each in asked)
    policy = space.plan.inputs["policy"].path
    with (
        build_engine(config, policy, sampling=config.eval.sampling, longest_prompt=longest) as engine,
        space.progress.phase(label, total) as advance,
    ):
        speed = Speed()

        def keep(rollout: Rollout) -> None:
            bench, question = rollout.prompt.metadata[BENCH], rollout.prompt.id
            sampled.add(sample_row(rollout, texts[bench, question], config.seed, planning))
            grading.announce([(bench, question, rollout.sample)])
            advance(status=speed.add(rollout))

        requests = [each.request for each in asked]
        engine.generate(requests, config.eval.sampling, Draws(config.seed, PURPOSE), on_rollout=keep, keep=False)
    for remark in getattr(engine, "remarks", ()):  # of a server that was asked: what it did not tell or know
        space.progress.warn(remark)
    _report_speed(space, speed)


def _keys_of(question: Question) -> list[Key]:
    return [(*question.name, sample) for sample in question.request.samples]


def _obstacle_rows(question: Question) -> list[Row]:
    """Rows of a question that the policy was never given: counted, never dropped."""
    return [
        {
            "bench": bench,
            "question": name,
            "sample": sample,
            "seed": None,
            "prompt": question.text,
            "num_tokens": 0,
            "finish_reason": NOT_SAMPLED,
            "text": "",
            "obstacle": question.obstacle,
        }
        for bench, name, sample in _keys_of(question)
    ]


def _report_speed(space: Workspace, speed: Speed) -> None:
    rate = speed.tokens / speed.seconds
    drawn = f"{speed.responses:,} responses with {speed.tokens:,} tokens"
    space.progress.note(f"sampled {drawn} in {speed.seconds:,.1f} s: {rate:,.0f} tokens/s")
    space.registry.add_metrics(
        space.run_id,
        {
            "sample/responses": speed.responses,
            "sample/tokens": speed.tokens,
            "time/sample_s": speed.seconds,
            "sample/tokens_per_s": rate,
        },
    )
