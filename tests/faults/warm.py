"""Imports everything that commands import, once, in the server that forks the clients.

Pauses between polls are short. boto3's retries and other pauses wait for a
fiftieth of their time: a throttled client sends as many requests as on AWS, within seconds.
"""

from __future__ import annotations

import functools
import gc
import importlib
import os
import time
from typing import Any
from unittest import mock

import boto3
import botocore.config
import botocore.retries.bucket
import botocore.session
import optuna  # noqa: F401
import pulumi_aws.ec2
import pulumi_aws.emr
import pulumi_aws.iam
import pulumi_aws.s3  # noqa: F401
import scipy.stats  # noqa: F401
from botocore.loaders import JSONFileLoader

from emrctl import bundled
from emrctl.aws import polling, target
from emrctl.cli.__main__ import COMMANDS
from emrctl.runs import lifecycle
from tests.faults.client import READ_TIMEOUT

SPEED = 50
POLL_S, LOGS_S, MAX_FAILURE_S = 0.01, 0.2, 2.0


def _replace(owner: object, name: str, value: object) -> None:
    mock.patch.object(owner, name, value).start()


def _shorten_pauses() -> None:
    sleep, clock, config = time.sleep, botocore.retries.bucket.Clock, botocore.config.Config
    tokens: Any = botocore.retries.bucket.TokenBucket
    create, missing_s = config.__init__, tokens._sleep_amount

    def create_impatient(self: Any, *arguments: Any, **options: Any) -> None:
        read_timeout = float(os.environ.get(READ_TIMEOUT, "60"))
        create(self, *arguments, **options | {"read_timeout": read_timeout})

    _replace(time, "sleep", lambda seconds: sleep(seconds / SPEED if seconds > 0.05 else seconds))
    _replace(clock, "current_time", lambda _self: time.time() * SPEED)
    _replace(clock, "sleep", lambda _self, seconds: sleep(seconds / SPEED))
    # It waits on a condition, not with its clock.
    _replace(tokens, "_sleep_amount", lambda self, amount: missing_s(self, amount) / SPEED)
    _replace(config, "__init__", create_impatient)
    _replace(target, "LOCAL_POLL_S", POLL_S)
    _replace(target, "LOCAL_LOGS_S", LOGS_S)
    defaults: Any = target.Target.__init__.__kwdefaults__
    defaults |= {"poll_s": POLL_S, "logs_s": LOGS_S}
    _replace(polling, "MAX_FAILURE_S", MAX_FAILURE_S)
    _replace(lifecycle, "_NO_STEP_TIMEOUT_S", 0.0)


def _load() -> None:
    # botocore parses the models of a service for each session.
    load = functools.cache(JSONFileLoader().load_file)
    _replace(JSONFileLoader, "load_file", lambda _self, path: load(path))
    importlib.import_module("pandas")
    session = boto3.Session("warm", "warm", region_name="us-east-1")
    for name in ("s3", "emr", "ec2", "iam", "sts", "ssm", "cloudwatch"):
        session.client(name)
    bundled.import_stacks()
    importlib.import_module("stacks.program")
    for command in COMMANDS.values():
        importlib.import_module(f"emrctl.cli.{command.module}")
    for name in ("pull", "output_check", "check", "collect", "import_logs"):
        importlib.import_module(f"emrctl.runs.{name}")
    for name in (
        "engine.embedded.engine",
        "metrics.eventlog.reader",
        "metrics.live.managers",
        "metrics.findings",
        "runs.backends.emr",
        "tune.runner",
        "tune.result",
        "compare.stopping",
        "compare.page",
    ):
        importlib.import_module(f"emrctl.{name}")


_shorten_pauses()
_load()
gc.collect()
gc.freeze()
