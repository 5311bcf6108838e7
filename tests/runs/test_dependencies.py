"""Files, archives and JARs of a step: local ones are uploaded, URIs pass unchanged."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from emrctl.aws.target import Target
from emrctl.errors import UsageError
from emrctl.runs import dependencies
from emrctl.spec import ExperimentSpec, SparkSettings
from tests.facts import CLUSTER
from tests.wheels import write_requirements, write_wheel

BUCKET = "pets-bucket"


@pytest.fixture
def target(mocked: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Target:
    mocked.client("s3").create_bucket(Bucket=BUCKET)
    monkeypatch.chdir(tmp_path)
    for name in ("a.csv", "my data.csv", "pack.tar.gz", "my pack.zip", "x y.jar", "pack.7z"):
        (tmp_path / name).write_text(name)
    for name in ("other", "project"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "b.csv").write_text(name)
    return mocked


def stage(target: Target, **settings: object) -> dependencies.Dependencies:
    """Stage the settings' files; the project's folder is `project`."""
    cluster = replace(CLUSTER, bucket=BUCKET)
    spark = SparkSettings.model_validate(settings)
    return dependencies.stage(target, cluster, spark, Path("project"))


def test_stage_uploads_local_files_and_passes_uris(target: Target) -> None:
    uris = ["s3://x/c.csv", "hdfs:///d.csv"]
    found = stage(
        target,
        files=["a.csv", "b.csv", *uris],
        archives=["pack.tar.gz", "my pack.zip#data", "s3://x/e.zip#env"],
        jars=["x y.jar", "local:/usr/lib/y.jar"],
        packages=["org.x:y_2.12:1.0"],
    )
    settings = found.settings
    plain = [re.sub(rf"s3://{BUCKET}/code/[0-9a-f]{{16}}/", "", item) for item in settings.files]
    assert plain == ["a.csv", "b.csv", *uris]
    assert [item.rpartition("/")[2] for item in settings.archives] == [
        *("pack.tar.gz", "my_pack.zip#data", "e.zip#env")
    ]
    assert settings.jars[0].endswith("/x_y.jar")
    assert settings.jars[1] == "local:/usr/lib/y.jar"
    assert found.code == (*settings.files, *settings.archives, *settings.jars)
    key = settings.files[1].removeprefix(f"s3://{BUCKET}/")
    body = target.client("s3").get_object(Bucket=BUCKET, Key=key)["Body"].read()
    assert body == b"project"
    assert {option.option: text for option, text in settings.values()} == {
        None: ",".join(settings.files),
        "--archives": ",".join(settings.archives),
        "--jars": ",".join(settings.jars),
        "--packages": "org.x:y_2.12:1.0",
    }


@pytest.mark.parametrize(
    ("flag", "item", "message"),
    [
        ("files", "absent.csv", "--files absent.csv: the file absent.csv does not exist"),
        ("archives", "absent.zip#a", "--archives absent.zip#a: the file absent.zip does not"),
        ("jars", "absent.jar", "--jars absent.jar: the file absent.jar does not exist"),
        ("files", "other", "--files other: other is a folder"),
        ("files", "my data.csv", "cannot pass the name 'my data.csv'"),
        ("archives", "my pack.zip", "cannot pass the name 'my pack.zip'"),
        ("archives", "pack.7z", "--archives pack.7z: pack.7z is not an archive"),
        ("archives", "s3://x/a b.zip", "spark-submit cannot open 's3://x/a b.zip'"),
        ("jars", "https://x/a b.jar", "spark-submit cannot open 'https://x/a b.jar'"),
        ("files", "a.csv,s3://x/a.csv", "--files a.csv is also called 'a.csv'"),
        ("archives", "pack.tar.gz#d,my pack.zip#d", "--archives pack.tar.gz#d is also called 'd'"),
        ("requirements", "absent.txt", "--requirements absent.txt: the file absent.txt does not"),
        ("requirements", "s3://x/r.txt", "--requirements s3://x/r.txt: not a local file"),
    ],
)
def test_stage_rejects_what_no_node_can_open(
    target: Target, flag: str, item: str, message: str
) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        stage(target, **{flag: item})
    assert "Contents" not in target.client("s3").list_objects_v2(Bucket=BUCKET)


def test_stage_rejects_python_that_the_driver_does_not_have(target: Target) -> None:
    conf = {"spark.pyspark.python": "./environment/bin/python"}
    with pytest.raises(UsageError, match="a driver in client mode does not have") as caught:
        stage(target, conf=conf)
    assert "--deploy-mode cluster" in caught.value.hint
    stage(target, conf=conf, deploy_mode="cluster")
    stage(target, conf=conf | {"spark.pyspark.driver.python": "python3"})


@pytest.mark.parametrize("mode", ["client", "cluster"])
def test_stage_requirements_sets_python_of_driver_and_executors(
    target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setenv("EMRCTL_CACHE", str(tmp_path / "cache"))
    local = replace(target, kind="local")
    write_wheel(tmp_path / "wheels", "first", "")
    write_requirements(tmp_path, "first")
    conf = {"spark.pyspark.python": "python3", "spark.a": "b"}
    found = stage(local, requirements="requirements.txt", deploy_mode=mode, conf=conf)
    [uri] = found.code
    assert re.fullmatch(rf"s3://{BUCKET}/code/[0-9a-f]{{16}}/environment\.tar\.gz", uri)
    assert found.settings.archives == (f"{uri}#environment",)
    python = "./environment/bin/python"
    assert found.settings.conf == {
        "spark.a": "b",
        "spark.pyspark.python": python,
        "spark.pyspark.driver.python": python if mode == "cluster" else "python3",
    }
    assert found.packages.get("uri") == (None if mode == "cluster" else uri)


def test_settings_join_lists_and_split_commas() -> None:
    job = SparkSettings.model_validate({"files": "a,b", "packages": ["g:a:1"], "jars": ["x"]})
    merged = job.merged(SparkSettings(files=("b", "c"), requirements="r.txt"))
    assert merged.files == ("a", "b", "c")
    assert merged.record() == {
        "files": ["a", "b", "c"],
        "jars": ["x"],
        "packages": ["g:a:1"],
        "requirements": "r.txt",
    }
    with pytest.raises(ValueError, match="packages"):
        SparkSettings.model_validate({"packages": ["not-a-coordinate"]})
    factors = {"files": [["a"], "b,c"], "requirements": ["r.txt"]}
    spec = ExperimentSpec.model_validate({"name": "ex", "job": "j", "factors": factors})
    assert spec.factors["files"] == (("a",), ("b", "c"))
