"""Reconfiguration of running instance groups through the EMR API, without processes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from emrctl.emulator.cluster.model import InstanceGroup
from emrctl.emulator.cluster.reconfiguring import changed_classifications, merged
from emrctl.errors import EmrctlError
from tests.emulator.conftest import Await, Emr
from tests.emulator.fake_runtime import FakeRuntime
from tests.emulator.hadoop.clusters import classification

_YARN = classification("yarn-site", yarn__nodemanager__resource__memory_mb="4096")


def test_merged_overrides_properties_and_nested_configurations() -> None:
    export = {
        "Classification": "spark-env",
        "Properties": {},
        "Configurations": [classification("export", A="1", B="1")],
    }
    new = {
        "Classification": "spark-env",
        "Configurations": [classification("export", B="2", C="2")],
    }
    spark = classification("spark-defaults", spark__executor__cores="2")
    result = merged([export, spark], [new, classification("spark-defaults", spark__ui="x"), _YARN])
    assert result == [
        {
            "Classification": "spark-env",
            "Properties": {},
            "Configurations": [classification("export", A="1", B="2", C="2")],
        },
        classification("spark-defaults", spark__executor__cores="2", spark__ui="x"),
        _YARN,
    ]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ([], [], set()),
        ([_YARN], [_YARN], set()),
        ([_YARN], [], {"yarn-site"}),
        ([], [_YARN], {"yarn-site"}),
        ([_YARN], [classification("yarn-site", a="1")], {"yarn-site"}),
        (
            [_YARN, {"Classification": "hadoop-env", "Configurations": []}],
            [
                _YARN,
                {"Classification": "hadoop-env", "Configurations": [classification("export")]},
            ],
            {"hadoop-env"},
        ),
    ],
)
def test_changed_classifications(old: Any, new: Any, expected: set[str]) -> None:
    assert changed_classifications(old, new) == expected


Core = Callable[[], dict[str, Any]]
Modify = Callable[..., None]


@pytest.fixture
def core(emr: Emr, waiting: str) -> Core:
    return lambda: dict(emr.list_instance_groups(ClusterId=waiting)["InstanceGroups"][1])


@pytest.fixture
def modify(emr: Emr, waiting: str, core: Core) -> Modify:
    def modify_group(*configurations: dict[str, Any], **change: Any) -> None:
        change = {"InstanceGroupId": core()["Id"], "Configurations": configurations} | change
        emr.modify_instance_groups(ClusterId=waiting, InstanceGroups=[change])

    return modify_group


def _state(core: Core) -> Callable[[], str]:
    return lambda: str(core()["Status"]["State"])


def test_group_is_reconfiguring_then_running(
    runtime: FakeRuntime, core: Core, modify: Modify, until: Await
) -> None:
    go = threading.Event()
    active: list[Any] = []

    def wait(group: InstanceGroup) -> None:
        active.append(group.configurations)
        assert go.wait(60)

    runtime.on_restart = wait
    modify(_YARN)
    until(lambda: active, [[_YARN]])
    group = core()
    assert group["Status"]["State"] == "RECONFIGURING"
    assert (group["Configurations"], group["ConfigurationsVersion"]) == ([_YARN], 1)
    assert group["LastSuccessfullyAppliedConfigurations"] == []
    assert group["LastSuccessfullyAppliedConfigurationsVersion"] == 0
    for change in ({}, {"ReconfigurationType": "MERGE"}):
        with pytest.raises(ClientError, match="while it is RECONFIGURING"):
            modify(_YARN, **change)
    go.set()
    until(_state(core), "RUNNING")
    group = core()
    assert group["LastSuccessfullyAppliedConfigurations"] == [_YARN]
    assert group["LastSuccessfullyAppliedConfigurationsVersion"] == 1
    assert len(runtime.reconfigured) == 2


def test_merge_keeps_other_properties_and_overwrite_does_not(
    core: Core, modify: Modify, until: Await
) -> None:
    second = classification("spark-defaults", spark__executor__cores="2")
    expected = [([_YARN], {}), ([_YARN, second], {"ReconfigurationType": "MERGE"}), ([second], {})]
    for number, (configurations, change) in enumerate(expected):
        modify(second if number else _YARN, **change)
        until(_state(core), "RUNNING")
        assert core()["LastSuccessfullyAppliedConfigurations"] == configurations


@pytest.mark.parametrize("error", [EmrctlError, ValueError, OSError])
def test_failed_reconfiguration_is_reverted(
    runtime: FakeRuntime, core: Core, modify: Modify, until: Await, error: type[Exception]
) -> None:
    modify(_YARN)
    until(_state(core), "RUNNING")
    wrong = classification("yarn-site", yarn__nodemanager__resource__memory_mb="much")
    active: list[Any] = []

    def fail(group: InstanceGroup) -> None:
        active.append(group.configurations)
        if group.configurations == [wrong]:
            raise error("NodeManager of i-1 exited with code 1: see its log")

    runtime.on_restart = fail
    modify(wrong)
    until(_state(core), "RUNNING")
    group = core()
    message = group["Status"]["StateChangeReason"]["Message"]
    assert "version 2 failed: NodeManager of i-1 exited with code 1" in message
    assert "reverted to version 1" in message
    assert active == [[wrong], [_YARN]]
    assert (group["Configurations"], group["ConfigurationsVersion"]) == ([wrong], 2)
    assert group["LastSuccessfullyAppliedConfigurations"] == [_YARN]
    assert group["LastSuccessfullyAppliedConfigurationsVersion"] == 1


def test_daemons_are_not_restarted_for_spark(
    runtime: FakeRuntime, core: Core, modify: Modify, until: Await
) -> None:
    modify(classification("spark-defaults", spark__executor__cores="2"))
    until(_state(core), "RUNNING")
    assert runtime.reconfigured == []
    assert core()["ConfigurationsVersion"] == 1


def test_invalid_reconfigurations_are_rejected(core: Core, modify: Modify) -> None:
    for configurations, change, message in (
        ([_YARN, _YARN], {}, "is given twice"),
        ([{"Properties": {}}], {}, "needs a Classification"),
        ([_YARN], {"InstanceCount": 3}, "resized and reconfigured"),
        ([_YARN], {"ReconfigurationType": "REPLACE"}, "ReconfigurationType|reconfigurationType"),
    ):
        with pytest.raises(ClientError, match=message):
            modify(*configurations, **change)
    assert core()["ConfigurationsVersion"] == 0
