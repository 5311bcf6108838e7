"""Code that all jobs share, and rules for the source of all jobs."""

import ast
from pathlib import Path
from typing import Any

import pytest

from common import job

JOBS = Path(job.__file__).parents[1]
PROGRAMS = sorted(JOBS.rglob("*.py"))


def test_nearest_returns_similar_names_only() -> None:
    assert job.nearest("beagel", ["beagle", "pug"]) == "; nearest: beagle"
    assert job.nearest("zebra", ["beagle", "pug"]) == ""


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: str(path.relative_to(JOBS)))
def test_source_is_python_3_9_without_emrctl(program: Path) -> None:
    tree = ast.parse(program.read_text(), feature_version=(3, 9))
    for node in ast.walk(tree):
        assert not isinstance(node, ast.Match)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "isinstance":
            assert not isinstance(node.args[1], ast.BinOp), ast.unparse(node)  # A | B: since 3.10
        names = [item.name for item in node.names] if isinstance(node, ast.Import) else []
        names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
        assert not [name for name in names if name.split(".")[0] in ("emrctl", "stacks")]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: str(path.relative_to(JOBS)))
def test_source_sets_no_spark_properties(program: Path) -> None:
    text = program.read_text()
    assert ".config(" not in text
    assert "conf.set" not in text
    assert "setMaster" not in text


def test_require_names_missing_modules_and_packages() -> None:
    with pytest.raises(job.JobError, match="nowhere_at_all; install them on every node"):
        job.require("json", "nowhere_at_all")


@pytest.mark.spark
def test_partitions_default_to_parallelism(spark: Any) -> None:
    assert job.partitions(spark, 7) == 7
    assert job.partitions(spark, None) == spark.sparkContext.defaultParallelism
