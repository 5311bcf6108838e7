"""Secrets in any text of an event log are absent from all output."""

from __future__ import annotations

import contextlib
import csv
import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import zstandard

from emrctl import redact
from emrctl.cli.__main__ import main
from emrctl.metrics.eventlog import layout, reader, redaction
from emrctl.metrics.model import ExecutorMetrics, Reuse, RunMetrics, SqlMetrics, StageMetrics
from tests.event_logs import text_of

SQL = "org.apache.spark.sql.execution.ui.SparkListenerSQLExecution"
LEARNED = "Zq9-Correct.Horse.Battery"
PLANTED = {
    "spark.hadoop.fs.s3a.secret.key": "PLANTED0aaaa",
    "spark.executorEnv.DB_PASSWORD": "PLANTED1aaaa",
    "spark.driver.extraJavaOptions": "-Xmx1g -Ddb.password=PLANTED2aaaa -Dx=1",
    "spark.jars.repositories": "https://me:PLANTED3aaaa@repo.example/maven",
    "spark.app.args": "--api-key PLANTED4aaaa1 --input s3://b/k",
    "spark.a": "AKIAPLANTED5AAAAAAAA",
    "spark.b": "Authorization: Bearer PLANTED6aaaa",
    "spark.c": "https://x.example/o?X-Amz-Signature=PLANTED7aaaa&y=1",
    "spark.d": "jdbc:postgresql://h/db?user=u&password=PLANTED8aaaa&ssl=true",
    "spark.e": "DefaultEndpointsProtocol=https;AccountKey=PLANTED9aaaa==;x=y",
    "spark.f": 'x={"token": "PLANTEDbaaaa"}',
    "spark.my.credential.name": LEARNED,
}
TEXTS = (
    "load password=PLANTEDtaaaa now",
    "save to s3a://AKIAPLANTEDTAAAAAAA:PLANTEDuaaaa@bucket/x",
    f"uses {LEARNED} in its name",
)


def events() -> list[dict[str, Any]]:
    text = "; ".join(TEXTS)
    stage = {"Stage ID": 0, "Stage Name": text, "Number of Tasks": 1, "Failure Reason": text}
    manager = {"Executor ID": "1", "Host": "h", "Port": 1}
    info = {"Task ID": 0, "Executor ID": "1", "Launch Time": 1, "Finish Time": 2, "Host": "h"}
    reason = {"Reason": "ExceptionFailure", "Description": text}
    return [
        {"Event": "SparkListenerLogStart", "Spark Version": "3.5.0"},
        {
            "Event": "SparkListenerEnvironmentUpdate",
            "Spark Properties": {**PLANTED, "spark.executor.memory": "4g"},
            "System Properties": {"sun.java.command": "x --password PLANTEDsaaaa"},
        },
        {
            "Event": "SparkListenerApplicationStart",
            "App Name": f"<b>{text}</b>",
            "App ID": "app-1",
            "Timestamp": 1,
        },
        {
            "Event": "SparkListenerExecutorAdded",
            "Timestamp": 1,
            "Executor ID": "1",
            "Executor Info": {"Host": "h", "Total Cores": 1, "Log Urls": {"out": text}},
        },
        {
            "Event": "SparkListenerBlockManagerAdded",
            "Block Manager ID": manager,
            "Maximum Memory": 1,
        },
        {"Event": f"{SQL}Start", "executionId": 0, "description": text, "time": 1},
        {
            "Event": "SparkListenerJobStart",
            "Job ID": 0,
            "Stage IDs": [0],
            "Properties": dict(PLANTED),
        },
        {"Event": "SparkListenerStageSubmitted", "Stage Info": stage},
        {"Event": "SparkListenerTaskStart", "Stage ID": 0, "Task Info": info},
        {
            "Event": "SparkListenerTaskEnd",
            "Stage ID": 0,
            "Task Info": info,
            "Task End Reason": reason,
        },
        {"Event": "SparkListenerStageCompleted", "Stage Info": stage},
        {
            "Event": "SparkListenerExecutorRemoved",
            "Timestamp": 2,
            "Executor ID": "1",
            "Removed Reason": text,
        },
        {"Event": "SparkListenerApplicationEnd", "Timestamp": 5},
    ]


def secrets_in(text: str) -> bool:
    return "PLANTED" in text or LEARNED in text


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    folder = tmp_path / "eventlog_v2_app"
    folder.mkdir()
    text = "\n".join(map(json.dumps, events())).encode()
    (folder / "events_1_app-token=PLANTEDpaaaa").write_bytes(text)
    (folder / "events_3_app-token=PLANTEDpaaaa").write_bytes(b"\x28\xb5\x2f\xfdrubbish")
    return folder


@pytest.mark.parametrize(
    "flags",
    [
        [],
        ["--json"],
        ["--stages", "--executors"],
        ["--tasks"],
        ["--tasks", "--json"],
    ],
    ids=" ".join,
)
def test_output_has_no_secrets(
    flags: list[str], planted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _main(["metrics", str(planted), *flags])
    out, err = capsys.readouterr()
    assert out
    assert not secrets_in(out + err)


def _main(arguments: list[str]) -> None:
    with contextlib.suppress(SystemExit):
        main(arguments)


def test_exported_tables_have_no_secrets(planted: Path, tmp_path: Path) -> None:
    for flags in ([], ["--stages", "--executors", "--tasks"]):
        _main(["metrics", str(planted), *flags, "--export", str(tmp_path / "x.csv")])
    files = list(tmp_path.glob("x*.csv"))
    assert len(files) == 4
    for file in files:
        text = file.read_text()
        assert not secrets_in(text)
        assert list(csv.reader(text.splitlines()))[1:]


def test_errors_have_no_secrets(tmp_path: Path) -> None:
    file = tmp_path / "password=PLANTED.txt"
    file.write_text("hello\n")
    for source in (str(file), f"{tmp_path}/token=PLANTED/none", "s3://b/password=PLANTED"):
        done = subprocess.run(
            [sys.executable, "-m", "emrctl.cli", "metrics", source],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
        )
        assert done.returncode in {2, 3}
        assert "Traceback" not in done.stderr
        assert "PLANTED" not in done.stdout + done.stderr


def test_other_properties_are_unchanged(planted: Path) -> None:
    run = reader.read_path(planted)
    assert run.environment["spark.executor.memory"] == "4g"
    assert run.environment["spark.driver.extraJavaOptions"] == redact.REDACTED
    assert run.app_name is not None
    assert run.app_name.startswith(f"<b>load password={redact.REDACTED} now; save to s3a://")


@pytest.mark.parametrize(
    "text",
    [
        "count at Tokenizer.scala:23",
        "map at Token.scala:23",
        "parquet at SecretSanta.java:9",
        "spark.hadoop.yarn.timeline-service.enabled",
        "select token from words where secret > 3",
        "s3://bucket/key/part-0000",
        "http://host:8088/proxy/application_1_2",
        "collect password list",
    ],
)
def test_text_without_secrets_is_unchanged(text: str) -> None:
    assert redact.text(text) == text


@pytest.mark.parametrize("codec", ["plain", "zstd", "gz"])
def test_stored_form_has_no_secrets_and_the_same_metrics(tmp_path: Path, codec: str) -> None:
    text = "".join(json.dumps(event, separators=(",", ":")) + "\n" for event in events()).encode()
    packed = {"plain": text, "zstd": zstandard.compress(text), "gz": gzip.compress(text)}[codec]
    raw, stored = tmp_path / f"app.{codec}", tmp_path / "stored"
    raw.write_bytes(packed)
    [file] = layout.list_files(raw)
    with redaction.stored_form(file) as (name, stream):
        stored.write_bytes(stream.read())
    assert name == {"plain": "app.plain", "zstd": "app.zstd", "gz": "app"}[codec]
    decoded = text_of(stored).decode()
    assert not secrets_in(decoded)
    assert len(decoded.splitlines()) == len(events())
    assert reader.read_path(stored) == reader.read_path(raw)


def test_stored_form_without_secrets_is_the_log_itself(tmp_path: Path) -> None:
    raw = tmp_path / "app.lz4"
    lines = (json.dumps({"Event": f"SparkListener{n}", "Stage Name": "count"}) for n in range(3))
    raw.write_bytes("\n".join(lines).encode())
    [file] = layout.list_files(raw)
    with redaction.stored_form(file) as (name, stream):
        assert (name, stream.read()) == ("app.lz4", raw.read_bytes())


def test_markup_in_a_name_is_printed_as_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "<script>alert(1)</script>[bold red]x[/bold red]\x1b[31m"
    start = {"Event": "SparkListenerApplicationStart", "App Name": name, "Timestamp": 1}
    log = tmp_path / "app"
    log.write_text(json.dumps(start) + "\n")
    _main(["metrics", str(log)])
    out = capsys.readouterr().out
    assert "<script>alert(1)</script>[bold red]x[/bold red]\N{REPLACEMENT CHARACTER}[31m" in out
    assert "\x1b" not in out
    _main(["metrics", str(log), "--json"])
    out = capsys.readouterr().out
    assert json.loads(out)["app_name"] == name
    assert "\x1b" not in out


def test_redactor_redacts_records_at_any_depth() -> None:
    redactor = redact.Redactor()
    redactor.learn({"my.password": "hush-hush"})
    text = "so hush-hush it is"
    run = RunMetrics(
        app_name=text,
        notes=(text,),
        environment={text: text},
        stages=(StageMetrics(id=1, name=text, failures={text: 3}), StageMetrics(id=2, name="x")),
        reuses=(Reuse(rdd=1, names=("y", text)),),
        sql=(SqlMetrics(id=0, description=text),),
        executors=(ExecutorMetrics(id="1", host=text),),
    )
    redacted = redactor.record(run)
    assert "hush" not in json.dumps(redacted.to_json())
    assert redacted.stages[1] is run.stages[1]
    assert redacted.stages[0].failures == {f"so {redact.REDACTED} it is": 3}
