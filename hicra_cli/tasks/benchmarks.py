"""Benchmarks by name: questions with gold answers, from a folder of JSONL files or from the hub, or built in.

A benchmark's content is named by its sha256, so that scores over different data are never taken for comparable.
"""

import difflib
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from hicra_cli.core.errors import ConfigError, DataError
from hicra_cli.core.records import Prompt
from hicra_cli.grams.jsonl import json_lines
from hicra_cli.tasks.hub import hub_rows
from hicra_cli.tasks.problems import prompts_from

SUFFIXES = (".jsonl", ".jsonl.gz", ".jsonl.zst")
COUNTDOWN = "countdown"
COUNTDOWN_SAMPLES = 4


@dataclass(frozen=True, slots=True)
class Benchmark:
    """Questions to evaluate on. `kind` chooses grader and instruction; `source` is a path or a hub id."""

    name: str
    kind: Literal["maths", "countdown"]
    prompts: tuple[Prompt, ...]
    default_samples: int
    sha256: str
    source: str
    warnings: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The source without the folders of this machine."""
        return Path(self.source).name if self.source.endswith(SUFFIXES) else self.source


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of a benchmark: how many samples the paper takes, how many questions it has, where it lives."""

    samples: int
    questions: int
    hub: str | None = None
    split: str = "test"
    config: str | None = None
    patterns: tuple[str, ...] | None = None


KNOWN: Mapping[str, _Known] = {
    "aime24": _Known(32, 30, "Maxwell-Jia/AIME_2024", split="train"),
    "aime25": _Known(32, 30, "MathArena/aime_2025", split="train"),
    "amc23": _Known(4, 40, "math-ai/amc23"),
    "math500": _Known(1, 500, "HuggingFaceH4/MATH-500"),
    "minerva": _Known(1, 272, "math-ai/minervamath"),
    "olympiad": _Known(
        1, 675, "Hothan/OlympiadBench", "train", "OE_TO_maths_en_COMP", ("OE_TO_maths_en_COMP/*", "*.md")
    ),
    "gsm8k": _Known(1, 1319, "openai/gsm8k", config="main"),
    "amc22_23": _Known(4, 83, "AI-MO/aimo-validation-amc", split="train"),
    "hmmt_24_25": _Known(4, 196),
}


def load_benchmark(
    name: str,
    *,
    data_dir: Path | None,
    limit: int | None = None,
    countdown_questions: int = 512,
    countdown_numbers: Literal[3, 4] = 3,
) -> Benchmark:
    """A benchmark by name, by file (`FILE.jsonl`, also .gz and .zst), or the built-in `countdown`.

    A known name is looked for as DATA_DIR/NAME.jsonl and DATA_DIR/bench/NAME.jsonl, then on the hub. `limit` keeps the
    first questions. Raises ConfigError for an unknown name, DataError for malformed data, ServiceError where the hub
    would be needed and cannot be reached.
    """
    if name == COUNTDOWN:
        bench = _countdown(countdown_questions, countdown_numbers)
    elif name.endswith(SUFFIXES):
        bench = _from_file(_file_name(name), Path(name), samples=1)
    elif name in KNOWN:
        bench = _known(name, data_dir)
    else:
        raise _unknown(name)
    return bench if limit is None else replace(bench, prompts=bench.prompts[:limit])


def _countdown(questions: int, numbers: Literal[3, 4]) -> Benchmark:
    from hicra_cli.tasks.countdown import CountdownTask

    prompts = tuple(CountdownTask(numbers=numbers).held_out(questions))
    return Benchmark(COUNTDOWN, "countdown", prompts, COUNTDOWN_SAMPLES, _digest(prompts), "built in")


def _known(name: str, data_dir: Path | None) -> Benchmark:
    known = KNOWN[name]
    places = [] if data_dir is None else [data_dir, data_dir / "bench"]
    found = [path for place in places for suffix in SUFFIXES if (path := place / f"{name}{suffix}").is_file()]
    bench = _from_file(name, found[0], samples=known.samples) if found else _from_hub(name, known, data_dir)
    if len(bench.prompts) == known.questions:
        return bench
    note = f"{name} has {len(bench.prompts)} questions here, the published set has {known.questions}: {bench.source}"
    return replace(bench, warnings=(note,))


def _from_file(name: str, path: Path, *, samples: int) -> Benchmark:
    prompts = tuple(prompts_from(json_lines(path), prefix=name))
    if not prompts:
        raise DataError("the benchmark has no question", where=str(path))
    with path.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    return Benchmark(name, "maths", prompts, samples, sha256, str(path))


def _from_hub(name: str, known: _Known, data_dir: Path | None) -> Benchmark:
    remedy = f"Put {name}.jsonl (fields problem, answer) into a folder and give it with --data-dir or HICRA_DATA_DIR"
    looked = "" if data_dir is None else f" is not in {data_dir} and"
    if known.hub is None:
        raise ConfigError(f"the benchmark {name}{looked} has no source on the hub", fix=remedy)
    patterns = None if known.patterns is None else list(known.patterns)
    rows = hub_rows(known.hub, split=known.split, config=known.config, patterns=patterns, remedy=remedy)
    prompts = tuple(prompts_from(rows, prefix=name))
    return Benchmark(name, "maths", prompts, known.samples, _digest(prompts), known.hub)


def _file_name(name: str) -> str:
    """A benchmark name from a file's: `My Questions.v2.jsonl` is `my-questions.v2`."""
    stem = Path(name).name
    for suffix in SUFFIXES:
        stem = stem.removesuffix(suffix)
    return re.sub(r"[^a-z0-9._-]+", "-", stem.lower()).strip("-.") or "file"


def _digest(prompts: tuple[Prompt, ...]) -> str:
    rows: list[Any] = [(each.id, each.text, each.answer, dict(each.metadata)) for each in prompts]
    return hashlib.sha256(json.dumps(rows, ensure_ascii=False, sort_keys=True).encode()).hexdigest()


def _unknown(name: str) -> ConfigError:
    names = [COUNTDOWN, *KNOWN]
    close = difflib.get_close_matches(name.lower(), names, n=1)
    hint = f"Did you mean {close[0]}?" if close else f"Known: {', '.join(names)}."
    return ConfigError(
        f"there is no benchmark {name!r}", where="eval.bench", fix=f"{hint} A file's name must end in .jsonl"
    )
