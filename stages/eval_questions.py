"""Which questions an evaluation asks, how often, and what it is called: from configuration to benchmarks.

A shard i/n has the questions at places i - 1, i - 1 + n, … of every benchmark. What a sample is drawn with depends on
its question and number only, so the shards of an evaluation hold the very samples of the whole.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hicra_cli.config.root import HicraConfig
from hicra_cli.core.errors import ConfigError
from hicra_cli.tasks.benchmarks import Benchmark, expand, load_benchmark

from .samples import Key

NAME_LENGTH = 64


@dataclass(frozen=True, slots=True)
class Shard:
    """Part `number` (from 1) of `count`."""

    number: int
    count: int

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


@dataclass(frozen=True, slots=True)
class Exam:
    """What is asked. whole: the benchmarks as they are; benches: this shard's part of them, without empty ones."""

    whole: tuple[Benchmark, ...]
    benches: tuple[Benchmark, ...]
    samples: Mapping[str, int]
    shard: Shard | None

    @property
    def keys(self) -> list[Key]:
        """Every sample in its canonical order: benchmarks, questions, samples."""
        return [
            (bench.name, prompt.id, sample)
            for bench in self.benches
            for prompt in bench.prompts
            for sample in range(self.samples[bench.name])
        ]


def read_exam(config: HicraConfig) -> Exam:
    """The configured benchmarks. Raises ConfigError for settings that make no sense, DataError for malformed data."""
    if not config.eval.bench:
        raise ConfigError("no benchmark is given", where="eval.bench", fix="hicra eval --bench aime24")
    whole = tuple(_load(name, config) for name in expand(config.eval.bench))
    names = [bench.name for bench in whole]
    if len(set(names)) < len(names):
        raise ConfigError(f"two benchmarks have the same name: {', '.join(names)}", where="eval.bench")
    samples = {bench.name: config.eval.samples or bench.default_samples for bench in whole}
    _check_pass_k(config.eval.pass_k, samples)
    shard = _shard(config.eval.shard)
    if shard is None:
        return Exam(whole, whole, samples, None)
    parts = [replace(bench, prompts=bench.prompts[shard.number - 1 :: shard.count]) for bench in whole]
    benches = tuple(bench for bench in parts if bench.prompts)
    if not benches:
        longest = max(len(bench.prompts) for bench in whole)
        raise ConfigError(
            f"shard {shard} has no question: the longest benchmark has {longest}",
            where="eval.shard",
            fix=f"Use at most {longest} shards",
        )
    return Exam(whole, benches, samples, shard)


def evaluation_name(config: HicraConfig, exam: Exam) -> str:
    """The configured name, or one made of policy and benchmarks."""
    if config.eval.name is not None:
        return config.eval.name
    policy = config.eval.policy.removeprefix("policy:").rstrip("/").rpartition("/")[2]
    # A group of benchmarks by its own name: six together would be cut.
    names = dict(zip(expand(config.eval.bench), (each.name for each in exam.whole), strict=True))
    text = "-".join([policy, *(names.get(each, each) for each in dict.fromkeys(config.eval.bench))]).lower()
    return re.sub(r"[^a-z0-9._-]+", "-", text).strip("-._")[:NAME_LENGTH].rstrip("-._") or "evaluation"


def shard_name(name: str, shard: Shard) -> str:
    """The name of a shard's own artifact."""
    suffix = f".shard-{shard.number}-of-{shard.count}"
    return name[: NAME_LENGTH - len(suffix)].rstrip("-._") + suffix


def bench_settings(exam: Exam) -> dict[str, Any]:
    """What of the benchmarks decides the samples and their scores; of the whole ones, also for a shard."""
    return {
        bench.name: {
            "sha256": bench.sha256,
            "instruction": bench.instruction,
            "doubtful": {question: doubt.corrected for question, doubt in sorted(bench.doubtful.items())},
            "questions": len(bench.prompts),
            "samples": exam.samples[bench.name],
        }
        for bench in exam.whole
    }


def _load(name: str, config: HicraConfig) -> Benchmark:
    return load_benchmark(
        name,
        data_dir=config.data_dir,
        limit=config.eval.limit,
        fields=config.eval.fields,
        split=config.eval.split,
        accept_other_data=config.eval.accept_other_data,
        countdown_questions=config.eval.countdown_questions,
        countdown_numbers=config.task.numbers,
    )


def _check_pass_k(ks: Sequence[int], samples: Mapping[str, int]) -> None:
    for name, count in samples.items():
        too_many = [k for k in ks if k > count]
        if too_many or any(k < 1 for k in ks):
            raise ConfigError(
                f"pass@{max(too_many, default=0)} cannot be estimated from {count} samples of {name}",
                where="eval.pass_k",
                fix="Raise --samples",
            )


def _shard(text: str | None) -> Shard | None:
    if text is None:
        return None
    number, _, count = text.partition("/")
    shard = Shard(int(number), int(count))
    if shard.number > shard.count:
        raise ConfigError(f"there is no shard {shard}", where="eval.shard", fix=f"Give 1/{count} to {count}/{count}")
    return shard
