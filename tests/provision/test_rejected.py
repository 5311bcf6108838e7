"""What AWS would reject is rejected before `up` creates anything, or leaves nothing behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from emrctl.errors import ProvisioningError, SpecError
from tests.provision.home import Home, new_home


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    with new_home(tmp_path, monkeypatch) as created:
        yield created


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"echo 1\n", r"own\.sh:1: the first line of a bootstrap script must be an interpreter"),
        (b"#!/bin/bash\r\necho 1\r\n", r"own\.sh:1: the line ends with CR and LF"),
        (b"#!/bin/bash\n\necho 1\r\n", r"own\.sh:3: the line ends with CR and LF"),
    ],
)
def test_deploy_and_preview_reject_script_that_nodes_cannot_run(
    home: Home, content: bytes, message: str
) -> None:
    (home.root / "own.sh").write_bytes(content)
    for action in (home.up, home.preview):
        with pytest.raises(SpecError, match=message):
            action(bootstrap=["own.sh"])
    assert not home.target.client("s3").list_buckets()["Buckets"]


def test_deploy_on_localhost_checks_release_and_scripts_on_s3_first(home: Home) -> None:
    with pytest.raises(
        ProvisioningError, match=r"nothing was created: EMR has no release emr-7\.4\.9"
    ):
        home.up(release="emr-7.4.9")
    assert home.preview(release="emr-7.99.0")
    with pytest.raises(ProvisioningError, match=r"script s3://elsewhere/x\.sh does not"):
        home.up(bootstrap=["s3://elsewhere/x.sh"])
    home.put_script(b"echo 1\n")
    with pytest.raises(ProvisioningError, match=r"s3://elsewhere/x\.sh:1: the first line"):
        home.up(bootstrap=["s3://elsewhere/x.sh"])
    assert len(home.target.client("s3").list_buckets()["Buckets"]) == 1


def test_preview_on_localhost_warns_about_other_spark(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    home.preview(release="emr-7.5.0")
    home.preview(release="emr-spark-8.1.0")
    assert "runs instead of" not in caplog.text
    home.preview(release="emr-spark-8.0.0")
    assert "Spark 4.1.1 runs instead of 4.0.2, the Spark of emr-spark-8.0.0" in caplog.text
    home.preview(spark="4.0.2")
    assert "Spark 4.0.2 runs instead of 3.5.2, the Spark of emr-7.5.0" in caplog.text
    with pytest.raises(ProvisioningError, match=r"Spark 2\.4\.8 does not support the Python"):
        home.preview(spark="2.4.8")


def test_deploy_after_rejected_tags_completes_or_deletes_bucket(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    from moto.s3.exceptions import InvalidTagError
    from moto.s3.models import S3Backend

    def reject(*_: object) -> None:
        raise InvalidTagError("no")

    for complete in (True, False):
        with monkeypatch.context() as patch:
            patch.setattr(S3Backend, "put_bucket_tagging", reject)
            with pytest.raises(ProvisioningError):
                home.up()
        assert [item["Name"] for item in home.target.client("s3").list_buckets()["Buckets"]]
        if complete:
            assert home.up().state == "WAITING"
            home.down()
        home.down(storage=True)
        assert not home.target.client("s3").list_buckets()["Buckets"]
