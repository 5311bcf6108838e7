"""What the lifecycle decides from states of stacks and nodes, with fakes of the engine and AWS."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from emrctl.aws.target import Target
from emrctl.clusters.model import Cluster, Node
from emrctl.engine.base import Engine, Preview, ResourceChange, StackState
from emrctl.errors import NotFoundError, ProvisioningError, UsageError
from emrctl.provision import lifecycle
from emrctl.provision.stacks import Deployment, engine_for
from emrctl.spec import ProjectSpec
from emrctl.standalone.parallel import NodeFailure, NodesFailedError
from tests.facts import CLUSTER

TARGET = Target(kind="local", region="us-east-1", identity="e")
CHANGE = ResourceChange(operation="create", type="aws:s3/bucket:Bucket", name="bucket")


def project(kind: str = "emr") -> ProjectSpec:
    return ProjectSpec.model_validate({"project": "pets", "cluster": {"kind": kind}})


def state(stack: str, *, resources: int = 3, gone: bool = False, **outputs: str) -> StackState:
    fields: dict[str, Any] = {"engine": "embedded", "identity": "e", "outputs": outputs}
    return StackState(stack=stack, resources=resources, gone=gone, **fields)


@dataclass
class FakeEngine:
    """An engine with these stacks; `calls` are those of `preview` and `down`."""

    states: tuple[StackState, ...] = ()
    changes: tuple[ResourceChange, ...] = ()
    calls: list[tuple[Any, ...]] = field(default_factory=list)

    def state(self, stack: str) -> StackState | None:
        return next((one for one in self.states if one.stack == stack), None)

    def stacks(self) -> tuple[StackState, ...]:
        return self.states

    def preview(self, stack: str, _program: Any) -> Preview:
        self.calls.append(("preview", stack))
        return Preview(stack=stack, changes=self.changes)

    def down(self, stack: str, _report: Any, *, force: bool = False) -> None:
        self.calls.append(("down", stack, force))


def as_engine(fake: FakeEngine) -> Engine:
    return cast("Engine", fake)


@pytest.mark.parametrize(
    ("states", "changes", "up_to_date"),
    [
        ((), (), False),
        ((state("pets-storage", gone=True),), (), False),
        ((state("pets-storage"),), (CHANGE,), False),
        ((state("pets-storage"),), (), True),
    ],
)
def test_stack_is_up_to_date_if_it_exists_and_nothing_changes(
    states: tuple[StackState, ...], changes: tuple[ResourceChange, ...], up_to_date: bool
) -> None:
    engine = FakeEngine(states, changes)
    found = lifecycle._up_to_date(as_engine(engine), "pets-storage", lambda: None)
    assert found is up_to_date


@pytest.mark.parametrize(
    ("states", "running", "names"),
    [
        ((), (), None),
        ((state("pets-storage"),), (), None),
        ((state("pets-main", resources=0),), (), None),
        ((state("pets-main", gone=True),), (), None),
        ((state("dogs-main"),), ("dogs-main",), None),
        ((state("pets-main", resources=1),), (), "main"),
        ((state("pets-main"), state("pets-storage")), ("pets-big", "pets-main"), "big, main"),
    ],
)
def test_bucket_is_in_use_while_a_cluster_of_the_project_exists(
    states: tuple[StackState, ...],
    running: tuple[str, ...],
    names: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clusters = [dataclasses.replace(CLUSTER, stack=stack) for stack in running]
    monkeypatch.setattr(lifecycle, "list_clusters", lambda *_: clusters)
    engine = as_engine(FakeEngine(states))
    if names is None:
        lifecycle._refuse_used_bucket(project(), TARGET, engine)
        return
    with pytest.raises(ProvisioningError) as caught:
        lifecycle._refuse_used_bucket(project(), TARGET, engine)
    assert caught.value.message == f"the bucket is in use by cluster {names}"
    assert f"--cluster {names.split(', ')[0]}`" in caught.value.hint


@pytest.mark.parametrize(
    ("states", "emptied"),
    [
        ((), []),
        ((state("pets-storage", gone=True, bucket="b"),), []),
        ((state("pets-storage", bucket="b"),), ["b"]),
        ((state("pets-storage"),), ["the default"]),
    ],
)
def test_down_of_storage_empties_the_bucket_of_the_stack(
    states: tuple[StackState, ...],
    emptied: list[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    engine, buckets = FakeEngine(states), list[str]()
    monkeypatch.setattr(lifecycle, "engine_for", lambda *_: engine)
    monkeypatch.setattr(lifecycle, "list_clusters", lambda *_: ())
    monkeypatch.setattr(lifecycle, "bucket_name", lambda *_: "the default")
    monkeypatch.setattr(lifecycle, "empty_bucket", lambda _, name: buckets.append(name))
    deployment = Deployment(project(), TARGET, tmp_path)
    lifecycle.down(deployment, storage=True)
    lifecycle.down(deployment)
    assert buckets == emptied
    assert engine.calls == [("down", "pets-storage", True), ("down", "pets-main", False)]


def test_pulumi_stores_stacks_of_localhost_beside_their_records(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    backends: list[Any] = []

    class Recorder:
        def __init__(self, _target: Target, backend: Any, records: Path) -> None:
            backends.append((backend, records))

    monkeypatch.setattr("emrctl.engine.pulumi.engine.PulumiEngine", Recorder)
    monkeypatch.setattr("emrctl.engine.pulumi.state_backend.aws_backend", lambda *_: "of AWS")
    here = Deployment(project(), TARGET, tmp_path)
    aws = Deployment(project(), dataclasses.replace(TARGET, kind="aws"), tmp_path)
    engine_for(here, name="pulumi")
    engine_for(aws)
    [(local, records), (shared, _)] = backends
    assert records == tmp_path / ".emrctl" / "stacks"
    assert local.url == f"file://{records}/pulumi"
    assert shared == "of AWS"


# Bootstrap logs


FAILED = ProvisioningError("cluster j-1: BOOTSTRAP_FAILURE", hint="Correct it.")


def with_log(
    error: ProvisioningError, read: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> ProvisioningError:
    monkeypatch.setattr("emrctl.clusters.bootstrap_logs.last_lines", read)
    return lifecycle._with_bootstrap_log(error, project(), TARGET)


def test_failed_bootstrap_action_is_reported_with_its_last_lines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = with_log(FAILED, lambda *_: ("no space", "exit 1"), monkeypatch)
    assert found.message == "cluster j-1: BOOTSTRAP_FAILURE\n  no space\n  exit 1"
    assert found.hint == "Print the log with `emrctl logs --bootstrap`. Correct it."
    bare = with_log(ProvisioningError("BOOTSTRAP_FAILURE"), lambda *_: ("a",), monkeypatch)
    assert bare.hint == "Print the log with `emrctl logs --bootstrap`."


def test_other_failure_or_missing_log_leaves_the_error_unchanged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unreadable(*_: Any) -> Any:
        raise NotFoundError("no log")

    other = ProvisioningError("cluster j-1: INTERNAL_ERROR")
    assert with_log(other, lambda *_: ("a",), monkeypatch) is other
    assert with_log(FAILED, lambda *_: (), monkeypatch) is FAILED
    assert with_log(FAILED, unreadable, monkeypatch) is FAILED


# Clusters of EC2 instances


def node(name: str) -> Node:
    role = "primary" if name == "primary" else "worker"
    fields: dict[str, Any] = {"type": "m5.xlarge", "private_dns": "", "public_dns": ""}
    return Node(id=f"i-{name}", role=role, name=name, state="running", **fields)


EC2 = dataclasses.replace(
    CLUSTER,
    spec=project("ec2").cluster,
    nodes=tuple(map(node, ("primary", "worker-1", "worker-2", "worker-3"))),
)


@pytest.mark.parametrize(
    ("failed", "terminated"),
    [
        (("worker-2",), ["worker-2"]),
        (("worker-3", "worker-1"), ["worker-1", "worker-3"]),
        (("primary",), None),
        (("primary", "worker-1"), None),
        (("worker-1", "worker-2", "worker-3"), None),
    ],
)
def test_failed_workers_are_terminated_if_primary_and_a_worker_remain(
    failed: tuple[str, ...],
    terminated: list[str] | None,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    ended: list[str] = []
    reports: list[tuple[str, str]] = []

    def terminate(_project: Any, _target: Any, names: list[str], *, report: Any) -> None:
        assert report is hear
        ended.extend(names)

    def hear(name: str, text: str) -> None:
        reports.append((name, text))

    monkeypatch.setattr("emrctl.clusters.stop_start.terminate_workers", terminate)
    monkeypatch.setattr(lifecycle, "find_cluster", lambda *_: CLUSTER)
    failures = {name: NodeFailure(node=name, id=f"i-{name}", what="exit code 4") for name in failed}
    error = NodesFailedError("bootstrapping", failures)
    deployment = Deployment(project("ec2"), TARGET, tmp_path)
    if terminated is None:
        with pytest.raises(NodesFailedError):
            lifecycle._terminate_failed(deployment, EC2, error, hear)
        assert (ended, reports) == ([], [])
        return
    assert lifecycle._terminate_failed(deployment, EC2, error, hear) is CLUSTER
    text = "terminated: exit code 4; the next `emrctl up` creates it again"
    assert ended == terminated
    assert reports == [(name, text) for name in terminated]


@pytest.mark.parametrize(
    ("kind", "found", "drained"),
    [
        ("ec2", EC2, True),
        ("ec2", dataclasses.replace(EC2, state="STOPPED"), False),
        ("ec2", CLUSTER, False),  # it was one of EMR
        ("ec2", None, False),
        ("emr", EC2, False),
    ],
)
def test_removed_workers_of_a_running_ec2_cluster_are_drained(
    kind: str,
    found: Cluster | None,
    drained: bool,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    calls: list[Cluster] = []

    def find(*_: Any) -> Cluster:
        if found is None:
            raise NotFoundError("no cluster")
        return found

    monkeypatch.setattr(lifecycle, "find_cluster", find)
    monkeypatch.setattr("emrctl.standalone.drain_removed", lambda *args: calls.append(args[2]))
    lifecycle._drain_removed_workers(Deployment(project(kind), TARGET, tmp_path), print)
    assert calls == ([found] if drained else [])


def test_find_ssh_cluster_rejects_emr_with_the_command_of_its_target(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(lifecycle, "find_cluster", lambda *_: CLUSTER)
    here = dataclasses.replace(TARGET, endpoint="http://127.0.0.1:9")
    aws = dataclasses.replace(TARGET, kind="aws")
    for target, reason, hint in (
        (here, "its nodes have no SSH server", "bootstrap action"),
        (aws, "only its primary accepts SSH", "emrctl ssh NODE"),
    ):
        with pytest.raises(UsageError, match=reason) as caught:
            lifecycle.find_ssh_cluster(Deployment(project(), target, tmp_path))
        assert hint in caught.value.hint
    monkeypatch.setattr(lifecycle, "find_cluster", lambda *_: EC2)
    assert lifecycle.find_ssh_cluster(Deployment(project("ec2"), TARGET, tmp_path)) is EC2


def test_up_terminates_and_drains_workers_before_it_deploys(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calls: list[tuple[Any, ...]] = []
    here = Deployment(project("ec2"), TARGET, tmp_path)

    def terminate(_project: Any, _target: Any, names: Any, **_: Any) -> None:
        calls.append(("terminate", names))

    def deploy(*_: Any, **__: Any) -> Cluster:
        calls.append(("deploy",))
        return CLUSTER

    def set_up(*args: Any, skip_failed: bool = False) -> Cluster:
        calls.append(("set up", skip_failed))
        assert args[1] is CLUSTER
        return EC2

    monkeypatch.setattr("emrctl.clusters.stop_start.terminate_workers", terminate)
    monkeypatch.setattr(lifecycle, "_drain_removed_workers", lambda *_: calls.append(("drain",)))
    monkeypatch.setattr(lifecycle, "deploy", deploy)
    monkeypatch.setattr(lifecycle, "_set_up", set_up)
    assert lifecycle.up(here) is EC2
    lifecycle.up(here, replace_workers=("worker-1",), skip_failed=True)
    deployed = [("drain",), ("deploy",)]
    replaced = ("terminate", ("worker-1",))
    assert calls == [*deployed, ("set up", False), replaced, *deployed, ("set up", True)]


def test_start_raises_if_workers_fail(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    error = NodesFailedError("starting", {"worker-1": NodeFailure(node="a", id="i", what="x")})

    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr("emrctl.clusters.stop_start.start_instances", lambda *_, **__: EC2)
    monkeypatch.setattr("emrctl.standalone.set_up", fail)
    with pytest.raises(NodesFailedError):
        lifecycle.start(Deployment(project("ec2"), TARGET, tmp_path))
