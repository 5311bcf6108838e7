"""The emulator with a fake runtime and a faulty network: steps run without Java.

    python -m tests.faults.emulator --home DIR

The network follows `network.json` in the home (`Rule`); a step completes when a client has looked
at it twice, so that every client sees it pending or running first.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from emrctl.emulator import __main__ as program
from emrctl.emulator.api import dispatch
from emrctl.emulator.api.service import Request
from emrctl.emulator.cluster import s3_files
from emrctl.emulator.cluster.model import EmulatedCluster, EmulatedStep, StepResult
from emrctl.emulator.cluster.node_folder import EmulatorContext
from emrctl.emulator.cluster.s3_files import StepOutput
from emrctl.emulator.server import server
from emrctl.emulator.server.sigv4 import Application, Environ, HttpError, StartResponse, refuse
from emrctl.emulator.server.web import Pages
from emrctl.paths import write_atomically
from tests.emulator.fake_runtime import FakeRuntime

LOOKS = 2
_LOG_MB = "--log-mb"
_TAG = re.compile(r"emrctl-[0-9]{8}-[0-9]{9}-[a-z0-9-]+")
_PREFIX = re.compile(r"s3://([^/]+)/(runs/[^/]+/output)")
_SCOPE = re.compile(r"Credential=[^/]+/[0-9]+/[^/]+/([a-z0-9]+)/aws4_request")


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What happens to requests of a service ("" is any), after the first `after` of them.

    `answer` is `throttled`, `unavailable`, `expired`, `slow` (`delay_s`), `lost` (the request is
    executed and the connection closed) or `cut` (in the middle of the response's body): for
    `percent` of the requests, in a regular pattern, and at most `times` of them (0: any number). A
    new `id` starts counting again.
    """

    id: int
    answer: str
    service: str = ""
    percent: int = 100
    after: int = 0
    times: int = 0
    delay_s: float = 0.0

    def write(self, home: Path) -> None:
        """Let the network of an emulator follow this rule."""
        write_atomically(home / "network.json", json.dumps(asdict(self)))


@dataclass
class FaultyNetwork:
    """A WSGI application that answers like `inner`, except where the rule says otherwise."""

    inner: Application
    home: Path
    _rule: Rule | None = None
    _count: int = 0
    _faults: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Return the response or the fault."""
        rule = self._due(environ)
        if rule is None:
            return self.inner(environ, start_response)
        if rule.answer == "slow":
            time.sleep(rule.delay_s)
            return self.inner(environ, start_response)
        if rule.answer in {"cut", "lost"}:
            return self._cut(environ, start_response, whole=rule.answer == "lost")
        return _refused(environ, start_response, rule.answer)

    def _due(self, environ: Environ) -> Rule | None:
        """Count the request; return the rule if it concerns this one."""
        if environ.get("PATH_INFO", "").startswith("/emrctl/"):
            return None
        try:
            rule = Rule(**json.loads((self.home / "network.json").read_text()))
        except FileNotFoundError:
            return None
        if rule.service not in {"", service_of(environ)}:
            return None
        with self._lock:
            if self._rule is None or self._rule.id != rule.id:
                self._rule, self._count, self._faults = rule, 0, 0
            self._count += 1
            number = self._count - rule.after
            due = number > 0 and number * rule.percent // 100 != (number - 1) * rule.percent // 100
            if not due or (rule.times and self._faults >= rule.times):
                return None
            self._faults += 1
        return rule

    def _cut(
        self, environ: Environ, start_response: StartResponse, *, whole: bool
    ) -> Iterator[bytes]:
        """Yield the first half of the body, or nothing, then close the connection."""
        response: Any = self.inner(environ, start_response)
        body = b"".join(response)
        if hasattr(response, "close"):
            response.close()
        if not whole:
            yield body[: len(body) // 2]
        if whole or len(body) > 1:
            raise ConnectionResetError("cut")


def service_of(environ: Environ) -> str:
    """Return the service that a request is signed for."""
    found = _SCOPE.search(environ.get("HTTP_AUTHORIZATION", ""))
    return "emr" if found and found[1] == "elasticmapreduce" else found[1] if found else ""


_CODES = {
    "throttled": {"s3": ("SlowDown", 503), "ec2": ("RequestLimitExceeded", 503)},
    "unavailable": {"s3": ("ServiceUnavailable", 503), "ec2": ("Unavailable", 503)},
    "expired": {"s3": ("ExpiredToken", 400), "ec2": ("RequestExpired", 400)},
}
_OTHER = {
    "throttled": ("ThrottlingException", 400),
    "unavailable": ("ServiceUnavailable", 503),
    "expired": ("ExpiredTokenException", 400),
}


def _refused(environ: Environ, start_response: StartResponse, answer: str) -> Iterable[bytes]:
    service = service_of(environ)
    code, status = _CODES[answer].get(service, _OTHER[answer])
    return refuse(environ, start_response, HttpError(code, f"The request was {answer}.", status))


@dataclass
class StepRuntime(FakeRuntime):
    """A fake runtime whose steps end when clients have looked at them `LOOKS` times.

    A step leaves the event log of a small application and a result.
    """

    context: EmulatorContext | None = None
    looks: dict[str, int] = field(default_factory=dict)
    ended: dict[str, threading.Event] = field(default_factory=dict)
    applications: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def run_step(self, cluster: EmulatedCluster, step: EmulatedStep) -> StepResult:
        """Wait for the clients, then write what Spark writes."""
        cancelled = self._cancelled.setdefault(step.id, threading.Event())
        ended = self.ended.setdefault(step.id, threading.Event())
        while not (ended.is_set() or cancelled.is_set()):
            ended.wait(0.05)
        if not cancelled.is_set():
            _write_output(" ".join(step.args), next(self.applications))
            if _LOG_MB in step.args:
                return self._log_much(cluster, step)
        return super().run_step(cluster, step)

    def _log_much(self, cluster: EmulatedCluster, step: EmulatedStep) -> StepResult:
        """Complete a step that has printed as many MB as its argument says."""
        assert self.context is not None
        megabytes = int(step.args[step.args.index(_LOG_MB) + 1])
        line = b"a line of the log of a job, with a number: 0123456789\n"
        stdout = self.context.home / f"{step.id}.stdout"
        with stdout.open("wb") as file:
            for _ in range(megabytes):
                file.write(line * (1_000_000 // len(line) + 1))
        output = StepOutput(exit_code=0, stdout=stdout, stderr=b"")
        result = s3_files.upload_step(cluster, step, output)
        stdout.unlink()
        return result

    def look(self, cluster: EmulatedCluster, step: EmulatedStep | None) -> None:
        """Count that a client sees a step; wait for its end before the last time."""
        if step is None or not step.unfinished:
            return
        self.looks[step.id] = self.looks.get(step.id, 0) + 1
        if self.looks[step.id] <= LOOKS:
            return
        self.ended.setdefault(step.id, threading.Event()).set()
        with cluster.changed:
            cluster.changed.wait_for(lambda: not step.running, timeout=60)

    def urls(self, _cluster_id: str) -> dict[str, str]:
        """Return no pages."""
        return {}

    def serves(self, _cluster_id: str, _kind: str) -> bool:
        """There are no pages."""
        return False

    def address(self, _cluster_id: str, _kind: str) -> None:
        """There are no pages."""

    def cookie(self, _url: str) -> None:
        """There are no pages."""


def _write_output(command: str, number: int) -> None:
    """Write the event log of the application that a command starts, and a result of the job."""
    tag, output = _TAG.search(command), _PREFIX.search(command)
    if tag is None or output is None:
        return
    bucket, key = output.groups()
    id_ = f"application_1700000000000_{number:06d}"
    log = "".join(f"{json.dumps(event)}\n" for event in event_log(id_, tag[0]))
    s3_files._files.write(bucket, f"eventlogs/{id_}", [log.encode()])
    s3_files._files.write(bucket, f"{key}/result.json", [b'{"rows": 7}'])
    s3_files._files.write(bucket, f"{key}/part-00000.csv", [b"1,2\n" * 1000])


def event_log(id_: str, tag: str) -> list[dict[str, Any]]:
    """Return the events of an application with one executor and no job."""
    now = int(time.time() * 1000)
    properties = {"spark.yarn.tags": tag, "spark.master": "yarn", "spark.app.name": "job"}
    executor = {"Host": "h", "Total Cores": 1, "Log Urls": {}}
    start = {"App Name": "job", "App ID": id_, "Timestamp": now - 10_000, "User": "u"}
    return [
        {"Event": "SparkListenerLogStart", "Spark Version": "3.5.6"},
        {"Event": "SparkListenerApplicationStart", **start},
        {"Event": "SparkListenerEnvironmentUpdate", "Spark Properties": properties},
        {
            "Event": "SparkListenerExecutorAdded",
            "Timestamp": now - 9000,
            "Executor ID": "1",
            "Executor Info": executor,
        },
        {"Event": "SparkListenerApplicationEnd", "Timestamp": now},
    ]


def _looking(runtime: StepRuntime, name: str) -> Any:
    """Return an operation on steps that counts the steps it returns."""
    operation = dispatch.OPERATIONS[name]

    def look(request: Request) -> dict[str, Any]:
        cluster, step_id = request.cluster, request.members.get("StepId")
        for step in list(cluster.steps):
            if step_id in {None, step.id}:
                runtime.look(cluster, step)
        return operation(request)

    return look


def main() -> int:
    """Run the emulator until SIGTERM; return the exit code."""
    runtime = StepRuntime()

    def with_context(context: EmulatorContext) -> StepRuntime:
        runtime.context = context
        return runtime

    def faulty(**arguments: Any) -> Application:
        assert runtime.context is not None
        return FaultyNetwork(Pages(**arguments), runtime.context.home)

    names = ("DescribeStep", "ListSteps")
    with (
        mock.patch.object(server, "LocalRuntime", with_context),
        mock.patch.object(server, "Pages", faulty),
        mock.patch.dict(dispatch.OPERATIONS, {name: _looking(runtime, name) for name in names}),
    ):
        return program.main()


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    sys.exit(main())
