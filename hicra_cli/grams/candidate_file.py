"""`candidates.parquet`: counted n-grams, by rank; `counts.json`: what they were counted on.

Columns: gram, n, count, solutions, document_frequency (problems), shares (policy, step, solutions, fraction of that
policy's counted solutions at that step), contexts, failures (unsuccessful solutions), and the scores: log_odds, growth,
c_value, rank.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hicra_cli.core.errors import DataError
from hicra_cli.grams.candidates import Candidate, Scores, Share
from hicra_cli.grams.rollout_file import whole_text

if TYPE_CHECKING:
    import pyarrow as pa

FILE_NAME = "candidates.parquet"
COUNTS_NAME = "counts.json"


def write_candidates(folder: Path, candidates: Sequence[Candidate], counts: Mapping[str, Any]) -> None:
    """Write both files; equal content is equal bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = _schema()
    rows = [_record(each) for each in candidates]
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), folder / FILE_NAME, compression="zstd")
    (folder / COUNTS_NAME).write_text(json.dumps(counts, indent=1, sort_keys=True) + "\n")


def read_candidates(path: Path) -> list[Candidate]:
    """The candidates of a file, in order. Raises DataError where it is none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows = pq.read_table(path, columns=_schema().names).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise DataError(
            f"these are no candidates: {error}", where=str(path), fix="Collect them again with hicra collect-grams"
        ) from error
    return [_candidate(row) for row in rows]


def _schema() -> "pa.Schema":
    import pyarrow as pa

    share = pa.struct(
        [("policy", pa.string()), ("step", pa.int64()), ("solutions", pa.int64()), ("fraction", pa.float64())]
    )
    return pa.schema(
        [
            ("gram", pa.string()),
            ("n", pa.int32()),
            ("count", pa.int64()),
            ("solutions", pa.int64()),
            ("document_frequency", pa.int64()),
            ("shares", pa.list_(share)),
            ("contexts", pa.list_(pa.string())),
            ("failures", pa.int64()),
            ("log_odds", pa.float64()),
            ("growth", pa.float64()),
            ("c_value", pa.float64()),
            ("rank", pa.float64()),
        ]
    )


def _record(candidate: Candidate) -> dict[str, Any]:
    return {
        "gram": candidate.gram,
        "n": candidate.n,
        "count": candidate.count,
        "solutions": candidate.solutions,
        "document_frequency": candidate.document_frequency,
        "shares": [
            {"policy": each.policy, "step": each.step, "solutions": each.solutions, "fraction": each.fraction}
            for each in candidate.shares
        ],
        "contexts": [whole_text(each) for each in candidate.contexts],
        "failures": candidate.failures,
        "log_odds": candidate.scores.log_odds,
        "growth": candidate.scores.growth,
        "c_value": candidate.scores.c_value,
        "rank": candidate.scores.rank,
    }


def _candidate(row: Mapping[str, Any]) -> Candidate:
    return Candidate(
        gram=row["gram"],
        n=row["n"],
        count=row["count"],
        solutions=row["solutions"],
        document_frequency=row["document_frequency"],
        shares=tuple(Share(**share) for share in row["shares"]),
        contexts=tuple(row["contexts"]),
        failures=row["failures"],
        scores=Scores(row["log_odds"], row["growth"], row["c_value"], row["rank"]),
    )
