"""What an evaluation would ask and cost, before anything is sampled: prompts as the policy gets them, tokens, and time.

Tokens are counted; of responses only the most they can have is known. Time is told only where it was measured, by
`measure_speed`, which loads the model and samples a full batch for a moment.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby, islice
from pathlib import Path

from hicra_cli.config.root import HicraConfig
from hicra_cli.core.records import Rollout

from .eval_questions import Exam, read_exam
from .eval_sampling import Question, context_of, missing_questions

PROBE_TOKENS = 64


@dataclass(frozen=True, slots=True)
class BenchPreview:
    """A benchmark. prompt_tokens: of all its questions, each once. response_tokens: the most all samples can have."""

    name: str
    questions: int
    samples: int
    prompt_tokens: int
    longest_prompt: int
    response_tokens: int
    too_long: int
    example: str


@dataclass(frozen=True, slots=True)
class MeasuredSpeed:
    """How fast a full batch was sampled. rows: responses together."""

    rows: int
    tokens: int
    seconds: float

    @property
    def tokens_per_s(self) -> float:
        return self.tokens / max(self.seconds, 1e-9)


def preview(config: HicraConfig, policy: Path) -> list[BenchPreview]:
    """The benchmarks in the order of the queue. Raises what reading benchmarks and templating prompts raise."""
    exam = read_exam(config)
    context = context_of(policy, config)
    questions = _questions(config, exam, policy)
    return [
        _bench_preview(name, list(group), exam, config.eval.sampling.max_new_tokens, context)
        for name, group in groupby(questions, key=lambda each: each.name[0])
    ]


def measure_speed(config: HicraConfig, policy: Path) -> MeasuredSpeed | None:
    """Sample the first rows of the queue for a few tokens. Loading the model is not counted. None: nothing to ask."""
    from hicra_cli.engine.base import Draws
    from hicra_cli.engine.factory import build_engine, set_threads

    set_threads(config)
    asked = [each for each in _questions(config, read_exam(config), policy) if not each.obstacle]
    rows = config.engine.concurrency if config.engine.name == "openai" else config.engine.max_rows
    requests = list(islice((each.request for each in asked), rows))
    if not requests:
        return None
    share = -(-rows // len(requests))
    requests = [replace(each, samples=each.samples[:share]) for each in requests]
    sampling = config.eval.sampling.model_copy(update={"max_new_tokens": PROBE_TOKENS})
    tokens: list[int] = []

    def count(rollout: Rollout) -> None:
        tokens.append(len(rollout.token_ids))

    longest = max(len(each.token_ids) for each in requests)
    with build_engine(config, policy, sampling=sampling, longest_prompt=longest) as engine:
        started = time.monotonic()
        engine.generate(requests, sampling, Draws(config.seed, "probe"), on_rollout=count, keep=False)
        seconds = time.monotonic() - started
    return MeasuredSpeed(len(tokens), sum(tokens), seconds)


def _questions(config: HicraConfig, exam: Exam, policy: Path) -> list[Question]:
    from hicra_cli.engine.policy import load_tokenizer

    return missing_questions(exam, load_tokenizer(policy), policy, frozenset(), config)


def _bench_preview(
    name: str, questions: Sequence[Question], exam: Exam, max_new_tokens: int, context: int
) -> BenchPreview:
    lengths = [len(each.request.token_ids) for each in questions]
    fitting = [len(each.request.token_ids) for each in questions if not each.obstacle]
    samples = exam.samples[name]
    return BenchPreview(
        name=name,
        questions=len(questions),
        samples=samples,
        prompt_tokens=sum(lengths),
        longest_prompt=max(lengths),
        response_tokens=samples * sum(min(max_new_tokens, context - length) for length in fitting),
        too_long=len(questions) - len(fitting),
        example=questions[0].text,
    )
