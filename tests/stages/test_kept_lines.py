"""Rows that survive: read back in any order, torn and damaged lines, full disks."""

import resource

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hicra_cli.core.errors import RunError
from hicra_cli.stages.kept_lines import KeptLines


def opened(path):
    return KeptLines(path, lambda row: row["name"])


TEXTS = st.text(alphabet=st.characters(), max_size=30)


@settings(deadline=None, max_examples=50)
@given(rows=st.dictionaries(TEXTS, TEXTS, min_size=1, max_size=12), data=st.data())
def test_what_was_added_is_read_in_any_order_also_by_a_later_process(tmp_path_factory, rows, data):
    path = tmp_path_factory.mktemp("kept") / "x.jsonl"
    half = data.draw(st.integers(0, len(rows)))
    names = list(rows)
    with opened(path) as kept:
        for name in names[:half]:
            kept.add({"name": name, "text": rows[name]})
    with opened(path) as kept:
        assert not kept.torn
        assert len(kept) == half
        for name in names[half:]:
            assert name not in kept
            kept.add({"name": name, "text": rows[name]})
        order = data.draw(st.permutations(names))
        assert [row["text"] for row in kept.read(order)] == [rows[name] for name in order]


@settings(deadline=None, max_examples=60)
@given(cut=st.integers(0, 200))
def test_wherever_the_file_was_cut_the_whole_lines_are_kept(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("kept") / "x.jsonl"
    with opened(path) as kept:
        for number in range(5):
            kept.add({"name": number, "text": "é" * number})
    content = path.read_bytes()
    path.write_bytes(content[:cut])
    whole = content[:cut].count(b"\n")
    with opened(path) as kept:
        assert len(kept) == whole
        assert kept.torn == (not content[:cut].endswith(b"\n") and cut > 0)
        for number in range(whole, 5):
            kept.add({"name": number, "text": "é" * number})
    assert path.read_bytes() == content


def test_a_damaged_line_in_the_middle_counts_as_never_written(tmp_path):
    path = tmp_path / "x.jsonl"
    with opened(path) as kept:
        for name in "abc":
            kept.add({"name": name})
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"\0" * 10 + b"\n" + b'{"other": 1}\n' + lines[2])
    with opened(path) as kept:
        assert kept.damaged == 2
        assert [name in kept for name in "abc"] == [True, False, True]
        kept.add({"name": "b"})
        assert [row["name"] for row in kept.read("abc")] == ["a", "b", "c"]


def test_of_two_rows_of_one_name_the_later_one_counts(tmp_path):
    with opened(tmp_path / "x.jsonl") as kept:
        kept.add({"name": "a", "text": 1})
        kept.add({"name": "a", "text": 2})
        assert len(kept) == 1
        assert next(kept.read("a"))["text"] == 2


def test_a_full_disk_is_told_as_one_and_leaves_what_was_kept(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with opened(tmp_path / "x.jsonl") as kept:
        kept.add({"name": "a"})
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
        try:
            with pytest.raises(RunError, match="no room while keeping samples"):
                kept.add({"name": "b", "text": "x" * 200_000})
            kept.add({"name": "c"})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    with opened(tmp_path / "x.jsonl") as kept:
        assert "a" in kept
        assert "b" not in kept
        assert "c" in kept
        assert not kept.torn
