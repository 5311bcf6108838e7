"""Presigned URLs of web UIs, and operations on resources that the account cannot have."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from emrctl.aws.target import Target
from emrctl.emulator.api import dispatch
from emrctl.emulator.api.service import Service
from tests.emulator.api.test_checks import code
from tests.emulator.conftest import Await, Emr, state
from tests.emulator.fake_runtime import FakeRuntime


@pytest.fixture
def emr(mocked: Target) -> Iterator[Emr]:
    with dispatch.install(FakeRuntime()) as service:
        service.web_ui = _sign
        yield mocked.client("emr")


def _sign(cluster_id: str, page: str) -> str | None:
    return None if "none" in page else f"http://127.0.0.1/{cluster_id}/{page}"


def _arn(emr: Emr, cluster: str) -> str:
    return str(emr.describe_cluster(ClusterId=cluster)["Cluster"]["ClusterArn"])


def test_persistent_ui_is_created_once(emr: Emr, waiting: str) -> None:
    tags = [{"Key": "a", "Value": "b"}]
    arn = _arn(emr, waiting)
    ids = {
        emr.create_persistent_app_ui(TargetResourceArn=arn, Tags=tags)["PersistentAppUIId"]
        for _ in range(2)
    }
    assert len(ids) == 1
    found = emr.describe_persistent_app_ui(PersistentAppUIId=ids.pop())["PersistentAppUI"]
    assert found["PersistentAppUIStatus"] == "ATTACHED"
    assert found["Tags"] == tags


def test_persistent_ui_is_signed_after_termination(emr: Emr, waiting: str, until: Await) -> None:
    created = emr.create_persistent_app_ui(TargetResourceArn=_arn(emr, waiting))
    emr.terminate_job_flows(JobFlowIds=[waiting])
    until(lambda: state(emr, waiting), "TERMINATED")
    ask = {"PersistentAppUIId": created["PersistentAppUIId"]}
    answer = emr.get_persistent_app_ui_presigned_url(**ask)
    assert answer["PresignedURLReady"]
    assert answer["PresignedURL"] == f"http://127.0.0.1/{waiting}/history"
    answer = emr.get_persistent_app_ui_presigned_url(**ask, ApplicationId="application_1_1")
    assert answer["PresignedURL"].endswith("/history/history/application_1_1/jobs/")
    tez = code(emr.get_persistent_app_ui_presigned_url, **ask, PersistentAppUIType="TEZ")
    assert tez == "InvalidRequestException"


def test_unknown_persistent_ui_and_resource_are_rejected(emr: Emr, waiting: str) -> None:
    for call in (emr.describe_persistent_app_ui, emr.get_persistent_app_ui_presigned_url):
        assert code(call, PersistentAppUIId="p-NONE") == "InvalidRequestException"
    arn = _arn(emr, waiting).replace(waiting, "j-NONE")
    assert code(emr.create_persistent_app_ui, TargetResourceArn=arn) == "InvalidRequestException"


@pytest.mark.parametrize(
    ("kind", "page"),
    [("ResourceManager", "yarn"), ("SparkHistoryServer", "history"), ("", "history")],
)
def test_on_cluster_ui_is_signed(emr: Emr, waiting: str, kind: str, page: str) -> None:
    ask = {"OnClusterAppUIType": kind} if kind else {}
    answer = emr.get_on_cluster_app_ui_presigned_url(ClusterId=waiting, **ask)
    assert answer["PresignedURL"] == f"http://127.0.0.1/{waiting}/{page}"
    answer = emr.get_on_cluster_app_ui_presigned_url(ClusterId=waiting, DryRun=True, **ask)
    assert "PresignedURL" not in answer


def test_on_cluster_ui_of_application_needs_its_id(emr: Emr, waiting: str) -> None:
    ask = {"ClusterId": waiting, "OnClusterAppUIType": "ApplicationMaster"}
    signed = emr.get_on_cluster_app_ui_presigned_url
    url = signed(**ask, ApplicationId="application_1_1")["PresignedURL"]
    assert url.endswith("/proxy/application_1_1/")
    for wrong in (ask, ask | {"ApplicationId": "none"}, ask | {"OnClusterAppUIType": "TezUI"}):
        assert code(signed, **wrong) == "InvalidRequestException"


def test_on_cluster_ui_of_terminated_cluster_is_rejected(
    emr: Emr, waiting: str, until: Await
) -> None:
    emr.terminate_job_flows(JobFlowIds=[waiting])
    until(lambda: state(emr, waiting), "TERMINATED")
    answer = code(emr.get_on_cluster_app_ui_presigned_url, ClusterId=waiting)
    assert answer == "InvalidRequestException"


def test_account_has_no_studios_notebooks_and_sessions(emr: Emr, waiting: str) -> None:
    assert emr.list_studios()["Studios"] == []
    assert emr.list_studio_session_mappings()["SessionMappings"] == []
    assert emr.list_notebook_executions()["NotebookExecutions"] == []
    assert emr.list_sessions(ClusterId=waiting)["Sessions"] == []
    rejected = [
        (emr.describe_studio, {"StudioId": "es-1"}),
        (emr.delete_studio_session_mapping, {"StudioId": "es-1", "IdentityType": "USER"}),
        (emr.stop_notebook_execution, {"NotebookExecutionId": "ex-1"}),
        (emr.start_session, {"ClusterId": waiting}),
        (emr.get_session, {"ClusterId": waiting, "SessionId": "1"}),
        (emr.list_sessions, {"ClusterId": "j-NONE"}),
    ]
    for call, members in rejected:
        assert code(call, **members) == "InvalidRequestException"


def test_service_without_web_server_signs_nothing() -> None:
    assert Service(FakeRuntime()).web_ui("j-1", "yarn") is None
