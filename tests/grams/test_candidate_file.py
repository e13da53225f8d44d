"""candidates.parquet: written and read back."""

import json

import pytest

from hicra_cli.core.errors import DataError
from hicra_cli.grams.candidate_file import COUNTS_NAME, FILE_NAME, read_candidates, write_candidates
from hicra_cli.grams.candidates import Candidate, Scores, Share

FULL = Candidate(
    "let me check", 3, 12, 9, 5, (Share("policy:x@v1", 40, 9, 0.25), Share(None, None, 0, 0.0)),
    ("so let me check it",), failures=4, scores=Scores(log_odds=-1.5, growth=0.25, c_value=19.0, rank=0.75),
)  # fmt: skip
BARE = Candidate("so we have", 3, 3, 3, 3, (), ())


def test_candidates_come_back_as_they_were_in_their_order_and_equal_ones_are_equal_bytes(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_candidates(tmp_path / name, [FULL, BARE], {"problems": 7})
    assert read_candidates(tmp_path / "a" / FILE_NAME) == [FULL, BARE]
    assert (tmp_path / "a" / FILE_NAME).read_bytes() == (tmp_path / "b" / FILE_NAME).read_bytes()
    assert json.loads((tmp_path / "a" / COUNTS_NAME).read_text()) == {"problems": 7}


def test_half_a_surrogate_pair_in_a_context_is_replaced(tmp_path):
    write_candidates(tmp_path, [Candidate("so we have", 3, 1, 1, 1, (), ("a \ud83d b",))], {})
    assert read_candidates(tmp_path / FILE_NAME)[0].contexts == ("a � b",)


def test_what_are_no_candidates_is_named_with_the_command_that_makes_them(tmp_path):
    path = tmp_path / FILE_NAME
    path.write_bytes(b"PAR1 not")
    with pytest.raises(DataError, match="no candidates") as failure:
        read_candidates(path)
    assert failure.value.where == str(path)
    assert "hicra collect-grams" in str(failure.value)
