"""An emulator and a project in which clients are mistreated, and the checks of what is left."""

from __future__ import annotations

import configparser
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from emrctl.aws.target import Target
from emrctl.emulator.server import processes, state
from emrctl.emulator.server.state import EmulatorInfo
from tests.faults import client
from tests.faults.client import Client, Fault, Result
from tests.faults.emulator import Rule

REGION = "us-east-1"
ROOT = Path(__file__).parents[2]
ALL_RUNS = "runs --last 1000000"
# Exit codes of `emrctl.errors` and of Click; 1 is a bug, or the answer to a question.
EXPECTED_CODES = frozenset({0, 2, 3, 4, 5, 6, 7, 8, 9, 10})

PROJECT = """\
project: {name}
target: local
cluster:
  release: emr-7.5.0
  step_concurrency: 4
  core: {{type: m5.xlarge, count: 2}}
jobs:
  job: {{script: job.py, args: [--output, "{{run}}/output"]}}
experiments:
  grid:
    name: grid
    job: job
    factors: {{executors: [1, 2]}}
    repeats: 2
    settings: {{executor_memory: 1g, executor_cores: 1}}
"""


@dataclass
class Emulator:
    """An emulator with fake steps and a faulty network, in `home`/local."""

    home: Path
    process: subprocess.Popen[bytes] | None = None
    rules: int = 0

    @property
    def folder(self) -> Path:
        """The emulator's own folder."""
        return self.home / "local"

    @property
    def info(self) -> EmulatorInfo:
        """The running emulator."""
        info = state.read(self.folder)
        assert info is not None
        return info

    def start(self) -> None:
        """Start it and wait until it answers."""
        state.prepare_home(self.folder)
        self.network(None)
        command = ["-m", "tests.faults.emulator", "--home", str(self.folder), "--region", REGION]
        environment = {**_kept_environment(), "MOTO_IAM_LOAD_MANAGED_POLICIES": "true"}
        with (self.folder / "emulator.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *command], cwd=ROOT, env=environment, stdout=log, stderr=log
            )
        deadline = time.monotonic() + 60
        while (info := state.read(self.folder)) is None or info.pid != self.process.pid:
            assert self.process.poll() is None, (self.folder / "emulator.log").read_text()
            assert time.monotonic() < deadline, "the emulator does not start"
            time.sleep(0.02)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Stop it, with SIGKILL as if the machine had crashed; nothing of it stays."""
        if self.process is None:
            return
        info = state.read(self.folder)
        self.process.send_signal(number)
        self.process.wait(timeout=60)
        self.process = None
        if info is not None:
            processes.kill_marked(processes.EMULATOR_MARK, info.id)

    def network(self, rule: Rule | None) -> None:
        """Let the network follow a rule; None is a network without faults."""
        path = self.folder / "network.json"
        if rule is None:
            path.unlink(missing_ok=True)
        else:
            self.rules += 1
            rule = Rule(**{**vars(rule), "id": self.rules})
            rule.write(self.folder)

    @property
    def target(self) -> Target:
        """The target of the running emulator, for checks beside the clients."""
        info = self.info
        return Target(
            kind="local",
            region=REGION,
            endpoint=info.endpoint,
            credentials=Path(info.credentials),
            identity=info.id,
            storage_id=info.storage_id,
        )

    def delete_objects(self, prefix: str) -> None:
        """Delete the objects with a prefix in all buckets."""
        s3 = self.target.client("s3")
        for bucket in s3.list_buckets()["Buckets"]:
            pages = s3.get_paginator("list_objects_v2").paginate(
                Bucket=bucket["Name"], Prefix=prefix
            )
            for page in pages:
                for item in page.get("Contents", ()):
                    s3.delete_object(Bucket=bucket["Name"], Key=item["Key"])

    def inventory(self) -> Counter[str]:
        """Return everything that exists on the emulated account, as kind and id."""
        return Counter(dict.fromkeys(_list_everything(self.target), 1))


def _kept_environment() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "EMRCTL_"))}


def _list_everything(target: Target) -> Iterator[str]:
    emr, ec2, iam = (target.client(name) for name in ("emr", "ec2", "iam"))
    states = ["STARTING", "BOOTSTRAPPING", "RUNNING", "WAITING", "TERMINATING"]
    for page in emr.get_paginator("list_clusters").paginate(ClusterStates=states):
        yield from (f"cluster {item['Id']}" for item in page["Clusters"])
    yield from (f"bucket {item['Name']}" for item in target.client("s3").list_buckets()["Buckets"])
    yield from (f"role {item['RoleName']}" for item in iam.list_roles()["Roles"])
    for item in iam.list_instance_profiles()["InstanceProfiles"]:
        yield f"profile {item['InstanceProfileName']}"
    for operation, key, name in (
        ("describe_vpcs", "Vpcs", "VpcId"),
        ("describe_subnets", "Subnets", "SubnetId"),
        ("describe_security_groups", "SecurityGroups", "GroupId"),
        ("describe_internet_gateways", "InternetGateways", "InternetGatewayId"),
        ("describe_vpc_endpoints", "VpcEndpoints", "VpcEndpointId"),
        ("describe_key_pairs", "KeyPairs", "KeyName"),
        ("describe_volumes", "Volumes", "VolumeId"),
    ):
        for item in getattr(ec2, operation)()[key]:
            # Default groups are deleted with their VPC, attached volumes with their instance. The
            # default VPC of an emulator that was started again has another id.
            if item.get("IsDefault") or item.get("DefaultForAz"):
                continue
            if item.get("State") in {"deleted", "in-use"} or item.get("GroupName") == "default":
                continue
            yield f"{name} {item[name]}"


@dataclass
class Project:
    """A project on the emulator: its clients, and the problems that were found.

    A `shared` project has `target: aws`, with the emulator as AWS: its runs are stored on S3.
    Clients wait `read_timeout_s` for the response to a request.
    """

    emulator: Emulator
    folder: Path
    name: str
    shared: bool = False
    read_timeout_s: float = 60.0
    problems: list[str] = field(default_factory=list)
    lost: int = 0
    left: int = 0

    @classmethod
    def create(cls, emulator: Emulator, folder: Path, name: str) -> Project:
        """Write a new project's files."""
        folder.mkdir(parents=True)
        (folder / "emrctl.yaml").write_text(PROJECT.format(name=name))
        (folder / "job.py").write_text("print(1)\n")
        return cls(emulator, folder, name)

    def copy(self, folder: Path, *, shared: bool = False) -> Project:
        """Return a copy with the same stacks and clusters, and without local runs."""
        shutil.copytree(self.folder, folder, ignore=shutil.ignore_patterns("runs", "experiments"))
        return Project(self.emulator, folder, self.name, shared)

    @property
    def environment(self) -> dict[str, str]:
        """The environment of the clients."""
        home = self.emulator.home
        own = {"EMRCTL_HOME": str(home), "HOME": str(home), "TMPDIR": str(home / "tmp")}
        (home / "tmp").mkdir(exist_ok=True)
        own[client.READ_TIMEOUT] = str(self.read_timeout_s)
        return {**_kept_environment(), **own, **(self._aws() if self.shared else {})}

    def _aws(self) -> dict[str, str]:
        keys = configparser.ConfigParser()
        keys.read(self.emulator.info.credentials)
        return {
            "EMRCTL_TARGET": "aws",
            "AWS_ENDPOINT_URL": self.emulator.info.endpoint,
            "AWS_ACCESS_KEY_ID": keys["default"]["aws_access_key_id"],
            "AWS_SECRET_ACCESS_KEY": keys["default"]["aws_secret_access_key"],
        }

    def start(self, command: str, fault: Fault | None = None) -> Client:
        """Start a client."""
        return client.start(self.folder, self.environment, command, fault)

    def run(self, command: str, fault: Fault | None = None) -> Result:
        """Run a client until it ends; check its exit code and its message."""
        result = self.start(command, fault).wait()
        self.check_message(result)
        return result

    def json(self, command: str) -> Any:
        """Return the JSON document that a client prints."""
        result = self.run(f"{command} --json")
        try:
            return json.loads(result.out)
        except ValueError:
            self.problem(f"{command} --json: exit code {result.code}, no JSON: {result.err[-300:]}")
            return {}

    def problem(self, text: str) -> None:
        """Add a problem."""
        self.problems.append(text)

    def check_message(self, result: Result) -> None:
        """No traceback, a known exit code, and a message with every failure."""
        if result.killed:
            return
        what = f"`emrctl {result.command}`"
        if result.timed_out:
            self.problem(f"{what} did not end: {result.err[-300:]}")
        elif "Traceback (most recent call last)" in result.err:
            self.problem(f"{what}: traceback: {result.err[-1500:]}")
        elif result.code not in EXPECTED_CODES:
            self.problem(f"{what}: exit code {result.code}: {result.err[-3000:]}")
        elif result.code and "error: " not in result.err and "Usage" not in result.err:
            self.problem(f"{what}: exit code {result.code} without a message")

    # --- checks of what a client left -------------------------------------------------------------

    def settle(self) -> list[dict[str, Any]]:
        """Do what a user does after a crash: list and wait for all runs; return their records."""
        listed = self.json(ALL_RUNS)
        for run in listed:
            if run["state"] not in {"COMPLETED", "CANCELLED"}:
                result = self.run(f"wait {run['id']}")
                if result.code not in {0, 6}:
                    self.problem(f"wait {run['id']}: exit code {result.code}: {result.err}")
        return list(self.json(ALL_RUNS))

    @cached_property
    def earlier_steps(self) -> frozenset[str]:
        """The steps that existed before this project's runs."""
        return frozenset(step["Id"] for step in self.steps())

    def steps(self) -> Iterator[dict[str, Any]]:
        """Yield the steps of all clusters of the project, also of terminated ones."""
        emr = self.emulator.target.client("emr")
        for page in emr.get_paginator("list_clusters").paginate():
            for item in page["Clusters"]:
                if item["Name"].startswith(f"{self.name}-"):
                    pages = emr.get_paginator("list_steps").paginate(ClusterId=item["Id"])
                    yield from (step for page in pages for step in page["Steps"])

    def check_runs(self) -> None:
        """No run is lost or doubled: each step has one record, with the step's state."""
        runs = {run["id"]: run for run in self.settle()}
        steps = [step for step in self.steps() if step["Id"] not in self.earlier_steps]
        names = Counter(step["Name"].partition("[")[2].rstrip("]") for step in steps)
        for step in steps:
            run = runs.get(step["Name"].partition("[")[2].rstrip("]"))
            if run is None:
                self.lost += 1
                self.problem(f"step {step['Name']} has no run")
            elif run["state"] != step["Status"]["State"] or run["step_id"] != step["Id"]:
                self.lost += 1
                self.problem(f"run {run['id']} is {run['state']}, its step {step['Status']}")
            elif run["state"] == "COMPLETED" and run["application_id"] is None:
                self.lost += 1
                self.problem(f"run {run['id']} has no application: {run['warnings']}")
        for run_id, count in names.items():
            if count > 1:
                self.lost += count - 1
                self.problem(f"run {run_id} has {count} steps")
        for run in runs.values():
            if run["id"] not in names and run["state"] != "LOST":
                self.problem(f"run {run['id']} is {run['state']} without a step")
        self.check_store()

    def check_store(self) -> None:
        """Every file of the store can be read, or is repaired."""
        result = self.run("runs check")
        if result.code not in {0, 10}:
            self.problem(f"runs check: exit code {result.code}: {result.err[-300:]}")
        elif result.code:
            repaired = self.run("runs check --repair")
            if repaired.code:
                self.problem(f"runs check --repair: {repaired.out}{repaired.err}")

    def check_trials(self, least: int) -> None:
        """At least these trials completed, and none of them twice."""
        done = Counter(
            (run["trial"]["cell"], run["trial"]["repeat"])
            for run in self.json(ALL_RUNS)
            if run["state"] == "COMPLETED" and run["trial"]
        )
        twice = done.total() - len(done)
        missing = max(0, least - len(done))
        if missing or twice:
            self.lost += missing + twice
            self.problem(f"{missing} of {least} trials did not complete, {twice} completed twice")

    def check_nothing_left(self, before: Counter[str]) -> Counter[str]:
        """The account has what it had before; return what else it has."""
        left = self.emulator.inventory() - before
        if left:
            self.left += sum(left.values())
            self.problem(f"left behind: {', '.join(sorted(left))}")
        return left

    def check_seen_by_gc(self, before: Counter[str]) -> None:
        """`gc` lists everything that the project has on the account."""
        listed = {item["id"] for item in self.json("gc")["resources"]}
        unseen = [
            text
            for text in self.emulator.inventory() - before
            if text.split(" ", 1)[1] not in listed and not text.startswith("profile ")
        ]
        if unseen:
            self.left += len(unseen)
            self.problem(f"gc does not list: {', '.join(sorted(unseen))}")


@contextmanager
def running(folder: Path) -> Iterator[Emulator]:
    """Yield an emulator that is stopped at the end."""
    emulator = Emulator(folder)
    emulator.start()
    try:
        yield emulator
    finally:
        emulator.stop()
