"""Whatever a server sends is a completion within its limit, or a trouble with a reason."""

import json

from hypothesis import given
from hypothesis import strategies as st

from hicra_cli.engine.completions import Completion, read_completion
from hicra_cli.grams.annotators.client import Trouble

numbers = st.integers(-(2**40), 2**40) | st.floats()
leaves = st.none() | st.booleans() | numbers | st.text(max_size=40)
values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3))
token_ids = st.lists(st.integers(0, 50_000), max_size=12)
choices = st.fixed_dictionaries(
    {
        "text": st.text(max_size=60) | values,
        "finish_reason": st.sampled_from(["stop", "length", "abort", "content_filter"]) | values,
    },
    optional={
        "token_ids": token_ids | values,
        "prompt_token_ids": token_ids | values,
        "logprobs": st.fixed_dictionaries({"token_logprobs": st.lists(numbers, max_size=12) | values}) | values,
    },
)
bodies = st.fixed_dictionaries(
    {"choices": st.lists(choices, max_size=2) | values},
    optional={"usage": st.fixed_dictionaries({"prompt_tokens": values, "completion_tokens": values}) | values},
)


@given(bodies)
def test_an_answer_is_read_or_refused_with_a_reason(body):
    found = read_completion(json.dumps(body).encode(), max_tokens=8)
    if isinstance(found, Trouble):
        assert found.reason
        return
    assert isinstance(found, Completion)
    assert found.token_ids is None or len(found.token_ids) <= 8
    assert found.logprobs is None or (found.token_ids is not None and len(found.logprobs) == len(found.token_ids))
    assert len(found.text) <= 8 * 256


@given(st.binary(max_size=200))
def test_bytes_that_are_no_answer_are_refused(content):
    assert isinstance(read_completion(content, max_tokens=8), Trouble)
