import enum
import hashlib
import json
import subprocess
import sys
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hicra_cli.core.cache import cache_key, canonical_json
from hicra_cli.core.errors import RunError
from tests.core.helpers import PROJECT

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text('aé\n"\\ '),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=3),
    max_leaves=8,
)


class Algo(enum.StrEnum):
    HICRA = "hicra"


def test_a_key_is_the_sha256_of_canonical_json():
    text = '{"code":"1","config":{"alpha":0.2,"seeds":[0,1]},"inputs":["d1"],"stage":"train"}'
    expected = hashlib.sha256(text.encode()).hexdigest()
    assert cache_key("train", "1", {"seeds": (0, 1), "alpha": 0.2}, ["d1"]) == expected


def test_everything_that_can_change_the_result_changes_the_key():
    keys = {
        cache_key("train", "1", {"alpha": 0.2}, ["a", "b"]),
        cache_key("eval", "1", {"alpha": 0.2}, ["a", "b"]),
        cache_key("train", "2", {"alpha": 0.2}, ["a", "b"]),
        cache_key("train", "1", {"alpha": 0.2000000000000001}, ["a", "b"]),
        cache_key("train", "1", {"alpha": "0.2"}, ["a", "b"]),
        cache_key("train", "1", {"alpha": 0.2, "kl": None}, ["a", "b"]),
        cache_key("train", "1", {"alpha": 0.2}, ["b", "a"]),
        cache_key("train", "1", {"alpha": 0.2}, ["ab"]),
    }
    assert len(keys) == 8


def test_paths_enums_sets_and_tuples_have_one_form():
    value = {"b": PurePosixPath("x/y"), "a": Algo.HICRA, "c": {"z", "y"}, "d": (1, 1.0, True)}
    assert canonical_json(value) == b'{"a":"hicra","b":"x/y","c":["y","z"],"d":[1,1.0,true]}'
    assert canonical_json({"path": Path("x/y")}) == canonical_json({"path": "x/y"})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), {1: "a"}, b"bytes", "\ud800"])
def test_what_json_cannot_hold_is_refused(value):
    with pytest.raises(RunError, match="no canonical JSON form"):
        canonical_json({"value": [value]})


@given(JSON)
def test_canonical_json_is_json_and_keeps_the_value(value):
    text = canonical_json(value)
    assert json.loads(text) == value
    assert canonical_json(json.loads(text)) == text


@given(st.dictionaries(st.text("abcdef", max_size=4), JSON, max_size=5), st.randoms())
def test_the_order_of_configuration_does_not_matter(config, random):
    items = list(config.items())
    random.shuffle(items)
    assert cache_key("train", "1", dict(items), []) == cache_key("train", "1", config, [])


def test_keys_are_the_same_in_every_process():
    script = "from hicra_cli.core.cache import cache_key; print(cache_key('train', '1', {'a': {'x', 'y', 'z'}}, []))"
    seen = set()
    for hash_seed in ("0", "1", "2"):
        command = [sys.executable, "-c", script]
        environment = {"PYTHONHASHSEED": hash_seed}
        result = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=True)
        seen.add(result.stdout)
    assert len(seen) == 1
