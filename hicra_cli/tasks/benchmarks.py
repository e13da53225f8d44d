"""Benchmarks: questions with gold answers, by name, from a file, a folder or the hub, or built in.

A known benchmark is checked against its published count and golds when it is loaded; a copy that differs is refused
unless the user accepts it. A benchmark's content is named by its sha256, so that scores over different data are never
taken for comparable.
"""

import difflib
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from hicra_cli.core.errors import ConfigError, DataError
from hicra_cli.core.records import Prompt
from hicra_cli.tasks.benchmark_rows import KnownRows, difference, gold_key, known_rows, question_key, rows_sha256
from hicra_cli.tasks.benchmark_specs import BenchmarkSpec, Doubt, HubSource, groups, known_names, known_spec, read_spec
from hicra_cli.tasks.hub import Settings, hub_files, hub_rows
from hicra_cli.tasks.problems import Fields, named_fields, prompts_from
from hicra_cli.tasks.sources import PARQUET, SUFFIXES, file_rows, folder_or_saved_rows

COUNTDOWN = "countdown"
COUNTDOWN_SAMPLES = 4
HUB = "hf:"

_FILES = (*SUFFIXES, PARQUET)
_SPECS = (".yaml", ".yml")
_HUB_ID = re.compile(r"hf:([\w.-]+/[\w.-]+?)(?::([\w.+-]+|\*))?(?:@([0-9a-f]{40}))?")
_GIVEN = Settings("eval.bench", "eval.split")
_SHOWN = 3  # questions that a warning names


@dataclass(frozen=True, slots=True)
class Benchmark:
    """Questions to evaluate on. `kind` chooses grader and instruction; `source` is a path or a hub id.

    sha256: of ids, questions and golds in their order. rows_sha256: of questions and golds alone, equal for every copy
    of a set. revision: the commit on the hub that was read. instruction: the sentence after each question, None for
    the configured one. doubtful: by question id, golds that are wrong or in doubt, to be scored both ways.
    """

    name: str
    kind: Literal["maths", "countdown"]
    prompts: tuple[Prompt, ...]
    default_samples: int
    sha256: str
    source: str
    warnings: tuple[str, ...] = ()
    rows_sha256: str = ""
    revision: str | None = None
    licence: str = "unknown"
    instruction: str | None = None
    doubtful: Mapping[str, Doubt] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The source without the folders of this machine."""
        return Path(self.source).name if self.source.endswith(_FILES) else self.source


def expand(names: Sequence[str]) -> list[str]:
    """Benchmarks in order, each once: `paper-text`, `aime` and `all` stand for several."""
    return list(dict.fromkeys(member for name in names for member in groups().get(name, (name,))))


def load_benchmark(
    name: str,
    *,
    data_dir: Path | None,
    limit: int | None = None,
    fields: Mapping[str, str] | None = None,
    split: str | None = None,
    accept_other_data: bool = False,
    countdown_questions: int = 512,
    countdown_numbers: Literal[3, 4] = 3,
) -> Benchmark:
    """A known benchmark, a file (JSONL, .gz, .zst, Parquet), a folder, `hf:OWNER/NAME[:SUBSET][@COMMIT]`, a benchmark's
    own YAML, or the built-in `countdown`.

    A known name is looked for as DATA_DIR/NAME.jsonl (or Parquet) and DATA_DIR/bench/NAME.jsonl, then on the hub.
    fields and split: how files, folders and hub ids are read. `limit` keeps the first questions. Raises ConfigError for
    an unknown name, DataError for malformed data and for a known benchmark that is not the published one, ServiceError
    where the hub would be needed and cannot be reached.
    """
    if name == COUNTDOWN:
        bench = _countdown(countdown_questions, countdown_numbers)
    elif name.endswith(_SPECS):
        spec = read_spec(Path(name).expanduser())
        bench = _of_spec(spec, _own_path(spec, Path(name).expanduser()), accept=accept_other_data)
    elif name in known_names():
        spec = known_spec(name)
        bench = _of_spec(spec, _local_copy(name, data_dir), accept=accept_other_data, looked_in=data_dir)
    else:
        bench = _unnamed(name, named_fields(fields or {}, where="eval.fields"), split)
    return bench if limit is None else _limited(bench, limit)


def _limited(bench: Benchmark, limit: int) -> Benchmark:
    prompts = bench.prompts[:limit]
    kept = {prompt.id: bench.doubtful[prompt.id] for prompt in prompts if prompt.id in bench.doubtful}
    return replace(bench, prompts=prompts, doubtful=kept)


def _countdown(questions: int, numbers: Literal[3, 4]) -> Benchmark:
    from hicra_cli.tasks.countdown import CountdownTask

    prompts = tuple(CountdownTask(numbers=numbers).held_out(questions))
    return Benchmark(
        COUNTDOWN,
        "countdown",
        prompts,
        COUNTDOWN_SAMPLES,
        _digest(prompts),
        "built in",
        rows_sha256=rows_sha256(prompts),
        licence="Apache-2.0",
    )


def _of_spec(spec: BenchmarkSpec, path: Path | None, *, accept: bool, looked_in: Path | None = None) -> Benchmark:
    """A described benchmark, read from its local copy or from the hub, and checked."""
    known = known_rows(spec.name)
    rows = _hub_rows(spec, looked_in) if path is None else _local_rows(path, spec)
    fields = named_fields(spec.fields, where=f"{spec.name}: fields", fallback=path is not None)
    prompts = tuple(prompts_from(rows, prefix=spec.name, fields=fields, rename=known.name_of, qualified=path is None))
    source = str(path) if path is not None else spec.hub.dataset if spec.hub is not None else ""
    bench = replace(
        _maths(spec.name, prompts, source),
        default_samples=spec.samples,
        revision=spec.hub.revision if path is None and spec.hub is not None else None,
        licence=spec.licence,
        instruction=spec.instruction,
        notes=tuple(spec.notes),
        doubtful=_doubtful(spec, prompts, known),
    )
    faults = list(_faults(spec, bench, known, pinned=bench.revision is not None))
    if faults and not accept:
        raise DataError(
            f"this copy of {spec.name} is not the published one: {'; '.join(faults)}",
            where=bench.source,
            fix="Get the published set, evaluate your own under a name of its own (--bench FILE), "
            "or set eval.accept_other_data to true",
        )
    warnings = [*faults, *_remarks(spec, bench, known)]
    return replace(bench, warnings=tuple(f"{spec.name}: {each}: {bench.source}" for each in warnings))


def _faults(spec: BenchmarkSpec, bench: Benchmark, known: KnownRows, *, pinned: bool) -> Iterable[str]:
    """What makes scores over this copy another benchmark's. A commit of the hub cannot change: there only the count."""
    if spec.questions and len(bench.prompts) not in spec.questions:
        published = " or ".join(str(count) for count in spec.questions)
        yield f"it has {len(bench.prompts)} questions, the published set has {published}"
    if not _is_published(spec, bench) and not pinned:
        others = difference(bench.prompts, known).other_golds if known.golds else ()
        if others or (spec.rows_sha256 and not known.golds):
            yield f"{_some(others)} of another set or with another gold" if others else "its digest is another one"


def _remarks(spec: BenchmarkSpec, bench: Benchmark, known: KnownRows) -> Iterable[str]:
    """What a reader of the score should know of this copy."""
    if not known.golds or _is_published(spec, bench):
        return
    found = difference(bench.prompts, known)
    if found.reworded and len(found.reworded) < len(bench.prompts):
        yield f"{_some(found.reworded)} worded otherwise than in the published set"
    if found.other_golds and bench.revision is not None:
        yield f"{_some(found.other_golds)} with another gold than in the copy this was checked with"
    if found.missing:
        yield f"without {_some(found.missing)}"


def _is_published(spec: BenchmarkSpec, bench: Benchmark) -> bool:
    return bench.rows_sha256 in spec.rows_sha256.values()


def _some(ids: Sequence[str]) -> str:
    shown = ", ".join(ids[:_SHOWN])
    return f"{len(ids)} question{'s' * (len(ids) > 1)} ({shown}{', …' * (len(ids) > _SHOWN)})"


def _doubtful(spec: BenchmarkSpec, prompts: Iterable[Prompt], known: KnownRows) -> dict[str, Doubt]:
    """The doubts about golds that this copy has: another copy may have corrected some."""
    doubts = {each.id: each for each in spec.doubtful}
    asked = [(prompt, doubts[prompt.id]) for prompt in prompts if prompt.id in doubts]
    return {doubt.id: doubt for prompt, doubt in asked if _is_doubted(prompt, doubt, known)}


def _is_doubted(prompt: Prompt, doubt: Doubt, known: KnownRows) -> bool:
    gold = gold_key(prompt.answer)
    if doubt.gold is not None:
        return gold == gold_key(doubt.gold)
    return known.golds.get(question_key(prompt.text), gold) == gold


def _local_copy(name: str, data_dir: Path | None) -> Path | None:
    places = [] if data_dir is None else [data_dir, data_dir / "bench"]
    found = [path for place in places for suffix in _FILES if (path := place / f"{name}{suffix}").is_file()]
    return found[0] if found else None


def _own_path(spec: BenchmarkSpec, yaml: Path) -> Path | None:
    """Where a user's benchmark lies, None for the hub. Raises ConfigError where its YAML names neither."""
    if spec.path is None and spec.hub is None:
        raise ConfigError("the benchmark has neither path nor hub", where=str(yaml), fix="Add one of them")
    return None if spec.path is None else yaml.parent / Path(spec.path).expanduser()


def _local_rows(path: Path, spec: BenchmarkSpec) -> Iterable[tuple[str, Mapping[str, Any]]]:
    if path.is_dir():
        return folder_or_saved_rows(path, split=spec.hub.split if spec.hub else "test", settings=_described(spec))
    return file_rows(path)


def _hub_rows(spec: BenchmarkSpec, looked_in: Path | None) -> Iterable[tuple[str, Mapping[str, Any]]]:
    """Rows of the pinned files, or of a split. Raises ConfigError for a set that is not on the hub."""
    remedy = (
        f"Put {spec.name}.jsonl (fields problem, answer) into a folder and give it with --data-dir or HICRA_DATA_DIR"
    )
    hub: HubSource | None = spec.hub
    if hub is None:
        looked = "" if looked_in is None else f" is not in {looked_in} and"
        raise ConfigError(f"the benchmark {spec.name}{looked} has no source on the hub", fix=remedy)
    if not hub.files or hub.revision is None:
        return hub_rows(
            hub.dataset,
            split=hub.split,
            config=hub.subset,
            revision=hub.revision,
            remedy=remedy,
            settings=_described(spec),
        )
    paths = hub_files(hub.dataset, hub.revision, hub.files, remedy=remedy)
    return (row for path in paths for row in file_rows(path))


def _described(spec: BenchmarkSpec) -> Settings:
    return Settings(f"hub.subset of {spec.name}", f"hub.split of {spec.name}")


def _unnamed(name: str, fields: Fields, split: str | None) -> Benchmark:
    """A file, a folder or a data set of the hub, read by the user's field names."""
    path = Path(name).expanduser()
    if name.endswith(_FILES):
        return _maths(
            _slug(path.name), tuple(prompts_from(file_rows(path), prefix=_slug(path.name), fields=fields)), name
        )
    if name and path.is_dir():
        rows = folder_or_saved_rows(path, split=split or "test", settings=_GIVEN)
        return _maths(_slug(path.name), tuple(prompts_from(rows, prefix=_slug(path.name), fields=fields)), name)
    found = _HUB_ID.fullmatch(name)
    if found is None:
        raise _unknown(name)
    dataset, subset, revision = found.groups()
    rows = hub_rows(
        dataset,
        split=split or "test",
        config=subset,
        revision=revision,
        remedy="Download it as JSONL or Parquet and give the file with --bench",
        settings=_GIVEN,
    )
    slug = _slug(dataset if subset in (None, "*") else f"{dataset}-{subset}")
    bench = _maths(slug, tuple(prompts_from(rows, prefix=slug, fields=fields)), name.removeprefix(HUB))
    return replace(bench, revision=revision)


def _maths(name: str, prompts: tuple[Prompt, ...], source: str) -> Benchmark:
    if not prompts:
        raise DataError("the benchmark has no question", where=source)
    return Benchmark(name, "maths", prompts, 1, _digest(prompts), source, rows_sha256=rows_sha256(prompts))


def _slug(name: str) -> str:
    """A benchmark name from a file's: `My Questions.v2.jsonl` is `my-questions.v2`."""
    for suffix in _FILES:
        name = name.removesuffix(suffix)
    return re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-._")[:64] or "file"


def _digest(prompts: Iterable[Prompt]) -> str:
    rows: list[Any] = [(each.id, each.text, each.answer, dict(each.metadata)) for each in prompts]
    return hashlib.sha256(json.dumps(rows, ensure_ascii=True, sort_keys=True).encode()).hexdigest()


def _unknown(name: str) -> ConfigError:
    names = [COUNTDOWN, *known_names(), *groups()]
    close = difflib.get_close_matches(name.lower(), names, n=1)
    hint = f"Did you mean {close[0]}?" if close else f"Known: {', '.join(names)}."
    return ConfigError(
        f"there is no benchmark {name!r}",
        where="eval.bench",
        fix=f"{hint} A file's name ends in {', '.join((*_FILES, *_SPECS))}; a data set of the hub begins with {HUB}",
    )
