"""What could make two evaluations differ besides their policies, read from their summaries."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hicra_cli.report.scored import ScoredEvaluation

Reader = Callable[[ScoredEvaluation, str], Any]


def differences_of(evaluations: Sequence[ScoredEvaluation], benches: Sequence[str]) -> list[str]:
    """Sentences, each naming a setting that is not the same in all, once for all benchmarks it concerns.

    An evaluation that does not tell a setting is not held against the others, but is told of where it has no summary.
    """
    found = [f"{each.ref} has no summary.json: how it was made is unknown" for each in evaluations if not each.summary]
    found += [
        f"{each.ref} is one shard of {shards}: merge them first" for each in evaluations if (shards := _shards(each))
    ]
    for what, read in _SETTINGS.items():
        concerned: dict[str, list[str]] = {}
        for bench in benches:
            told = [value for each in evaluations if bench in each.benches and (value := read(each, bench)) is not None]
            values = list(dict.fromkeys(map(_shown, _differing(told))))
            if len(values) > 1:
                concerned.setdefault(" and ".join(values), []).append(bench)
        found += [f"{', '.join(names)}: {what}: {values}" for values, names in concerned.items()]
    return found


def _shards(evaluation: ScoredEvaluation) -> Any:
    return _of_summary("shard", "count")(evaluation, "")


def _of_summary(*path: str) -> Reader:
    def read(evaluation: ScoredEvaluation, bench: str) -> Any:
        value: Any = evaluation.summary
        for name in path:
            value = value.get(name) if isinstance(value, Mapping) else None
        return value

    return read


def _of_bench(*names: str) -> Reader:
    """The first of these that the summary tells of the benchmark."""

    def read(evaluation: ScoredEvaluation, bench: str) -> Any:
        about = evaluation.about(bench)
        return next((about[name] for name in names if about.get(name) is not None), None)

    return read


def _template(evaluation: ScoredEvaluation, bench: str) -> Any:
    return _of_bench("template_sha256")(evaluation, bench) or _of_summary("prompt_template_sha256")(evaluation, bench)


_SETTINGS: Mapping[str, Reader] = {
    "the numbers of samples differ": lambda each, bench: each.benches[bench].samples,
    "the data differ (sha256)": _of_bench("rows_sha256", "data_sha256"),
    "the prompt templates differ (sha256)": _template,
    "the template options differ": _of_summary("template_options"),
    "the sampling differs": _of_summary("sampling"),
    "the grader versions differ (grade again with one)": _of_summary("grader", "version"),
    "the engines differ": _of_summary("engine", "name"),
    "the engine versions differ": _of_summary("engine", "version"),
}


def _differing(told: Sequence[Any]) -> list[Any]:
    """Of several sections what is not the same in all; other values as they are."""
    if not all(isinstance(each, Mapping) for each in told):
        return list(told)
    names = sorted({name for each in told for name in each})
    kept = [name for name in names if len({repr(each.get(name)) for each in told}) > 1]
    return [{name: each[name] for name in kept if name in each} for each in told]


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {value[name]}" for name in sorted(value)) or "none"
    text = str(value)
    return text[:12] if len(text) == 64 else text
