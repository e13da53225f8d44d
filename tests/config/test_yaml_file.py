"""YAML that a user wrote: the 1.2 reading of traps, lines, and everything that is refused."""

import contextlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hicra_cli.config.yaml_file import SIZE_LIMIT_BYTES, parse_value, parse_yaml, read_yaml
from hicra_cli.core.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-6", 1e-6),  # YAML 1.1 readers make a word of it
        ("3.0E-4", 3e-4),
        ("no", "no"),  # and False of this
        ("off", "off"),
        ("true", True),
        ("0123", 123),  # and 83 of this
        ("12:30:45", "12:30:45"),  # and 45045 of this
        ("2024-01-02", "2024-01-02"),
        ("~", None),
        ("", None),
        ("[16384, 32768]", [16384, 32768]),
        ("{enable_thinking: false}", {"enable_thinking": False}),
        ("'1e-6'", "1e-6"),
    ],
)
def test_scalars_mean_what_yaml_1_2_says(text, value):
    found = parse_value(text, source="test")
    assert found == value
    assert type(found) is type(value)


def test_every_key_knows_its_line():
    document = parse_yaml("a: 1\nb:\n  c: [1,\n      2]\n", source="f.yaml")
    assert document.where("b", "c") == "f.yaml:3"
    assert document.where("b", "c", 1) == "f.yaml:4"
    assert document.where("b", "missing") == "f.yaml:2"


@pytest.mark.parametrize(
    ("text", "where", "word"),
    [
        ("a: 1\nb: 2\na: 3\n", "f.yaml:3", "twice"),
        ("a:\n  b: 1\n  b: 2\n", "f.yaml:3", "twice"),
        ("a:\n\t- b\n", "f.yaml:2", "character"),
        ("a: [1\nb: 2\n", "f.yaml:2", "expected"),
        ("a: b: c\n", "f.yaml:1", "mapping values"),
        ("a: 1\n---\nb: 2\n", "f.yaml:2", "document"),
        ("a: !!python/object/apply:os.system [ls]\n", "f.yaml:1", "not allowed"),
        ("a: 1\n? [x]\n: 1\n", "f.yaml:2", "key must be a word"),
        ("a: !!float xyz\n", "f.yaml", "malformed"),
        ("a: \x00\n", "f.yaml", "malformed"),
    ],
)
def test_malformed_yaml_is_refused_with_its_line(text, where, word):
    with pytest.raises(ConfigError, match=word) as caught:
        parse_yaml(text, source="f.yaml")
    assert (caught.value.where or "").startswith(where)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 20_000,
        "{a: " * 5_000,
        "a: &a [*a]",
        "a: &a [1,1,1,1,1,1,1,1,1,1]\n"
        + "".join(f"{y}: &{y} [{','.join(f'*{x}' for _ in range(10))}]\n" for x, y in ("ab", "bc", "cd", "de", "ef")),
    ],
    ids=["brackets", "braces", "loop", "billion laughs"],
)
def test_bombs_are_refused_before_they_cost_anything(text):
    started = time.monotonic()
    with pytest.raises(ConfigError, match=r"nested|expands"):
        parse_yaml(text, source="f.yaml")
    assert time.monotonic() - started < 20  # a hang, not a speed, is what this would catch


def test_files_that_are_no_text_or_too_large_are_refused(tmp_path):
    (tmp_path / "large.yaml").write_bytes(b"a" * (SIZE_LIMIT_BYTES + 1))
    (tmp_path / "latin.yaml").write_bytes(b"a: 1\nb: \xe4\n")
    (tmp_path / "bom.yaml").write_bytes(b"\xef\xbb\xbfa: 1\r\nb: no\r\n")
    with pytest.raises(ConfigError, match="larger than"):
        read_yaml(tmp_path / "large.yaml")
    with pytest.raises(ConfigError, match="not UTF-8") as caught:
        read_yaml(tmp_path / "latin.yaml")
    assert caught.value.where == f"{tmp_path / 'latin.yaml'}:2"
    assert read_yaml(tmp_path / "bom.yaml").value == {"a": 1, "b": "no"}
    with pytest.raises(ConfigError, match="cannot read"):
        read_yaml(tmp_path)


@given(st.text(max_size=80))
def test_any_text_is_parsed_or_refused_but_never_crashes(text):
    with contextlib.suppress(ConfigError):
        parse_yaml(text, source="f.yaml")
