from __future__ import annotations

from collections.abc import Iterator

import pytest

from emrctl.aws.target import Target
from emrctl.emulator.server import control
from tests.cli.answers import Emrctl, json_of


@pytest.fixture
def in_emulator(instances: Target, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Use the session's emulator; end all faults after the test."""
    assert instances.token_file is not None
    monkeypatch.setenv("EMRCTL_HOME", str(instances.token_file.parents[1]))
    yield
    info = control.status()
    assert info is not None
    control.clear_faults(info)


@pytest.mark.usefixtures("in_emulator")
def test_fault_commands_add_list_and_clear(typed: Emrctl) -> None:
    for words in (
        ("throttle", "--percent", "20", "--service", "emr", "--for", "3"),
        ("slow-s3", "--delay", "0.5", "--seconds", "3600"),
        ("bootstrap-failure", "--exit-code", "3"),
        ("capacity", "--reason", "type-not-supported", "--for", "2"),
        ("capacity", "--instance-type", "m5.xlarge", "--market", "spot"),
    ):
        code, out, err = typed("local", "fault", *words)
        assert code == 0, err
        assert out.startswith(words[0])
    faults = json_of(typed("local", "fault", "list", "--json"))["faults"]
    assert [(one["kind"], one["settings"], one["times_left"]) for one in faults] == [
        ("throttle", {"percent": 20, "service": "emr"}, 3),
        ("slow-s3", {"delay": 0.5}, None),
        ("bootstrap-failure", {"exit_code": 3, "action": 1}, 1),
        ("capacity", {"reason": "type-not-supported"}, 2),
        (
            "capacity",
            {
                "reason": "insufficient-capacity",
                "instance_type": "m5.xlarge",
                "market": "spot",
            },
            1,
        ),
    ]
    assert (
        "fault throttle percent=20 service=emr  0 of 0 affected, 3 left"
        in typed("local", "status")[1]
    )
    assert typed("local", "fault", "clear", "capacity")[1] == "Ended 2 faults.\n"
    assert typed("local", "fault", "clear")[1] == "Ended 3 faults.\n"
    assert json_of(typed("local", "fault", "list", "--json")) == {"faults": []}


@pytest.mark.usefixtures("in_emulator")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("throttle", "--percent", "101"), "less than or equal to 100"),
        (
            ("throttle", "--percent", "5", "--service", "iam"),
            "'iam' is not one of",
        ),
        (("slow-s3",), "no delay and no bandwidth"),
        (("clear", "none"), "'none' is no kind of fault"),
    ],
)
def test_fault_command_rejects_invalid_value(
    typed: Emrctl, words: tuple[str, ...], message: str
) -> None:
    code, _, err = typed("local", "fault", *words)
    assert (code, message in err) == (2, True), err


@pytest.mark.usefixtures("in_emulator")
@pytest.mark.parametrize("command", ["lose-node", "spot-interruption"])
def test_lost_node_of_unknown_cluster_is_rejected(typed: Emrctl, command: str) -> None:
    code, _, err = typed("local", "fault", command, "j-none")
    assert (code, "no active cluster is 'j-none'" in err) == (3, True), err


def test_fault_without_emulator_fails(typed: Emrctl) -> None:
    code, _, err = typed("local", "fault", "list")
    assert (code, "emrctl local up" in err) == (3, True)
