"""The pandasapi job, against pandas."""

from pathlib import Path

import pandas as pd
import pytest

import pandasapi
from tests.jobs.conftest import Run

pytestmark = pytest.mark.spark


@pytest.mark.filterwarnings("ignore::Warning")  # of pyspark.pandas 3.5 with pandas 2.2
@pytest.mark.parametrize("index", pandasapi.INDEXES)
def test_pandasapi_equals_pandas_with_each_index(run: Run, tmp_path: Path, index: str) -> None:
    figures = run(pandasapi, "--rows", "5000", "--partitions", "3", "--index", index, "--collect")
    assert figures["largest_difference"] < 1e-9
    found = pd.read_parquet(tmp_path / "out" / "summary").set_index("region").sort_index()
    assert figures["groups"] == len(found) == pandasapi.REGIONS
    assert found["share"].sum() == pytest.approx(1)
    assert (found["mean"] * found["count"]).to_numpy() == pytest.approx(found["sum"].to_numpy())
    assert 4500 < figures["orders"] == found["count"].sum() < 5000  # without amounts of 1 or less
