"""Every operation of EMR's API with valid, invalid and random requests: never an internal error."""

from __future__ import annotations

import logging
import random
from typing import Any

import pytest

from emrctl.emulator.api import validation
from emrctl.emulator.api.service import ApiError, Service
from tests.emulator.api import requests
from tests.emulator.api.requests import MODEL, send

CODES = {
    *("ValidationException", "InvalidRequestException", "SerializationException"),
    "UnknownOperationException",
}


@pytest.mark.parametrize("name", MODEL.operation_names)
def test_operation_answers_minimal_request(service: Service, name: str) -> None:
    shape = MODEL.operation_model(name).input_shape
    status, answer = send(service, name, requests.minimal(shape))
    assert status == 200 or answer["__type"] in CODES


@pytest.mark.parametrize("name", MODEL.operation_names)
def test_operation_rejects_invalid_members(service: Service, name: str) -> None:
    shape = MODEL.operation_model(name).input_shape
    for body, codes in requests.mutations(shape, requests.minimal(shape)):
        status, answer = send(service, name, body)
        assert (status, answer["__type"] in codes) == (400, True), (body, answer)
    assert not service.clusters


def test_random_requests_never_cause_internal_errors(
    service: Service, request_body: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    choose = random.Random(15)  # noqa: S311
    _, created = send(service, "RunJobFlow", request_body)
    cluster = service.clusters[created["JobFlowId"]]
    known = requests.KNOWN | {
        **dict.fromkeys(("ClusterId", "JobFlowId", "ResourceId"), cluster.id),
        "JobFlowIds": [cluster.id],
        "TargetResourceArn": cluster.arn,
        "InstanceGroupId": cluster.groups[1].id,
    }
    answered = set()
    with caplog.at_level(logging.ERROR):
        for _ in range(20):
            for name in MODEL.operation_names:
                shape: Any = MODEL.operation_model(name).input_shape
                body = {
                    key: requests.random_value(member, key, choose, known)
                    for key, member in shape.members.items()
                    if key in shape.required_members or choose.random() < 0.4
                }
                status, answer = send(service, name, body)
                assert status == 200 or answer["__type"] in CODES, (name, body, answer)
                answered |= {name} if status == 200 else set()
    assert not caplog.records
    assert len(answered) >= 30, answered
    assert send(service, "DescribeCluster", {"ClusterId": cluster.id})[0] == 200


@pytest.mark.parametrize(
    "body",
    [
        b"\xff\xfe",
        b'{"ClusterId": "\xc3\x28"}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"ClusterId": ' + b"[" * 900 + b"]" * 900 + b"}",
        b"[]",
        b'"text"',
        b"{",
        b'{"ClusterId": NaN}',
        b'{"ClusterId": 1' + b"0" * 5000 + b"}",
        b'{"ClusterId": "\\ud800"}',
    ],
    ids=range(11),
)
def test_malformed_body_is_serialization_exception(
    service: Service, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        status, answer = send(service, "DescribeCluster", body)
    assert (status, answer["__type"]) == (400, "SerializationException")
    assert not caplog.records


def test_configurations_nested_900_levels_are_rejected(
    service: Service, request_body: dict[str, Any]
) -> None:
    nested: list[Any] = []
    for _ in range(300):
        nested = [{"Classification": "a", "Configurations": nested}]
    status, answer = send(service, "RunJobFlow", request_body | {"Configurations": nested})
    assert (status, answer["__type"]) == (400, "SerializationException")


def test_unknown_operation_is_rejected(service: Service) -> None:
    for name in ("NoSuchOperation", "", "__class__"):
        assert send(service, name, {})[1]["__type"] == "UnknownOperationException"


def test_parse_omits_null_and_unknown_members() -> None:
    shape = MODEL.operation_model("ListClusters").input_shape
    body = b'{"Marker": null, "Other": 1, "ClusterStates": ["RUNNING"], "CreatedAfter": 1.5}'
    members = validation.parse(body, shape)
    assert members == {"ClusterStates": ["RUNNING"], "CreatedAfter": 1.5}


def test_parse_reports_all_violations_in_words_of_aws() -> None:
    shape = MODEL.operation_model("AddJobFlowSteps").input_shape
    body = b'{"Steps": [{"Name": "a", "ActionOnFailure": "STOP"}]}'
    with pytest.raises(ApiError) as caught:
        validation.parse(body, shape)
    assert caught.value.code == "ValidationException"
    assert caught.value.message == (
        "3 validation errors detected: Value 'STOP' at 'steps.1.member.actionOnFailure' failed to "
        "satisfy constraint: Member must satisfy enum value set: [TERMINATE_JOB_FLOW, "
        "TERMINATE_CLUSTER, CANCEL_AND_WAIT, CONTINUE]; Value null at "
        "'steps.1.member.hadoopJarStep' failed to satisfy constraint: Member must not be null; "
        "Value null at 'jobFlowId' failed to satisfy constraint: Member must not be null"
    )


def test_parse_accepts_characters_beyond_the_basic_plane() -> None:
    shape = MODEL.operation_model("DescribeSecurityConfiguration").input_shape
    body = '{"Name": "\\u00e9 \\ud83d\\ude00 😀"}'.encode()
    assert validation.parse(body, shape)["Name"] == "é 😀 😀"
