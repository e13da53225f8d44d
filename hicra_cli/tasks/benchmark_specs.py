"""What is known of a benchmark: one small YAML each, shipped beside `hicra_cli.tasks.sets` or written by a user.

name: my-questions                  title: …            licence: …
path: questions.jsonl               # or hub: {dataset: OWNER/NAME, revision: …, split: test, subset: …, files: …}
fields: {problem: question, answer: solution, gold: boxed}
instruction: null                   # null: task.instruction
samples: 4
questions: [120]                    # how many a whole copy has
rows_sha256: {published: …}         # digests of whole copies, `hicra_cli.tasks.benchmark_rows`
doubtful: [{id: …, reason: …, corrected: …}]
notes: [ … ]
"""

from functools import cache
from importlib import resources
from pathlib import Path

from pydantic import Field, ValidationError

from hicra_cli.config.section import Section
from hicra_cli.config.yaml_file import Document, read_yaml
from hicra_cli.core.errors import ConfigError

GROUPS = "groups"
_SHA256 = r"^[0-9a-f]{64}$"


class HubSource(Section):
    """Where a set lives on the hub."""

    dataset: str = Field(pattern=r"^[\w.-]+/[\w.-]+$", description="OWNER/NAME.")
    revision: str | None = Field(
        None, pattern=r"^[0-9a-f]{40}$", description="The commit that is read; null reads the newest one."
    )
    files: dict[str, str | None] = Field(
        default_factory=dict,
        description="Files of that commit that hold the rows, with the sha256 of each where it is known; "
        "without any, split and subset say what is read.",
    )
    split: str = Field("test", description="Split, where no files are named.")
    subset: str | None = Field(None, description="Subset, where no files are named.")


class Doubt(Section):
    """A question whose gold answer is in doubt."""

    id: str = Field(description="The question's id.")
    gold: str | None = Field(None, description="The gold in doubt, where only some copies have it; null: every copy.")
    reason: str = Field(description="What is wrong with it, checkable by a reader.")
    corrected: str | None = Field(None, description="The right gold where it is certain; null: nobody can be right.")


class BenchmarkSpec(Section):
    """A benchmark."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$", description="Its name for --bench.")
    title: str = Field("", description="What it is, for people.")
    licence: str = Field("unknown", description="Terms of the questions.")
    hub: HubSource | None = Field(None, description="Where it lives on the hub.")
    path: str | None = Field(None, description="A local file or folder, relative to the YAML.")
    fields: dict[str, str] = Field(
        default_factory=dict, description="problem, answer, id, context: the source's names; gold: how it is read."
    )
    instruction: str | None = Field(None, description="Sentence after the question; null: task.instruction.")
    samples: int = Field(1, ge=1, description="Samples per question in the paper's protocol.")
    questions: list[int] = Field(default_factory=list, description="How many questions a whole copy has.")
    rows_sha256: dict[str, str] = Field(default_factory=dict, description="Digests of whole copies, by their origin.")
    file_sha256: dict[str, str] = Field(default_factory=dict, description="Of files that hold a whole copy.")
    doubtful: list[Doubt] = Field(default_factory=list, description="Questions that are scored both ways.")
    notes: list[str] = Field(default_factory=list, description="What one should know of the set.")


def known_names() -> list[str]:
    """Names of the shipped benchmarks."""
    return sorted(path.stem for path in sets_folder().glob("*.yaml") if path.stem != GROUPS)


@cache
def known_spec(name: str) -> BenchmarkSpec:
    """A shipped benchmark."""
    return read_spec(sets_folder() / f"{name}.yaml")


@cache
def groups() -> dict[str, tuple[str, ...]]:
    """Names that stand for several benchmarks; `all` for every shipped one."""
    listed = read_yaml(sets_folder() / f"{GROUPS}.yaml").value
    return {**{name: tuple(members) for name, members in listed.items()}, "all": tuple(known_names())}


def read_spec(path: Path) -> BenchmarkSpec:
    """A benchmark's YAML. Raises ConfigError with file and line."""
    document = read_yaml(path)
    try:
        return BenchmarkSpec.model_validate(document.value)
    except ValidationError as error:
        raise _spec_error(error, document) from error


def sets_folder() -> Path:
    """The folder of the shipped sets."""
    return Path(str(resources.files("hicra_cli.tasks.sets")))


def _spec_error(error: ValidationError, document: Document) -> ConfigError:
    first = error.errors(include_url=False, include_context=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    known = ", ".join(BenchmarkSpec.model_fields)
    return ConfigError(
        f"{place or 'the benchmark'}: {first['msg'][:1].lower()}{first['msg'][1:]}",
        where=document.where(*first["loc"]),
        fix=f"A benchmark has the fields {known}",
    )
