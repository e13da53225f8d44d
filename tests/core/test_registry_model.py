"""Any sequence of operations, compared with a dictionary that is the specification."""

import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from hicra_cli.core.errors import ArtifactError
from hicra_cli.core.registry import Draft, Registry
from tests.core.helpers import fill

NAMES = st.sampled_from(["nano", "other"])
KEYS = st.sampled_from(["a" * 64, "b" * 64])
ALIASES = st.sampled_from(["best", "last"])
CONTENTS = st.sampled_from(["one", "two", "three"])


class RegistryModel(RuleBasedStateMachine):
    """versions: name → contents in order of version. aliases: (name, alias) → version. keys: key → (name, version)."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.registry = Registry.open(Path(self.folder.name) / "home")
        self.versions: dict[str, list[str]] = {}
        self.aliases: dict[tuple[str, str], int] = {}
        self.keys: dict[str, tuple[str, int]] = {}
        self.drafts: dict[tuple[str, str], str] = {}

    @rule(name=NAMES, key=KEYS, content=CONTENTS, alias=ALIASES, reuse=st.booleans())
    def publish(self, name: str, key: str, content: str, alias: str, reuse: bool) -> None:
        draft = self.registry.begin("policy", name, key=key)
        fill(draft.path, {"data": content})
        self._published(draft, name, key, content, alias, reuse=reuse)

    @rule(name=NAMES, key=KEYS, content=CONTENTS)
    def leave_a_draft(self, name: str, key: str, content: str) -> None:
        draft = self.registry.begin("policy", name, key=key)
        fill(draft.path, {"data": content})
        draft.release()
        self.drafts[name, key] = content

    @rule(name=NAMES, key=KEYS, alias=ALIASES)
    def resume(self, name: str, key: str, alias: str) -> None:
        draft = self.registry.begin("policy", name, key=key, resume=True)
        content = self.drafts.pop((name, key), None)
        if content is None:
            assert list(draft.path.iterdir()) == []
            draft.discard()
        else:
            assert (draft.path / "data").read_text() == content
            self._published(draft, name, key, content, alias, reuse=False)
            self._drop_older_drafts(name, key)

    @rule(name=NAMES, alias=ALIASES, data=st.data())
    def set_alias(self, name: str, alias: str, data: st.DataObject) -> None:
        if name in self.versions:
            version = data.draw(st.integers(1, len(self.versions[name])))
            self.registry.set_alias(self.registry.resolve(f"policy:{name}@v{version}"), alias)
            self.aliases[name, alias] = version

    @rule(include_drafts=st.booleans())
    def gc(self, include_drafts: bool) -> None:
        assert self.registry.gc(dry_run=False, include_drafts=include_drafts).faults == ()
        if include_drafts:
            self.drafts.clear()
            assert self.registry.unfinished() == []

    @rule()
    def reopen(self) -> None:
        self.registry.close()
        self.registry = Registry.open(Path(self.folder.name) / "home", create=False)

    @invariant()
    def what_is_found_is_what_was_published(self) -> None:
        for name, contents in self.versions.items():
            for version, content in enumerate(contents, start=1):
                assert self.registry.resolve(f"policy:{name}@v{version}").file("data").read_text() == content
            assert self.registry.resolve(f"policy:{name}").version == len(contents)
        assert len(self.registry.list()) == sum(map(len, self.versions.values()))
        for (name, alias), version in self.aliases.items():
            assert self.registry.resolve(f"policy:{name}@{alias}").version == version
        for key, (name, version) in self.keys.items():
            found = self.registry.find(key)
            assert found is not None
            assert (found.name, found.version) == (name, version)
        assert self.registry.verify() == []

    @invariant()
    def what_is_not_published_is_not_found(self) -> None:
        try:
            self.registry.resolve("policy:never")
        except ArtifactError:
            return
        raise AssertionError("found what was never published")

    def teardown(self) -> None:
        self.registry.close()
        self.folder.cleanup()

    def _published(self, draft: Draft, name: str, key: str, content: str, alias: str, *, reuse: bool) -> None:
        artifact = draft.publish(aliases=[alias], reuse=reuse)
        contents = self.versions.setdefault(name, [])
        if reuse and content in contents:
            newest_equal = len(contents) - contents[::-1].index(content)
            assert artifact.version == newest_equal
        else:
            contents.append(content)
            assert artifact.version == len(contents)
        self.aliases[name, alias] = artifact.version
        self.keys[key] = self._newer(key, name, artifact.version)

    def _newer(self, key: str, name: str, version: int) -> tuple[str, int]:
        """A key answers with the artifact published last among those it was ever given to."""
        found = self.registry.find(key)
        assert found is not None
        before = self.keys.get(key)
        assert (found.name, found.version) in ((name, version), before)
        return found.name, found.version

    def _drop_older_drafts(self, name: str, key: str) -> None:
        """The model knows the newest draft of a name and key only; older ones are discarded."""
        for info in self.registry.unfinished("policy", key):
            if info.name == name:
                self.registry.begin("policy", name, key=key, resume=True).discard()


TestRegistryModel = RegistryModel.TestCase
TestRegistryModel.settings = settings(max_examples=8, stateful_step_count=12, deadline=None)
