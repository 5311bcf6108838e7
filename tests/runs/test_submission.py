"""Submission: code under its content's hash, jobs found by name."""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path

import pytest

from emrctl.aws import s3
from emrctl.aws.target import Target
from emrctl.errors import NotFoundError, UsageError
from emrctl.runs import submission
from emrctl.spec import JobSpec, ProjectSpec
from emrctl.spec.config import Config

BUCKET = "pets-bucket"


@pytest.fixture
def target(mocked: Target) -> Target:
    mocked.client("s3").create_bucket(Bucket=BUCKET)
    return mocked


def _config(root: Path, **jobs: JobSpec) -> Config:
    return Config(ProjectSpec(project="pets", jobs=jobs), root, {})


def _keys(target: Target) -> list[str]:
    listed = target.client("s3").list_objects_v2(Bucket=BUCKET)
    return [item["Key"] for item in listed.get("Contents", ())]


def test_put_file_with_same_content_uploads_once(target: Target, tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text("print(1)")
    first = s3.put_file(target, BUCKET, tmp_path / "job.py")
    assert s3.put_file(target, BUCKET, tmp_path / "job.py") == first
    (tmp_path / "job.py").write_text("print(2)")
    assert s3.put_file(target, BUCKET, tmp_path / "job.py") != first
    assert len(_keys(target)) == 2
    assert all(key.startswith("code/") and key.endswith("/job.py") for key in _keys(target))


def test_put_file_of_folder_is_reproducible_zip(target: Target, tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "a.py").write_text("x = 1")
    (tmp_path / "lib" / "__pycache__").mkdir()
    (tmp_path / "lib" / "__pycache__" / "a.pyc").write_bytes(b"1")
    first = s3.put_file(target, BUCKET, tmp_path / "lib")
    (tmp_path / "lib" / "__pycache__" / "a.pyc").write_bytes(b"2")
    (tmp_path / "lib" / "a.py").touch()
    assert s3.put_file(target, BUCKET, tmp_path / "lib") == first
    assert first.endswith("/lib.zip")


def test_put_file_of_s3_uri_returns_it(target: Target) -> None:
    assert s3.put_file(target, BUCKET, "s3://other/x.py") == "s3://other/x.py"


@pytest.mark.parametrize(
    ("name", "packages"),
    [
        ("svm", {"common", "svm"}),
        ("features", {"common", "features"}),
        ("classify", {"common", "features", "svm"}),
    ],
)
def test_stage_job_with_packages_uploads_one_zip(
    target: Target, tmp_path: Path, name: str, packages: set[str]
) -> None:
    job = submission.find_job(name, _config(tmp_path))
    script, *py_files = submission.stage_job(target, BUCKET, job, ())
    assert job.gallery
    assert script.endswith(f"/{name}.py")
    [uri] = py_files
    assert uri.endswith(f"/{name}.zip")
    key = uri.removeprefix(f"s3://{BUCKET}/")
    body = target.client("s3").get_object(Bucket=BUCKET, Key=key)["Body"].read()
    entries = zipfile.ZipFile(io.BytesIO(body)).namelist()
    assert {entry.split("/")[0] for entry in entries} == packages
    assert submission.stage_job(target, BUCKET, job, ()) == (script, uri)


def test_stage_job_of_one_file_uploads_it_alone(target: Target, tmp_path: Path) -> None:
    job = submission.find_job("wordcount", _config(tmp_path))
    [script] = submission.stage_job(target, BUCKET, job, ())
    assert script.endswith("/wordcount.py")
    assert len(_keys(target)) == 1


def test_stage_job_finds_py_files_of_emrctl_yaml_in_its_folder(
    target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lib").mkdir()
    for name in ("job.py", "lib/helper.py"):
        (tmp_path / name).write_text("x = 1")
    monkeypatch.chdir("/")
    spec = JobSpec(script="job.py", py_files=("lib/helper.py", "s3://other/x.py"))
    job = submission.find_job("mine", _config(tmp_path, mine=spec))
    _, helper, other = submission.stage_job(target, BUCKET, job, ())
    assert helper.endswith("/helper.py")
    assert other == "s3://other/x.py"


@pytest.mark.parametrize(
    "name", ["my job.py", "50%.py", "run#1.py", "a,b.py", "größe.py", "a+b&c.py"]
)
def test_stage_job_with_special_name_uses_plain_keys(
    target: Target, tmp_path: Path, name: str
) -> None:
    for folder in ("main", "lib"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text(f"# {folder}")
    job = submission.find_job(str(tmp_path / "main" / name), _config(tmp_path))
    staged = submission.stage_job(target, BUCKET, job, [str(tmp_path / "lib" / name)])
    launcher = submission.stage_launcher(target, BUCKET, job, "the file name")
    assert launcher.script == name
    for uri in (*staged, launcher.uri, launcher.archive):
        assert re.fullmatch(r"s3://pets-bucket/code/[0-9a-f]{16}/[A-Za-z0-9_.-]+", uri)
    for uri, entry in ((staged[1], name), (launcher.archive, f"main-file/{name}")):
        key = uri.removeprefix(f"s3://{BUCKET}/")
        body = target.client("s3").get_object(Bucket=BUCKET, Key=key)["Body"].read()
        assert zipfile.ZipFile(io.BytesIO(body)).namelist() == [entry]


def test_stage_launcher_rejects_program_on_s3(target: Target, tmp_path: Path) -> None:
    job = submission.find_job("s3://other/a.py", _config(tmp_path))
    with pytest.raises(UsageError, match=r"argument 1 cannot reach s3://other/a\.py"):
        submission.stage_launcher(target, BUCKET, job, "argument 1")
    with pytest.raises(UsageError, match="spark-submit cannot open"):
        submission.stage_job(target, BUCKET, job, ["s3://other/a,b.zip"])


def test_find_job_of_spec_by_name(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("")
    spec = JobSpec(script="mine.py")
    found = submission.find_job("train", _config(tmp_path, train=spec))
    assert (found.name, found.script, found.gallery) == ("train", str(tmp_path / "mine.py"), False)
    named = submission.find_job("words", _config(tmp_path, words=JobSpec(script="wordcount")))
    assert named.gallery


def test_find_job_unknown_suggests_nearest(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="job 'svn'") as caught:
        submission.find_job("svn", _config(tmp_path))
    assert "Did you mean 'svm'?" in caught.value.hint


def test_put_file_unreadable_is_an_error(target: Target, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        s3.put_file(target, BUCKET, tmp_path / "absent.zip")


def test_prepare_event_logs_creates_prefix_object(target: Target) -> None:
    uri = s3.prepare_event_logs(target, BUCKET)
    assert uri == f"s3://{BUCKET}/eventlogs/"
    assert _keys(target) == ["eventlogs/.keep"]


@pytest.mark.parametrize(
    ("uri", "parts"),
    [("s3://b/k/x", ("b", "k/x")), ("s3n://b/", ("b", "")), ("s3a://b", ("b", ""))],
)
def test_split_uri_returns_bucket_and_key(uri: str, parts: tuple[str, str]) -> None:
    assert s3.split_uri(uri) == parts


@pytest.mark.parametrize("uri", ["/some/file", "s3://", "http://b/k"])
def test_split_uri_rejects_other_schemes(uri: str) -> None:
    with pytest.raises(UsageError, match="is not an S3 URI"):
        s3.split_uri(uri)
