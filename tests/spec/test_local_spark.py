"""Which version of Spark localhost runs for a release."""

from __future__ import annotations

import pytest

from emrctl.aws import releases
from emrctl.errors import SpecError
from emrctl.spec import local_spark

OWN = local_spark.installed_version()


@pytest.mark.parametrize(
    ("label", "version", "warned"),
    [
        ("emr-7.0.0", OWN, False),
        ("emr-7.14.0", OWN, False),
        ("emr-spark-8.1.0", "4.1.1", False),
        ("emr-spark-8.0.0", "4.1.1", True),
        ("emr-6.15.0", OWN, True),
        ("emr-4.0.0", OWN, True),
    ],
)
def test_choose_returns_nearest_spark_of_localhost(label: str, version: str, warned: bool) -> None:
    choice = local_spark.choose(label)
    wanted = releases.release(label).spark
    assert choice.version == version
    assert bool(choice.warning) is warned
    if warned:
        assert f"Spark {version} runs instead of {wanted}, the Spark of {label}" in choice.warning
    assert choice.oldest_java == (17 if version == "4.1.1" else 8)


def test_choose_other_version_warns() -> None:
    choice = local_spark.choose("emr-7.5.0", "4.0.2")
    assert choice.version == "4.0.2"
    assert "Spark 4.0.2 runs instead of 3.5.2, the Spark of emr-7.5.0" in choice.warning
    assert not local_spark.choose("emr-spark-8.0.0", "4.0.2").warning
    with pytest.raises(SpecError, match=r"Spark 3\.3\.4 does not support the Python"):
        local_spark.choose("emr-6.11.0", "3.3.4")


def test_lock_has_hashes() -> None:
    lines = local_spark.LOCK_FILE.read_text().splitlines()
    assert all(line.startswith("#") or "--hash=sha256:" in line for line in lines)
    assert local_spark.local_versions() == (OWN, "4.1.1")
