"""The artifact registry: begin, publish, resolve, lineage, verify, gc.

A home holds `registry.db`, `artifacts/<kind>/<name>/<id>/` and `staging/`. What always holds: nothing published is lost
or changed, nothing half-written is visible, a version is never given twice. The parts: `drafts` (staging), `publishing`
(the atomic step), `catalog` (rows), `schema` (database), `lineage`, `verification`, `garbage`, `bundle`, `runs`.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from hicra_cli.core import catalog, runs
from hicra_cli.core.artifact import Artifact, DraftInfo, FileEntry, Lineage, LineageNode
from hicra_cli.core.diff import ArtifactDiff, diff_artifacts
from hicra_cli.core.drafts import OwnedDraft, create_draft, list_drafts, take_over, utc_now
from hicra_cli.core.errors import ArtifactError, RunError
from hicra_cli.core.filesystem import make_folders, storage_errors
from hicra_cli.core.garbage import GcReport, Remain, collect_garbage
from hicra_cli.core.lineage import ancestors, trace_lineage
from hicra_cli.core.manifest import seal
from hicra_cli.core.names import MAKERS, Reference, check_alias, check_kind, check_name, nearest, parse_reference
from hicra_cli.core.publishing import Publication, publish_all
from hicra_cli.core.runs import RunInfo
from hicra_cli.core.schema import RegistryDatabase, open_database
from hicra_cli.core.verification import Finding, verify_artifact, verify_database, verify_remains

__all__ = [
    "Artifact",
    "Draft",
    "DraftInfo",
    "FileEntry",
    "Finding",
    "GcReport",
    "Lineage",
    "LineageNode",
    "Registry",
    "Remain",
    "RunInfo",
]


# Inside Registry the word `list` is the method.
Artifacts = list[Artifact]
Links = list[tuple[Artifact, str]]
Words = list[str]
Values = list[Any]
Drafts = list[DraftInfo]
Findings = list[Finding]
Runs = list[RunInfo]


class Draft:
    """An artifact in the making: write its files into `path`, then `publish` or `discard`.

    The draft stays this process's own until then, or until `release` or the end of the process; a draft left behind
    can be resumed.
    """

    def __init__(self, registry: "Registry", owned: OwnedDraft) -> None:
        self._registry = registry
        self._owned = owned
        self.id = owned.id
        self.kind = owned.kind
        self.name = owned.name
        self.key = owned.key
        self.path = owned.files

    def publish(
        self,
        *,
        inputs: Sequence[tuple[Artifact, str]] = (),
        aliases: Sequence[str] = (),
        summary: Mapping[str, Any] | None = None,
        reuse: bool = False,
    ) -> Artifact:
        """Makes the draft's files an artifact under the next version of its name: all of it, or an error and a draft.

        inputs: (artifact, role) for lineage. summary: JSON values; None for what is unknown, never NaN. reuse: where
        this content is already published under this name, return that artifact (and move the aliases to it).
        RunError: disk full, an empty draft, links inside it.
        """
        for alias in aliases:
            check_alias(alias)
        for _, role in inputs:
            check_name(role)
        with storage_errors(f"publishing {self.kind}:{self.name}", self.path):
            manifest = seal(self.path)
        edges = [(artifact.id, role) for artifact, role in inputs]
        publication = Publication(self._owned, manifest, edges, aliases, summary or {})
        self._registry._require(artifact for artifact, _ in inputs)
        return self._registry._by_id(publish_all(self._registry.database, [publication], reuse=reuse)[0])

    def discard(self) -> None:
        """Removes the draft with all its files."""
        self._owned.drop()

    def release(self) -> None:
        """Gives the draft up but leaves it on disk, for `begin(resume=True)`."""
        self._owned.lock.release()


class Registry:
    """An open registry. One per process: a forked child opens its own."""

    def __init__(self, home: Path, database: RegistryDatabase) -> None:
        self.home = home
        self._database = database
        self._pid = os.getpid()

    @classmethod
    def open(cls, home: Path, *, create: bool = True) -> Self:
        """Opens the registry at `home`; makes it on first use unless `create` is False (for commands that read).

        ArtifactError: none there, damaged, another program's, or of a newer hicra.
        """
        home = Path(home).absolute()
        path = home / "registry.db"
        if not create and not path.is_file():
            raise ArtifactError(
                "there is no registry here",
                where=str(home),
                fix="`hicra quickstart` makes one, so does every stage; or name another with --home or HICRA_HOME",
            )
        with storage_errors("opening the registry", home):
            if create:
                for folder in (home, home / "artifacts", home / "staging"):
                    make_folders(folder)
            return cls(home, open_database(path, create=create))

    @property
    def database(self) -> RegistryDatabase:
        """The database, for the registry's own modules."""
        if os.getpid() != self._pid:
            raise RunError("a registry was used in a forked process", fix="Open one in each process")
        return self._database

    def close(self) -> None:
        """Closes the database. Safe to repeat."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- making ---

    def begin(
        self, kind: str, name: str, *, key: str | None = None, run_id: str | None = None, resume: bool = False
    ) -> Draft:
        """A draft of `kind:name`. `resume` takes over the newest unfinished one with the same key, if there is one.

        RunError where a live process owns that draft (its pid is named) or the disk is full.
        """
        check_kind(kind)
        check_name(name)
        if resume:
            for info in self.unfinished(kind, key):
                if info.name == name and info.key == key:
                    owned = take_over(self.home, info, run_id=run_id, is_published=self._is_published)
                    if owned is not None:
                        return Draft(self, owned)
        return Draft(self, create_draft(self.home, kind, name, key=key, run_id=run_id))

    def unfinished(self, kind: str | None = None, key: str | None = None) -> Drafts:
        """Drafts that were neither published nor discarded, newest first; `owner` tells whether someone works on it."""
        known = catalog.known_ids(self.database)
        return [
            info
            for info in list_drafts(self.home)
            if info.id not in known and kind in (None, info.kind) and key in (None, info.key)
        ]

    def set_alias(self, artifact: Artifact, alias: str) -> None:
        """Points `kind:name@alias` at the artifact, wherever it pointed before."""
        check_alias(alias)
        self._require([artifact])
        row = {"kind": artifact.kind, "name": artifact.name, "alias": alias, "artifact": artifact.id}
        with self.database.write() as db:
            catalog.point_alias(db, {**row, "changed": utc_now()})

    # --- finding ---

    def resolve(self, reference: str, *, check: bool = True) -> Artifact:
        """The artifact of `kind:name[@vN|@alias]`.

        UsageError: no reference. ArtifactError: nothing has that name (the nearest are listed), or, with `check`,
        one of its files is missing or has another size than was published.
        """
        wanted = parse_reference(reference)
        where = "kind = ? AND name = ?"
        parameters: Values = [wanted.kind, wanted.name]
        if wanted.version is not None:
            where, parameters = f"{where} AND version = ?", [*parameters, wanted.version]
        elif wanted.alias is not None:
            where = "id = (SELECT artifact FROM aliases WHERE kind = ? AND name = ? AND alias = ?)"
            parameters = [*parameters, wanted.alias]
        found = catalog.select(self.database, self.home, where, parameters, limit=1)
        if not found:
            raise self._unknown(reference, wanted)
        fault = found[0].first_fault() if check else None
        if fault is not None:
            raise found[0].damaged(fault)
        return found[0]

    def find(self, key: str) -> Artifact | None:
        """The newest artifact with this cache key whose files are all there, or None."""
        where = "id IN (SELECT artifact FROM cache_keys WHERE key = ?)"
        for artifact in catalog.select(self.database, self.home, where, [key]):
            if artifact.first_fault() is None:
                return artifact
        return None

    def newest(self, kind: str) -> Artifact | None:
        """The artifact of a kind that was published last, or None."""
        found = catalog.select(self.database, self.home, "kind = ?", [check_kind(kind)], limit=1)
        return found[0] if found else None

    def list(self, kind: str | None = None, name: str | None = None) -> Artifacts:
        """Artifacts, newest first, of one kind and one name if given."""
        conditions, parameters = ["1"], []
        if kind is not None:
            conditions.append("kind = ?")
            parameters.append(check_kind(kind))
        if name is not None:
            conditions.append("name = ?")
            parameters.append(check_name(name))
        return catalog.select(self.database, self.home, " AND ".join(conditions), parameters)

    def aliases(self, artifact: Artifact) -> Words:
        """Sorted aliases that point at the artifact."""
        return catalog.alias_names(self.database, artifact.id)

    def inputs(self, artifact: Artifact) -> Links:
        """(artifact, role) of what it was made from."""
        return [(self._by_id(end), role) for end, role in catalog.in_edges(self.database, artifact.id)]

    def outputs(self, artifact: Artifact) -> Links:
        """(artifact, role) of what was made from it."""
        return [(self._by_id(end), role) for end, role in catalog.out_edges(self.database, artifact.id)]

    def lineage(self, artifact: Artifact) -> Lineage:
        """Everything it was made from and everything made from it, as trees."""
        return trace_lineage(artifact, inputs=self.inputs, outputs=self.outputs)

    # --- keeping ---

    def verify(self, artifact: Artifact | None = None) -> Findings:
        """Reads every byte of one artifact, or of all and the database too; an empty list means all is well."""
        if artifact is not None:
            return verify_artifact(self.home, artifact)
        findings = verify_database(self.database)
        for published in self.list():
            findings += verify_artifact(self.home, published)
        return findings + verify_remains(self.home, catalog.known_ids(self.database))

    def gc(
        self, *, dry_run: bool, include_drafts: bool = False, keep_drafts_newer_than: timedelta = timedelta(0)
    ) -> GcReport:
        """Removes what crashed processes left; what is alive, published or resumable stays.

        include_drafts: also dead drafts that `begin(resume=True)` could go on with, if older than
        keep_drafts_newer_than. Runs whose process was killed are marked `abandoned`.
        """
        if not dry_run:
            for run in runs.abandoned_runs(self.database):
                runs.finish_run(self.database, run.id, status="abandoned", seconds=None, error="the process was killed")
        return collect_garbage(
            self.home,
            is_published=self._is_published,
            dry_run=dry_run,
            include_drafts=include_drafts,
            keep_drafts_newer_than=keep_drafts_newer_than,
        )

    def diff(self, first: Artifact, second: Artifact) -> ArtifactDiff:
        """How two gram-sets differ in grams and moves, and any two artifacts in the configuration of their runs."""
        return diff_artifacts(first, second, configs=[self._config_of(first), self._config_of(second)])

    def export_bundle(self, artifacts: Sequence[Artifact], path: Path, *, with_lineage: bool) -> Artifacts:
        """Writes artifacts (and, with_lineage, all they were made from) into one `.tar.zst` or `.zip` file.

        Returns what went in. ArtifactError where a file was damaged; nothing is left at `path` then.
        """
        from hicra_cli.core.bundle import write_bundle

        chosen = ancestors(list(artifacts), inputs=self.inputs if with_lineage else lambda _: [])
        write_bundle(self, chosen, path)
        return chosen

    def import_bundle(self, path: Path) -> Artifacts:
        """Publishes everything in a bundle under new local versions, or refuses it whole (ArtifactError).

        Content that is already here under the same kind and name is not doubled. `origin` keeps the foreign id.
        """
        from hicra_cli.core.bundle_import import read_bundle

        return read_bundle(self, path)

    # --- runs ---

    def start_run(
        self, stage: str, argv: Sequence[str], config: Mapping[str, Any], environment: Mapping[str, Any]
    ) -> str:
        """Records a run that begins now and returns its id. No secrets in any of it."""
        return runs.start_run(self.database, stage, argv, config, environment)

    def finish_run(self, run_id: str, *, status: str, seconds: float, error: str | None = None) -> None:
        """Records how a run ended: `ok`, `failed` or `interrupted`."""
        runs.finish_run(self.database, run_id, status=status, seconds=seconds, error=error)

    def add_metrics(self, run_id: str, metrics: Mapping[str, float]) -> None:
        """Records figures of a run, `group/name_unit` → number; a name given again is overwritten."""
        runs.add_metrics(self.database, run_id, metrics)

    def runs(self, *, stage: str | None = None, status: str | None = None, run_id: str | None = None) -> Runs:
        """Runs, newest first; their configuration, environment and metrics included."""
        return runs.list_runs(self.database, stage=stage, status=status, run_id=run_id)

    # --- helpers ---

    def _is_published(self, artifact_id: str) -> bool:
        return bool(self.database.rows("SELECT 1 FROM artifacts WHERE id = ?", [artifact_id]))

    def _by_id(self, artifact_id: str) -> Artifact:
        return catalog.select(self.database, self.home, "id = ?", [artifact_id])[0]

    def _config_of(self, artifact: Artifact) -> Mapping[str, Any]:
        """The resolved configuration of the run that made it; empty where no run was recorded."""
        return {} if artifact.run_id is None else self.runs(run_id=artifact.run_id)[0].config

    def _require(self, artifacts: Iterable[Artifact]) -> None:
        """ArtifactError for an artifact that was not published in this registry."""
        for artifact in artifacts:
            if not self._is_published(artifact.id):
                raise ArtifactError(
                    f"{artifact.ref} is not in this registry",
                    where=str(self.home),
                    fix="Export it there, import it here",
                )

    def _unknown(self, reference: str, wanted: Reference) -> ArtifactError:
        """The error for a reference that names nothing, with what comes nearest to it."""
        names = catalog.known_names(self.database, wanted.kind)
        if wanted.name not in names:
            hint = nearest(wanted.name, names) or (f"; there are {', '.join(names[:8])}" if names else "")
            fix = (
                f"`hicra artifacts list {wanted.kind}` shows all"
                if names
                else f"`hicra {MAKERS[wanted.kind]}` makes one"
            )
            return ArtifactError(f"there is no {reference}{hint}", where=str(self.home), fix=fix)
        versions = [artifact.version for artifact in self.list(wanted.kind, wanted.name)]
        known = [
            *catalog.known_aliases(self.database, wanted.kind, wanted.name),
            *(f"v{number}" for number in versions),
        ]
        return ArtifactError(
            f"there is no {reference}{nearest(reference.partition('@')[2], known)}",
            where=str(self.home),
            fix=f"{wanted.kind}:{wanted.name} has {', '.join(known[:12])}",
        )
