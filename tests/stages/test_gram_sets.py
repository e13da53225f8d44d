"""References to gram-sets: artifacts, shipped sets, files and folders, and what training falls back to."""

import pytest

from hicra_cli.config.root import HicraConfig
from hicra_cli.core.errors import ArtifactError, DataError, UsageError
from hicra_cli.core.registry import Artifact, Registry
from hicra_cli.grams.builtin import DEFAULT, builtin_names
from hicra_cli.grams.gram_set import GramSet
from hicra_cli.stages.base import External
from hicra_cli.stages.gram_sets import EMBEDDED, gram_set_name, load_gram_set, resolve_gram_set
from hicra_cli.stages.train.run import resolve_grams


@pytest.fixture
def registry(tmp_path):
    with Registry.open(tmp_path / "home") as opened:
        yield opened


def publish(registry, *phrases):
    draft = registry.begin("gram-set", "mine")
    GramSet.from_phrases(phrases).save(draft.path)
    return draft.publish()


def test_an_artifact_is_resolved_by_its_reference(registry):
    artifact = publish(registry, "let me think")
    found = resolve_gram_set("gram-set:mine", registry)
    assert isinstance(found, Artifact)
    assert (found.ref, gram_set_name(found)) == (artifact.ref, "mine")
    assert load_gram_set(found) == GramSet.from_phrases(["let me think"])


def test_the_embedded_set_is_resolved_by_the_reference_that_summaries_show(registry):
    found = resolve_gram_set(EMBEDDED, registry)
    assert isinstance(found, External)
    assert found.ref == EMBEDDED == "grams:embedded"
    assert load_gram_set(found).digest == found.digest


@pytest.mark.skipif(DEFAULT not in builtin_names(), reason=f"NOT RUN: {DEFAULT} is not there yet")
def test_a_shipped_set_is_resolved_by_its_name(registry):
    for reference in (DEFAULT, f"grams:{DEFAULT}"):
        found = resolve_gram_set(reference, registry)
        assert (found.ref, gram_set_name(found)) == (f"grams:{DEFAULT}", DEFAULT)
        assert len(load_gram_set(found)) >= 200


def test_a_file_and_a_folder_are_known_by_their_content(registry, tmp_path):
    folder = tmp_path / "My grams"
    folder.mkdir()
    GramSet.from_phrases(["let me think"]).save(folder)
    by_folder, by_file = (resolve_gram_set(str(each), registry) for each in (folder, folder / "grams.jsonl"))
    assert by_folder.digest == by_file.digest == GramSet.load(folder).digest
    assert gram_set_name(by_folder) == "my-grams"


def test_what_is_no_gram_set_is_refused_with_what_could_be_meant(registry, tmp_path):
    with pytest.raises(ArtifactError, match="gram-set:absent"):
        resolve_gram_set("gram-set:absent", registry)
    with pytest.raises(ArtifactError, match="gram-set:NAME"):
        resolve_gram_set("defalt-en", registry)
    with pytest.raises(DataError, match="no gram-set file"):
        resolve_gram_set(str(tmp_path / "absent.jsonl"), registry)
    with pytest.raises(UsageError):
        resolve_gram_set("gram-set:Bad Name", registry)
    (tmp_path / "bad.jsonl").write_text("{")
    with pytest.raises(DataError) as failure:
        resolve_gram_set(str(tmp_path / "bad.jsonl"), registry)
    assert failure.value.where == f"{tmp_path / 'bad.jsonl'}:1"


def chosen(registry, **settings):
    found = resolve_grams(HicraConfig.model_validate({"home": registry.home, **settings}), registry)
    return None if found is None else found.ref


def test_training_takes_what_is_named_then_the_newest_then_what_ships_for_the_task(registry):
    maths = {"task": {"kind": "maths"}}
    assert chosen(registry) == EMBEDDED
    if DEFAULT in builtin_names():
        assert chosen(registry, **maths, train={"algo": "hicra"}) == f"grams:{DEFAULT}"
    artifact = publish(registry, "let me think")
    assert chosen(registry) == chosen(registry, **maths) == artifact.ref
    assert chosen(registry, train={"gram_set": EMBEDDED}) == EMBEDDED
