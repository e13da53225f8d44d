"""The scores of one benchmark, gathered sample by sample: numbers are kept, texts are not.

Samples may come in any order. What is said of k samples (avg@k, pass@k, maj@k, pass^k) is first said of each question
and then averaged over questions, so every score has an interval clustered by question.
"""

import hashlib
import math
from array import array
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np

from hicra_cli.core.errors import RunError
from hicra_cli.core.records import FinishReason, Outcome
from hicra_cli.grading import normal_form
from hicra_cli.metrics.bootstrap import bootstrap_interval
from hicra_cli.metrics.intervals import Interval, accuracy_interval
from hicra_cli.metrics.majority import majority_at_k
from hicra_cli.metrics.passk import pass_at_k, pass_hat_k

ASKED = (FinishReason.STOP.value, FinishReason.LENGTH.value)
WITHOUT_ANSWER = (Outcome.NO_ANSWER.value, Outcome.UNCLOSED.value, Outcome.TRUNCATED.value)
_SILENT, _RIGHT = 0, 1  # classes of answers; all others are digests above 1


@dataclass(slots=True)
class _Question:
    """What is kept of a question's samples: one number each in the order they came."""

    rewards: "array[float]" = field(default_factory=lambda: array("d"))
    lenient: "array[float]" = field(default_factory=lambda: array("d"))
    corrected: "array[float]" = field(default_factory=lambda: array("d"))
    answers: "array[int]" = field(default_factory=lambda: array("Q"))
    samples: set[int] = field(default_factory=set)
    gold: int | None = None
    asked: bool = False

    @property
    def num_right(self) -> int:
        return sum(reward > 0 for reward in self.rewards)

    def classes(self) -> tuple[list[tuple[int, float]], int]:
        """(votes, score) of each distinct answer, and how many samples have none."""
        votes = Counter(self.answers)
        silent = votes.pop(_SILENT, 0)
        return [(count, float(answer == _RIGHT)) for answer, count in votes.items()], silent


@dataclass(slots=True)
class _Lengths:
    """Tokens of some samples."""

    count: int = 0
    tokens: int = 0

    def add(self, tokens: int) -> None:
        self.count += 1
        self.tokens += tokens

    @property
    def mean(self) -> float | None:
        return self.tokens / self.count if self.count else None


class BenchScores:
    """Gathers the rows of `samples.jsonl` of one benchmark. Memory: some 100 bytes per sample, whatever its text.

    spelling: one spelling for equal answers, by which wrong answers are counted as votes in maj@k; all right answers
    are one. doubtful: questions whose gold is in doubt. Their rows may carry `corrected_reward`, the reward under a
    corrected gold; without it such a question is left out of the score that trusts no doubtful gold.
    """

    def __init__(
        self, *, doubtful: Mapping[str, Any] | Sequence[str] = (), spelling: Callable[[str], str] = normal_form
    ) -> None:
        self._spelling = spelling
        self._doubtful = frozenset(doubtful)
        self._questions: dict[str, _Question] = {}
        self._outcomes: Counter[str] = Counter()
        self._asked, self._right, self._wrong = _Lengths(), _Lengths(), _Lengths()
        self._cut = self._planning = self._lenient_rows = self._rows = 0
        self._knows_planning = False

    def add(self, row: Mapping[str, Any]) -> None:
        """One graded sample. RunError where it was added before, or its reward lies outside 0 to 1."""
        question = self._questions.setdefault(str(row["question"]), _Question())
        reward, right = float(row["reward"]), row["reward"] > 0
        if not 0 <= reward <= 1:
            raise RunError(f"a reward of {reward:g} is no share of a question: scores are means of rewards from 0 to 1")
        if "sample" in row:
            if int(row["sample"]) in question.samples:
                raise RunError(f"sample {row['sample']} of question {row['question']} is there twice")
            question.samples.add(int(row["sample"]))
        question.rewards.append(reward)
        question.lenient.append(float(row.get("lenient_reward", reward)))
        if "corrected_reward" in row:
            question.corrected.append(float(row["corrected_reward"]))
        question.answers.append(_RIGHT if right else self._wrong_class(row.get("answer")))
        if row.get("gold") is not None:
            question.gold = _digest(_published(row["gold"]))
        self._rows += 1
        self._lenient_rows += "lenient_reward" in row
        self._outcomes[str(row["outcome"])] += 1
        if row["finish_reason"] in ASKED:
            question.asked = True
            self._add_response(row, right)

    def _wrong_class(self, answer: object) -> int:
        """Wrong answers that are one answer have one class; a right one is the gold's, however it is written."""
        return _SILENT if answer is None else _digest(self._spelling(str(answer))) | 2

    def _add_response(self, row: Mapping[str, Any], right: bool) -> None:
        tokens = int(row["num_tokens"])
        self._asked.add(tokens)
        (self._right if right else self._wrong).add(tokens)
        self._cut += row["finish_reason"] == FinishReason.LENGTH.value
        if "planning_tokens" in row:
            self._knows_planning = True
            self._planning += int(row["planning_tokens"])

    @property
    def questions(self) -> list[str]:
        """The questions' ids, sorted: what is computed does not depend on the order of the rows."""
        return sorted(self._questions)

    @property
    def samples(self) -> int:
        """Samples per question. RunError where questions differ in it: a missing sample is never counted as wrong."""
        counts = {len(each.rewards) for each in self._questions.values()}
        if len(counts) != 1:
            raise RunError(
                f"the questions have between {min(counts)} and {max(counts)} samples"
                if counts
                else "there is no sample",
                fix="Samples are missing: finish the evaluation with --resume",
            )
        return counts.pop()

    @property
    def means(self) -> dict[str, Fraction]:
        """Each question's mean reward, exact."""
        return {name: _exact_mean(self._questions[name].rewards) for name in self.questions}

    @property
    def golds(self) -> dict[str, int]:
        """A digest of each question's gold answer, where rows tell it."""
        return {name: gold for name in self.questions if (gold := self._questions[name].gold) is not None}

    @property
    def interval(self) -> Interval:
        """avg@k with its 95 % interval."""
        return self._interval(lambda question: math.fsum(question.rewards) / len(question.rewards))

    @property
    def num_right(self) -> list[int]:
        """Right samples of each question."""
        return [self._questions[name].num_right for name in self.questions]

    @property
    def outcomes(self) -> dict[str, int]:
        """How many samples had which outcome."""
        return {outcome.value: self._outcomes[outcome.value] for outcome in Outcome}

    @property
    def mean_tokens(self) -> float | None:
        """Mean length of the responses; None where no question was asked."""
        return self._asked.mean

    @property
    def truncated_fraction(self) -> float:
        """Share of the responses that the token limit cut."""
        return self._cut / self._asked.count if self._asked.count else 0.0

    def figures(self, ks: Sequence[int] = ()) -> dict[str, Any]:
        """Everything `summary.json` says of a benchmark's samples; values that do not exist are None.

        ks: by default the powers of two up to the number of samples. Raises RunError where samples are missing.
        """
        samples = self.samples
        interval = self.interval
        bootstrap = bootstrap_interval([float(mean) for mean in self.means.values()])
        unasked = sum(not each.asked for each in self._questions.values())
        return {
            "questions": len(self._questions),
            "samples": samples,
            **_ends(interval),
            "bootstrap": {"low": bootstrap.low, "high": bootstrap.high, "resamples": bootstrap.resamples},
            **self._of_k(ks or powers_of_two(samples)),
            "lenient": _ends(self._interval(lambda each: math.fsum(each.lenient) / len(each.lenient)))
            if self._lenient_rows
            else None,
            "doubtful": self._without_doubt(),
            "outcomes": self.outcomes,
            "no_answer_fraction": sum(self._outcomes[each] for each in WITHOUT_ANSWER) / self._rows,
            "truncated_fraction": self.truncated_fraction,
            "mean_tokens": self.mean_tokens,
            "mean_tokens_right": self._right.mean,
            "mean_tokens_wrong": self._wrong.mean,
            "planning_fraction": self._planning / self._asked.tokens
            if self._knows_planning and self._asked.tokens
            else None,
            "prompts_too_long": unasked,
            "prompts_too_long_samples": self._rows - self._asked.count,
        }

    def _of_k(self, ks: Sequence[int]) -> dict[str, Any]:
        """pass@k, maj@k and pass^k, and under `intervals` their [low, high]."""
        found = {
            name: {str(k): self._interval(partial(of_k, k=k)) for k in ks}
            for name, of_k in (("pass_at_k", _pass_at_k), ("maj_at_k", _maj_at_k), ("pass_hat_k", _pass_hat_k))
        }
        means = {name: {k: _known(each.mean) for k, each in by_k.items()} for name, by_k in found.items()}
        ends = {
            name: {k: [_known(each.low), _known(each.high)] for k, each in by_k.items()} for name, by_k in found.items()
        }
        return {**means, "intervals": ends}

    def _without_doubt(self) -> dict[str, Any] | None:
        """The score that trusts no doubtful gold: under corrected ones, without the questions that have none."""
        doubted = [name for name in self.questions if name in self._doubtful or self._questions[name].corrected]
        if not doubted:
            return None
        kept = [
            math.fsum(values) / len(values)
            for name in self.questions
            if (values := self._questions[name].corrected if name in doubted else self._questions[name].rewards)
        ]
        left_out = len(self._questions) - len(kept)
        ends = _ends(_interval_of(kept)) if kept else dict.fromkeys(("average", "low", "high"))
        return {"questions": len(doubted), "left_out": left_out, **ends}

    def _interval(self, score: Callable[[_Question], float]) -> Interval:
        return _interval_of([score(self._questions[name]) for name in self.questions])


def powers_of_two(limit: int) -> list[int]:
    """1, 2, 4, … up to `limit`."""
    return [1 << power for power in range(limit.bit_length())]


def _pass_at_k(question: _Question, *, k: int) -> float:
    return pass_at_k(len(question.rewards), question.num_right, k)


def _maj_at_k(question: _Question, *, k: int) -> float:
    return majority_at_k(*question.classes(), k)


def _pass_hat_k(question: _Question, *, k: int) -> float:
    return pass_hat_k(len(question.rewards), question.num_right, k)


def _interval_of(scores: Sequence[float]) -> Interval:
    """nan throughout where a score is unknown (k beyond the samples)."""
    if any(math.isnan(each) for each in scores):
        return Interval(math.nan, math.nan, math.nan, len(scores))
    return accuracy_interval(np.array(scores, dtype=np.float64)[:, None])


def _ends(interval: Interval) -> dict[str, Any]:
    return {"average": interval.mean, "low": _known(interval.low), "high": _known(interval.high)}


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _exact_mean(rewards: Sequence[float]) -> Fraction:
    return sum(map(Fraction, rewards), Fraction(0)) / len(rewards)


def _published(gold: object) -> str:
    """The first of several golds: a copy of the data with alternatives has the questions of one without."""
    return str(gold[0] if isinstance(gold, list) and gold else gold)


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
