"""Targets: Amazon's AWS, or the EMR on localhost.

A `Target` provides boto3 clients, the settings of Pulumi's AWS provider and the URLs of a cluster's
pages. It carries what differs between AWS and localhost, so that other modules need not check.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from emrctl import paths
from emrctl.aws import errors, http
from emrctl.errors import EmrctlError, NotFoundError

AWS_POLL_S = 10.0
LOCAL_POLL_S = 0.2
# EMR uploads logs to S3 every five minutes and after a step; the emulator before the step ends.
AWS_LOGS_S = 360.0
LOCAL_LOGS_S = 2.0
# What the state file of an emulator has at least.
_STATE_KEYS = {"id", "endpoint", "pid", "credentials"}
PAGE_TIMEOUT_S = 3.0
# Names of the engines.
EMBEDDED, PULUMI = "embedded", "pulumi"

Page = Literal["yarn", "proxy", "history"]
_PAGE_PORTS: dict[Page, int] = {"yarn": 8088, "proxy": 20888, "history": 18080}


@dataclass(frozen=True, kw_only=True)
class Target:
    """An AWS: region, profile, endpoint and polling intervals.

    `identity` distinguishes emulators from each other and from AWS: stacks of another one do not
    exist. `storage_id` identifies buckets and the history of clusters, which the next emulator of
    the same home has too, and `started` is this emulator's start in epoch seconds. `token_file` has
    the token for the emulator's pages. `ssh_port` is the port of EC2 instances' SSH servers.
    """

    kind: Literal["aws", "local"]
    region: str
    profile: str | None = None
    endpoint: str | None = None
    credentials: Path | None = None
    identity: str = "aws"
    storage_id: str = ""
    started: float = 0.0
    token_file: Path | None = None
    poll_s: float = AWS_POLL_S
    logs_s: float = AWS_LOGS_S
    ssh_port: int = 22

    @property
    def lasting_identity(self) -> str:
        """Identity of what survives an emulator: buckets, terminated clusters and their steps."""
        return self.storage_id or self.identity

    def stack_identity(self, stack: str) -> str:
        """Return the identity of a stack's resources: buckets survive the emulator."""
        return self.lasting_identity if stack.endswith("-storage") else self.identity

    @property
    def is_local(self) -> bool:
        """Whether this is the EMR on localhost."""
        return self.kind == "local"

    @property
    def engines(self) -> tuple[str, ...]:
        """Names of the engines that can deploy to this target, the default first."""
        return (EMBEDDED, PULUMI) if self.is_local else (PULUMI,)

    @property
    def shared(self) -> bool:
        """Whether other machines use it too, so that its runs and stacks are stored on it.

        An emulator can be deleted: its runs and stacks are stored in the project's folder.
        """
        return not self.is_local

    @property
    def state_folder(self) -> Path:
        """The folder of a project with records of its stacks; an emulator's end with it."""
        return Path(".emrctl") / ("aws" if self.shared else "stacks")

    @property
    def uses_aws_plugin(self) -> bool:
        """Whether Pulumi's engine uses its AWS plugin; the local provider replaces it."""
        return not self.is_local

    @property
    def account_limits(self) -> bool:
        """Whether quotas, permissions or capacity of the account can make `up` fail."""
        return not self.is_local

    @property
    def caller_range(self) -> str | None:
        """Range from which this machine connects to nodes; None on AWS, which sees another one."""
        return "127.0.0.1/32" if self.is_local else None

    @property
    def emr_nodes_are_folders(self) -> bool:
        """Whether EMR's nodes are folders of this machine, without SSH servers."""
        return self.endpoint is not None

    @property
    def runs_scripts_here(self) -> bool:
        """Whether bootstrap actions and steps run on this machine, with the user's own rights."""
        return self.is_local

    @property
    def spark_from_pypi(self) -> bool:
        """Whether clusters run a Spark from PyPI instead of the release's own."""
        return self.is_local

    @property
    def nodes_share_python(self) -> bool:
        """Whether the nodes' `python3` is the one of emrctl, on this machine's processor."""
        return self.is_local

    @property
    def single_region(self) -> bool:
        """Whether all resources of the account are in `region`."""
        return self.endpoint is not None

    @property
    def unsupported_resources(self) -> frozenset[str]:
        """Types of resources that the API can neither create nor list."""
        return frozenset({"placement group"} if self.is_local else ())

    @property
    def is_running(self) -> bool:
        """Whether this emulator is still running; always true of AWS."""
        if self.endpoint is None:
            return True
        state = emulator_state()
        return state is not None and state["id"] == self.identity

    def page_host(self, dns: str, private_ip: str) -> str:
        """Return the host of a node's pages: the emulator serves them at the private address."""
        return private_ip if self.is_local and dns else dns

    def client(self, service: str, *, once: bool = False) -> Any:
        """Return a boto3 client for `service` with adaptive retries.

        boto3 also repeats a request that AWS may have executed, because the response was lost. With
        `once`, it repeats only requests that AWS has throttled.
        """
        return _client(self, service, once)

    def account(self) -> str:
        """Return the account id; raises `CredentialsError` if AWS rejects the credentials."""
        with errors.translated("reading the caller's identity"):
            return str(self.client("sts").get_caller_identity()["Account"])

    def page(self, cluster_id: str, primary_dns: str, name: Page) -> str:
        """Return the URL of a cluster's page for programs: REST APIs of YARN and Spark."""
        if self.endpoint is None:
            suffix = "/proxy" if name == "proxy" else ""
            return f"http://{primary_dns}:{_PAGE_PORTS[name]}{suffix}"
        return f"{self.endpoint}/emrctl/clusters/{cluster_id}/{name}"

    def emulator_urls(self, cluster_id: str) -> dict[str, str] | None:
        """Return the URLs at which the emulator serves a cluster's pages; None on AWS."""
        if self.endpoint is None:
            return None
        try:
            clusters = self.fetch(f"{self.endpoint}/emrctl/status")["clusters"]
        except (OSError, ValueError, KeyError, EmrctlError):
            return {}  # a cluster without pages can still be shown
        urls = {item["id"]: dict(item.get("urls", {})) for item in clusters}
        return urls.get(cluster_id, {})

    def active_faults(self) -> tuple[str, ...]:
        """Return the faults that are active on localhost, e.g. `slow-s3 delay=0.5`."""
        if self.endpoint is None:
            return ()
        try:
            faults = self.fetch(f"{self.endpoint}/emrctl/faults")["faults"]
            return tuple(str(item["text"]) for item in faults)
        except (OSError, ValueError, KeyError, EmrctlError):
            return ()  # the emulator is stopping, or is an earlier version

    def browser_url(self, url: str) -> str:
        """Return a URL for a browser; on localhost one that signs it in at the emulator."""
        if self.endpoint is None:
            return url
        import urllib.parse

        query = urllib.parse.urlencode({"to": url})
        return str(self.fetch(f"{self.endpoint}/emrctl/ticket?{query}")["url"])

    def fetch(self, url: str) -> Any:
        """Return the JSON document of a cluster's web page; raise as `http.get_json` does."""
        token = self.token_file.read_text().strip() if self.token_file else ""
        headers = {"X-Emrctl-Token": token} if token else {}
        return http.get_json(url, headers=headers, timeout_s=PAGE_TIMEOUT_S)

    def pulumi_settings(self) -> dict[str, Any]:
        """Return the inputs of Pulumi's AWS provider: region, and endpoints on localhost."""
        if self.endpoint is None:
            settings: dict[str, Any] = {"region": self.region}
            return settings | ({"profile": self.profile} if self.profile else {})
        services = ("s3", "s3control", "emr", "ec2", "iam", "sts", "kms", "ssm")
        return {
            "region": self.region,
            "shared_credentials_files": [str(self.credentials)],
            "s3_use_path_style": True,
            "skip_credentials_validation": True,
            "skip_metadata_api_check": True,
            "skip_region_validation": True,
            "max_retries": 2,
            "endpoints": [dict.fromkeys(services, self.endpoint)],
        }


def resolve(kind: Literal["aws", "local"], region: str, profile: str | None = None) -> Target:
    """Return the target of that kind; `NotFoundError` if it is local and no emulator is running."""
    if kind == "aws":
        return Target(kind="aws", region=region, profile=profile)
    return emulator(region)


def emulator(region: str) -> Target:
    """Return the target of the running emulator; raises `NotFoundError` if there is none."""
    state = emulator_state()
    if state is None:
        hint = "Start it with `emrctl local up`."
        raise NotFoundError("the EMR on localhost is not running", hint=hint)
    return Target(
        kind="local",
        region=region,
        endpoint=str(state["endpoint"]),
        credentials=Path(str(state["credentials"])),
        identity=str(state["id"]),
        storage_id=str(state.get("storage_id", "")),
        started=float(state.get("started", 0)),
        token_file=Path(str(state["token_file"])) if state.get("token_file") else None,
        poll_s=LOCAL_POLL_S,
        logs_s=LOCAL_LOGS_S,
        ssh_port=int(state.get("ssh_port", 22)),
    )


def emulator_state() -> dict[str, Any] | None:
    """Return the state file of the running emulator; None if it is not running.

    A damaged file is that of no emulator, as for `emrctl local up`.
    """
    try:
        state: dict[str, Any] = json.loads(paths.emulator_file().read_text())
        running = state.keys() >= _STATE_KEYS and process_exists(int(state["pid"]))
    except (FileNotFoundError, ValueError, TypeError, AttributeError):
        return None
    return state if running else None


def process_exists(pid: int) -> bool:
    """Return whether a process with this id is running, of any user."""
    import os

    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@functools.cache
def _client(target: Target, service: str, once: bool) -> Any:
    from botocore.config import Config

    from emrctl.aws import throttling

    config = Config(
        retries={"mode": "adaptive", "total_max_attempts": 10},
        s3={"addressing_style": "path" if target.endpoint else "auto"},
        connect_timeout=10,
        read_timeout=60,
    )
    client = _session(target).client(service, endpoint_url=target.endpoint, config=config)
    throttling.monitor(service).register(client)
    if once:
        throttling.repeat_only_throttled(client)
    return client


@functools.cache
def _session(target: Target) -> Any:
    import boto3

    if target.credentials is None:
        return boto3.Session(profile_name=target.profile, region_name=target.region)
    import configparser

    parser = configparser.ConfigParser()
    parser.read(target.credentials)
    keys = parser["default"]
    return boto3.Session(
        aws_access_key_id=keys["aws_access_key_id"],
        aws_secret_access_key=keys["aws_secret_access_key"],
        region_name=target.region,
    )
