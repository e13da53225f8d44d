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
from hicra_cli.tasks.benchmark_checks import doubts_of, faults_of, is_published, remarks_on
from hicra_cli.tasks.benchmark_rows import known_rows, rows_sha256
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
        bench = _own(Path(name).expanduser(), accept=accept_other_data)
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
    rows = _hub_rows(spec, looked_in) if path is None else _local_rows(path, spec)
    fields = named_fields(spec.fields, where=f"{spec.name}: fields", fallback=path is not None)
    rename = known_rows(spec.name).name_of
    prompts = tuple(prompts_from(rows, prefix=spec.name, fields=fields, rename=rename, qualified=path is None))
    source = str(path) if path is not None else spec.hub.dataset if spec.hub is not None else ""
    revision = spec.hub.revision if path is None and spec.hub is not None else None
    faults = faults_of(spec, prompts, pinned=revision is not None)
    if faults and not accept:
        raise DataError(
            f"this copy of {spec.name} is not the published one: {'; '.join(faults)}",
            where=source,
            fix="Get the published set, evaluate your own under a name of its own (--bench FILE), "
            "or set eval.accept_other_data to true",
        )
    remarks = [*faults, *remarks_on(spec, prompts, pinned=revision is not None)]
    return replace(
        _maths(spec.name, prompts, source),
        default_samples=spec.samples,
        warnings=tuple(f"{spec.name}: {each}: {source}" for each in remarks),
        revision=revision,
        licence=spec.licence,
        instruction=spec.instruction,
        doubtful=doubts_of(spec, prompts),
        notes=tuple(spec.notes),
    )


def _local_copy(name: str, data_dir: Path | None) -> Path | None:
    places = [] if data_dir is None else [data_dir, data_dir / "bench"]
    found = [path for place in places for suffix in _FILES if (path := place / f"{name}{suffix}").is_file()]
    return found[0] if found else None


def _own(yaml: Path, *, accept: bool) -> Benchmark:
    """A user's description. Raises ConfigError where it names no source, or has the name of a shipped benchmark."""
    spec = read_spec(yaml)
    if spec.name in (COUNTDOWN, *known_names(), *groups()):
        raise ConfigError(f"{spec.name} is the name of a shipped benchmark", where=str(yaml), fix="Choose another name")
    if spec.path is None and spec.hub is None:
        raise ConfigError("the benchmark has neither path nor hub", where=str(yaml), fix="Add one of them")
    return _of_spec(spec, None if spec.path is None else yaml.parent / Path(spec.path).expanduser(), accept=accept)


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
        return _read(_slug(path.name), file_rows(path), name, fields)
    if name and path.is_dir():
        return _read(_slug(path.name), folder_or_saved_rows(path, split=split or "test", settings=_GIVEN), name, fields)
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
    return replace(_read(slug, rows, name.removeprefix(HUB), fields), revision=revision)


def _read(name: str, rows: Iterable[tuple[str, Mapping[str, Any]]], source: str, fields: Fields) -> Benchmark:
    bench = _maths(name, tuple(prompts_from(rows, prefix=name, fields=fields)), source)
    if name not in known_names() or is_published(known_spec(name), bench.prompts):
        return bench
    note = f"{name}: it is named like a shipped benchmark, but its questions or golds are others: {source}"
    return replace(bench, warnings=(note,))


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
