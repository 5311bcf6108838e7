"""Where the files of runs are stored: a folder or a bucket."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import pytest

from emrctl.aws.target import Target
from emrctl.errors import DamagedFileError, DiskError, EmrctlError
from emrctl.runs.backends.base import read_logs
from emrctl.runs.storage import LocalStorage, S3Storage


def test_write_to_file_in_place_of_folder_is_an_error_of_the_disk(tmp_path: Path) -> None:
    (tmp_path / "runs").write_bytes(b"")
    with pytest.raises(DiskError, match=r"cannot write .*runs/x/run\.json: ") as raised:
        LocalStorage(tmp_path / "runs").write("x/run.json", b"{}")
    assert raised.value.exit_code == 5


def test_write_to_missing_bucket_names_object(mocked: Target) -> None:
    storage = S3Storage(mocked.client("s3"), "none")
    for body in (b"{}", io.BytesIO(b"{}")):
        with pytest.raises(
            EmrctlError, match=r"writing s3://none/runs/x/run\.json: .*NoSuchBucket"
        ):
            storage.write("x/run.json", body)
    with pytest.raises(EmrctlError, match=r"listing s3://none/runs/"):
        storage.versions("run.json")


def test_s3_storage_error_of_one_object_is_damage_and_others_are_not(mocked: Target) -> None:
    from botocore.exceptions import ClientError

    class Failing:
        def __init__(self, code: str) -> None:
            self.code = code

        def get_object(self, **_arguments: str) -> None:
            answer = {"Error": {"Code": self.code, "Message": "x"}}
            raise ClientError(answer, "GetObject")  # type: ignore[arg-type]

    with pytest.raises(DamagedFileError, match="InvalidObjectState") as caught:
        S3Storage(Failing("InvalidObjectState"), "b").read("r1/run.json")
    assert not caught.value.damaged
    with pytest.raises(EmrctlError) as failed:
        S3Storage(Failing("ExpiredToken"), "b").read("r1/run.json")
    assert not isinstance(failed.value, DamagedFileError)


@pytest.mark.parametrize("compressed", [True, False])
def test_s3_storage_copies_log_without_reading_it_at_once(mocked: Target, compressed: bool) -> None:
    """A log of S3 cannot be read twice, which boto3 expects of a stream that can seek."""
    s3, text = mocked.client("s3"), b"".join(b"row %d\n" % n for n in range(1_500_000))
    s3.create_bucket(Bucket="pets-logs")
    body = gzip.compress(text, 1) if compressed else text
    s3.put_object(Bucket="pets-logs", Key="steps/s-1/stdout.gz", Body=body)
    [log] = read_logs(mocked, "pets-logs", "steps/s-1/", "step")
    storage = S3Storage(s3, "pets-logs")
    with log.open() as stream:
        storage.write("r1/logs/step/stdout", stream)
    assert storage.read("r1/logs/step/stdout") == text
