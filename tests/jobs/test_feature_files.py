"""Reading feature files, without Spark."""

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from svm import feature_files


def test_glob_of_replaces_special_characters() -> None:
    assert feature_files.glob_of("s3://b/a,b {1}[x]*?/p.parquet") == "s3://b/a?b ?1??x???/p.parquet"


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"path": ["a"], "label": ["x"]}, "no column features among path, label"),
        ({"path": ["a"], "label": ["x"], "features": [1]}, "features are bigint, not a list"),
        ({"path": ["a"], "label": ["x"], "features": [["1"]]}, "features are array<string>, not"),
    ],
)
def test_read_parquet_reports_unsupported_schema(table: dict[str, Any], message: str) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(table), sink)
    (error,) = feature_files.read_parquet([("in.parquet", sink.getvalue().to_pybytes())])
    assert isinstance(error, str)
    assert error.startswith("in.parquet: " + message)
