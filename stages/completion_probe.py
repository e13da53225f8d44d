"""Does a policy know a benchmark's questions by heart? It gets the beginning of each and completes it greedily.

A policy that has seen a question word for word completes it; one that has not may be near by chance, so a benchmark
made after the policy is the comparison. The beginning is given as plain text, without chat template and instruction,
cut between words. Source: arXiv 2507.10532 (ROUGE-L and exact match of partial-prompt completions).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hicra_cli.config.root import HicraConfig
from hicra_cli.core.progress import Progress
from hicra_cli.core.records import Prompt, Rollout
from hicra_cli.metrics.intervals import Interval, accuracy_interval
from hicra_cli.metrics.rouge import rouge_l
from hicra_cli.tasks.benchmarks import Benchmark
from hicra_cli.text.question_words import question_words

SHOWN_FRACTION = 0.6
LONGEST_REST = 1024
LEAST_WORDS = 8
BENCH = "bench"


@dataclass(frozen=True, slots=True)
class Completion:
    """A question's hidden rest and what the policy wrote in its place, cut to as many tokens.

    rouge: ROUGE-L of their words, layout and case left out. exact: all words, numbers and signs are the same.
    """

    bench: str
    question: str
    rest: str
    written: str
    rouge: float
    exact: bool


@dataclass(frozen=True, slots=True)
class ProbeScores:
    """Of one benchmark: the share of questions completed exactly and the mean ROUGE-L, over the questions asked.

    left_out: questions too short to be cut.
    """

    questions: int
    left_out: int
    exact: Interval
    rouge: Interval


def probe_completions(
    benches: Sequence[Benchmark],
    policy: Path,
    config: HicraConfig,
    progress: Progress,
    *,
    shown: float = SHOWN_FRACTION,
) -> tuple[dict[str, ProbeScores], list[Completion]]:
    """Scores by benchmark, and every completion in the order of the questions. shown: share of the words that is given.

    Raises EngineError and ConfigError as sampling does.
    """
    from hicra_cli.engine.base import Draws, Request
    from hicra_cli.engine.factory import build_engine, set_threads
    from hicra_cli.engine.policy import load_tokenizer

    set_threads(config)
    tokenizer = load_tokenizer(policy)
    questions = [_named(prompt, bench.name) for bench in benches for prompt in bench.prompts]
    asked = [(each, *parts) for each in questions if (parts := halves(each.text, shown=shown)) is not None]
    scores: dict[str, ProbeScores] = {}
    if not asked:
        return scores, []
    begins = _token_ids([begin for _, begin, _ in asked], tokenizer, begin=True)
    rests = [ids[:LONGEST_REST] for ids in _token_ids([rest for _, _, rest in asked], tokenizer)]
    greedy = config.eval.sampling.model_copy(
        update={"temperature": 0.0, "top_p": 1.0, "top_k": 0, "max_new_tokens": max(map(len, rests))}
    )
    requests = [
        Request(prompt, np.array(ids, dtype=np.int32), (0,)) for (prompt, _, _), ids in zip(asked, begins, strict=True)
    ]
    with (
        build_engine(config, policy, sampling=greedy, longest_prompt=max(map(len, begins))) as engine,
        progress.phase("complete questions", len(requests)) as advance,
    ):
        rollouts = engine.generate(requests, greedy, Draws(config.seed, "probe"), on_rollout=lambda _: advance())
    completions = [
        _judged(rollout, tokenizer.decode(ids, skip_special_tokens=True), len(ids), tokenizer)
        for rollout, ids in zip(rollouts, rests, strict=True)
    ]
    for bench in benches:
        own = [each for each in completions if each.bench == bench.name]
        if own:
            scores[bench.name] = _scores(own, left_out=len(bench.prompts) - len(own))
    return scores, completions


def halves(text: str, *, shown: float) -> tuple[str, str] | None:
    """What is given and what is hidden, cut before a word; None for a text of fewer than LEAST_WORDS words."""
    words = text.split(" ")
    if len(words) < LEAST_WORDS:
        return None
    cut = min(len(words) - 1, max(1, math.floor(shown * len(words))))
    # The blank goes with the rest: tokens of words begin with it.
    return " ".join(words[:cut]), f" {' '.join(words[cut:])}"


def probe_summary(scores: Mapping[str, ProbeScores], *, shown: float = SHOWN_FRACTION) -> dict[str, Any]:
    """The scores for a report or a summary file."""
    return {
        "shown_fraction": shown,
        "bench": {
            name: {
                "questions": each.questions,
                "left_out": each.left_out,
                "exact": each.exact.mean,
                "exact_interval": _ends(each.exact),
                "rouge_l": each.rouge.mean,
                "rouge_l_interval": _ends(each.rouge),
            }
            for name, each in scores.items()
        },
    }


def _named(prompt: Prompt, bench: str) -> Prompt:
    return replace(prompt, metadata={**prompt.metadata, BENCH: bench})


def _token_ids(texts: Sequence[str], tokenizer: Any, *, begin: bool = False) -> list[list[int]]:
    """begin: as a text begins for this tokenizer; its end is never marked."""
    ids: list[list[int]] = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    first = tokenizer("", add_special_tokens=True)["input_ids"][:1] if begin else []
    return [[*(first if first == [tokenizer.bos_token_id] else ()), *each] for each in ids]


def _judged(rollout: Rollout, rest: str, num_tokens: int, tokenizer: Any) -> Completion:
    written = tokenizer.decode(rollout.token_ids[:num_tokens].tolist(), skip_special_tokens=True)
    words, hidden = question_words(written), question_words(rest)
    return Completion(
        bench=rollout.prompt.metadata[BENCH],
        question=rollout.prompt.id,
        rest=rest,
        written=written,
        rouge=rouge_l(words.exact, hidden.exact),
        exact=bool(hidden.exact) and words.exact == hidden.exact,
    )


def _scores(completions: Sequence[Completion], *, left_out: int) -> ProbeScores:
    exact = np.array([[float(each.exact)] for each in completions])
    rouge = np.array([[each.rouge] for each in completions])
    return ProbeScores(len(completions), left_out, accuracy_interval(exact), accuracy_interval(rouge))


def _ends(interval: Interval) -> list[float | None]:
    return [None if math.isnan(end) else end for end in (interval.low, interval.high)]
