"""Gram-sets: from phrases, to and from files, what is refused and where."""

import hashlib
import json

import pytest

from hicra_cli.core.errors import ArtifactError, DataError
from hicra_cli.core.records import Move, StrategicGram
from hicra_cli.core.registry import Registry
from hicra_cli.grams import GramSet


def test_phrases_become_normalised_grams_in_the_order_of_their_words():
    gram_set = GramSet.from_phrases(["Wait, let me", "Let’s see now then"], [Move.BACKTRACING, None])
    assert [gram.text for gram in gram_set.grams] == ["let's see now then", "wait let me"]
    assert gram_set.grams[1].move is Move.BACKTRACING
    assert (gram_set.shortest, gram_set.longest, len(gram_set)) == (3, 4, 2)


def test_phrases_of_the_same_words_are_one_gram_unless_their_moves_differ():
    assert len(GramSet.from_phrases(["let's see now", "Let’s see, now"])) == 1
    with pytest.raises(DataError, match="two moves"):
        GramSet.from_phrases(["let's see now", "Let’s see, now"], [Move.DEDUCTION, Move.BRANCHING])


def test_what_is_saved_is_loaded_again_and_the_digest_is_that_of_the_file(tmp_path):
    gram = StrategicGram(("let", "me", "think"), move=Move.DEDUCTION, cluster=3, source="größer", document_frequency=7)
    gram_set = GramSet((gram, StrategicGram(("but", "wait", "no"))))
    path = gram_set.save(tmp_path)
    assert GramSet.load(path) == GramSet.load(tmp_path) == GramSet.load(str(path)) == gram_set
    assert gram_set.digest == hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_digest_depends_on_content_and_not_on_order():
    assert GramSet.from_phrases(["a b c", "d e f"]).digest == GramSet.from_phrases(["d e f", "a b c"]).digest
    assert GramSet.from_phrases(["a b c"]).digest != GramSet.from_phrases(["a b d"]).digest


def test_an_empty_gram_set_is_refused(tmp_path):
    (tmp_path / "grams.jsonl").write_text("\n")
    for make in (lambda: GramSet(()), lambda: GramSet.from_phrases([]), lambda: GramSet.load(tmp_path)):
        with pytest.raises(DataError, match="empty"):
            make()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "no JSON"),
        ("[1]", "a JSON object is needed"),
        ('{"gram": 3}', "text `gram`"),
        ('{"gram": "let 3 be"}', "can never occur"),
        ('{"gram": ""}', "no word"),
        ('{"gram": "let us go", "move": "forward"}', "deduction, branching, backtracing"),
        ('{"gram": "let us go", "cluster": "one"}', "cluster is no whole number"),
        ('{"gram": "let us go", "document_frequency": 1.5}', "document_frequency is no whole number"),
        ('{"gram": "LET me think"}', "line 1 already"),
        ('{"gram": "let us go", "cluster": ' + "9" * 5000 + "}", "cannot be read as JSON"),
        ("[" * 100_000, "cannot be read as JSON"),
    ],
)
def test_a_malformed_line_is_named(tmp_path, line, message):
    path = tmp_path / "mine.jsonl"
    path.write_text('{"gram": "let me think"}\n' + line + "\n")
    with pytest.raises(DataError, match=message) as caught:
        GramSet.load(path)
    assert caught.value.where == f"{path}:2"


def test_bytes_that_are_no_utf8_are_named_with_their_line(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_bytes(b'{"gram": "let me think"}\n{"gram": "let \xff me"}\n')
    with pytest.raises(DataError) as caught:
        GramSet.load(path)
    assert caught.value.where == f"{path}:2"


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"nothing\.jsonl"):
        GramSet.load(tmp_path / "nothing.jsonl")


def test_a_reference_is_looked_up_in_the_registry(tmp_path):
    gram_set = GramSet.from_phrases(["let me think"])
    with Registry.open(tmp_path) as registry:
        draft = registry.begin("gram-set", "mine")
        gram_set.save(draft.path)
        draft.publish()
    loaded = GramSet.load("gram-set:mine", home=tmp_path)
    assert loaded == gram_set
    assert loaded.meta == {"reference": "gram-set:mine@v1"}
    with pytest.raises(ArtifactError, match="other"):
        GramSet.load("gram-set:other", home=tmp_path)
    with pytest.raises(ArtifactError):
        GramSet.load("gram-set:mine", home=tmp_path / "nowhere")


def test_fields_of_other_readers_are_passed_over(tmp_path):
    path = tmp_path / "grams.jsonl"
    path.write_text(json.dumps({"gram": "Let me think", "confidence": 0.9}))
    assert GramSet.load(path).grams[0].words == ("let", "me", "think")


def test_grams_that_are_not_normalised_or_occur_twice_are_refused():
    with pytest.raises(DataError, match="not normalised"):
        GramSet((StrategicGram(("Let", "me", "think")),))
    with pytest.raises(DataError, match="twice"):
        GramSet((StrategicGram(("let", "me", "think")), StrategicGram(("let", "me", "think"), move=Move.DEDUCTION)))
