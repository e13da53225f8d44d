"""Lists of grams: text and JSON lines, what is refused and where, written and read back."""

import gzip

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hicra_cli.core.errors import DataError, RunError
from hicra_cli.core.records import Move, StrategicGram
from hicra_cli.grams import GramSet
from hicra_cli.grams.lists import read_gram_list, read_gram_lists, write_gram_list


def listed(path):
    return {gram.text: gram.move for gram in read_gram_list(path)}


def test_a_text_list_has_one_gram_a_line_with_an_optional_move(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_bytes(
        b"\xef\xbb\xbf# what our readers found\r\n\r\nLet\xe2\x80\x99s try, again\tbranching\r\n"
        b"  wait let me check.\tbacktracing\n#so we have\nthis implies that\n"
    )
    assert listed(path) == {
        "let's try again": Move.BRANCHING,
        "wait let me check": Move.BACKTRACING,
        "this implies that": None,
    }
    assert {gram.source for gram in read_gram_list(path)} == {f"import:{path}"}


@pytest.mark.parametrize("name", ["mine.jsonl", "mine.jsonl.gz"])
def test_a_json_list_needs_only_the_gram_and_passes_over_other_fields(tmp_path, name):
    path = tmp_path / name
    content = b'{"gram": "Let me think", "move": "deduction", "cluster": 4, "note": "x"}\n\n{"gram": "but wait no"}\n'
    path.write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    assert listed(path) == {"let me think": Move.DEDUCTION, "but wait no": None}
    assert [gram.cluster for gram in read_gram_list(path)] == [4, None]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"but wait", "has 2 words, 3 to 5 are allowed: `but wait`"),
        (b"hm", "has 1 word, 3 to 5"),
        (b"so " * 60, "has 60 words.*…"),
        (b"Let's see, THEN", "stands in line 1 already"),
        (b"let me \xff think", "not UTF-8"),
        (b"let me add 3", "can never occur"),
        (b"!!", "has no word"),
        (b"let me think\tsideways", "deduction, branching, backtracing"),
        (b"let me think\tdeduction\tmore", "is none of"),
    ],
)
def test_a_bad_line_of_a_text_list_is_named_with_file_and_number(tmp_path, line, message):
    path = tmp_path / "mine.txt"
    path.write_bytes(b"let's see then\n\n" + line + b"\n")
    with pytest.raises(DataError, match=message) as failure:
        read_gram_list(path)
    assert failure.value.where == f"{path}:3"
    assert failure.value.exit_code == 2
    assert len(str(failure.value)) < 600


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"{", "no JSON"),
        (b'"let me think"', "a JSON object is needed"),
        (b'{"phrase": "let me think"}', "text `gram`"),
        (b'{"gram": ["let", "me", "think"]}', "text `gram`"),
        (b'{"gram": "so we"}', "has 2 words"),
        (b'{"gram": "let me think", "move": 3}', "move '3'"),
        (b'{"gram": "let me \xff think"}', "not UTF-8"),
    ],
)
def test_a_bad_line_of_a_json_list_is_named_with_file_and_number(tmp_path, line, message):
    path = tmp_path / "mine.jsonl"
    path.write_bytes(b'{"gram": "let us see"}\n' + line + b"\n")
    with pytest.raises(DataError, match=message) as failure:
        read_gram_list(path)
    assert failure.value.where == f"{path}:2"


def test_lengths_follow_the_bounds_of_collection(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text("but wait\nand so on and so on it goes\n")
    assert [len(gram.words) for gram in read_gram_list(path, shortest=2, longest=8)] == [2, 8]


@pytest.mark.parametrize("content", ["", "\n\n", "# nothing yet\n"])
def test_an_empty_list_is_refused(tmp_path, content):
    path = tmp_path / "mine.txt"
    path.write_text(content)
    with pytest.raises(DataError, match="holds no gram") as failure:
        read_gram_list(path)
    assert failure.value.where == str(path)


def test_a_missing_list_and_a_folder_are_refused_by_name(tmp_path):
    for path in (tmp_path / "none.txt", tmp_path / "none.jsonl", tmp_path):
        with pytest.raises(DataError) as failure:
            read_gram_list(path)
        assert str(path) in str(failure.value)


def test_a_gram_of_two_lists_keeps_the_first_source_and_either_move(tmp_path):
    first, second = tmp_path / "a.txt", tmp_path / "b.txt"
    first.write_text("let me think\nbut wait no\tbacktracing\n")
    second.write_text("Let me think\tdeduction\nso it follows\n")
    merged = read_gram_lists([first, second])
    assert {text: (gram.move, gram.source) for text, gram in merged.items()} == {
        "let me think": (Move.DEDUCTION, f"import:{first}"),
        "but wait no": (Move.BACKTRACING, f"import:{first}"),
        "so it follows": (None, f"import:{second}"),
    }


def test_two_lists_with_different_moves_for_a_gram_are_refused(tmp_path):
    first, second = tmp_path / "a.txt", tmp_path / "b.txt"
    first.write_text("let me think\tbranching\n")
    second.write_text("let me think\tdeduction\n")
    with pytest.raises(DataError, match=r"is deduction here and branching in .*a\.txt") as failure:
        read_gram_lists([first, second])
    assert failure.value.where == str(second)


WORDS = st.text(alphabet="abcdefghijklmnopqrstuvwxyzéüß'", min_size=1, max_size=6).filter(
    lambda word: not word.startswith("'") and not word.endswith("'") and "''" not in word
)


@settings(deadline=None)
@given(
    st.dictionaries(
        st.lists(WORDS, min_size=3, max_size=5).map(tuple), st.sampled_from([None, *Move]), min_size=1, max_size=9
    )
)
def test_what_is_written_is_read_again(tmp_path_factory, grams):
    folder = tmp_path_factory.mktemp("lists")
    gram_set = GramSet(tuple(StrategicGram(words, move) for words, move in grams.items()))
    for name in ("mine.txt", "mine.jsonl"):
        write_gram_list(folder / name, gram_set)
        assert listed(folder / name) == {gram.text: gram.move for gram in gram_set.grams}
    assert sorted(path.name for path in folder.iterdir()) == ["mine.jsonl", "mine.txt"]


def test_a_list_that_cannot_be_written_says_where(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(RunError) as failure:
        write_gram_list(tmp_path / "file" / "mine.txt", GramSet.from_phrases(["let me think"]))
    assert failure.value.where == str(tmp_path / "file" / "mine.txt")
