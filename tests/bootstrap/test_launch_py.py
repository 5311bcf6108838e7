"""Secrets of bootstrap/launch.py, from boto3 or the AWS CLI of a node."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest

from emrctl import bundled
from emrctl.aws.target import Target

read_secret = runpy.run_path(str(bundled.root() / "bootstrap" / "launch.py"))["read_secret"]

SECRET = json.dumps({"password": "s3cret", "port": 5432})


@pytest.fixture
def stored(mocked: Target) -> Target:
    mocked.client("secretsmanager").create_secret(Name="prod/db", SecretString=SECRET)
    mocked.client("ssm").put_parameter(Name="/prod/salt", Value="pepper", Type="SecureString")
    return mocked


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("prod/db", SECRET),
        ("prod/db#password", "s3cret"),
        ("prod/db#port", "5432"),
        ("ssm:/prod/salt", "pepper"),
        ("arn:aws:ssm:us-east-1:123456789012:parameter/prod/salt", "pepper"),
    ],
)
def test_read_secret_returns_value(stored: Target, source: str, value: str) -> None:
    region = "eu-west-1" if source.startswith("arn:") else "us-east-1"
    assert read_secret("A", source, region) == value


def test_read_secret_by_arn_returns_value(stored: Target) -> None:
    arn = stored.client("secretsmanager").describe_secret(SecretId="prod/db")["ARN"]
    assert read_secret("A", f"{arn}#password", "eu-west-1") == "s3cret"


@pytest.mark.parametrize("source", ["no/such", "ssm:/no/such", "prod/db#user"])
def test_read_secret_that_does_not_exist_exits_without_values(stored: Target, source: str) -> None:
    with pytest.raises(SystemExit) as exit_:
        read_secret("A", source, "us-east-1")
    assert source.partition("#")[0].removeprefix("ssm:") in str(exit_.value)
    assert "s3cret" not in str(exit_.value)


def test_read_secret_without_boto3_uses_the_aws_cli(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = json.dumps({"SecretString": SECRET})
    cli = tmp_path / "aws"
    cli.write_text(f"#!/bin/sh\necho \"$@\" > {tmp_path}/arguments\ncat <<'X'\n{answer}\nX\n")
    cli.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setitem(sys.modules, "boto3", None)
    assert read_secret("A", "prod/db#password", "eu-west-1") == "s3cret"
    assert (
        (tmp_path / "arguments")
        .read_text()
        .startswith("secretsmanager get-secret-value --region eu-west-1")
    )
