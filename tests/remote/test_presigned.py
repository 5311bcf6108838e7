"""Presigned URLs of EMR."""

from __future__ import annotations

import pytest
from botocore.stub import Stubber

from emrctl.aws.target import Target
from emrctl.errors import UnreachableError
from emrctl.remote import pages
from tests.remote.connections import CLUSTER


def test_url_waits_until_ready(mocked: Target) -> None:
    with Stubber(mocked.client("emr")) as stub:
        name = "get_on_cluster_app_ui_presigned_url"
        asked = {"ClusterId": "j-1", "OnClusterAppUIType": "ResourceManager"}
        stub.add_response(name, {"PresignedURLReady": False}, asked)
        stub.add_response(name, {"PresignedURLReady": True, "PresignedURL": "https://x"}, asked)
        assert pages.presigned_url(mocked, CLUSTER, "yarn") == "https://x"


def test_url_history_falls_back_to_persistent_app_ui(mocked: Target) -> None:
    with Stubber(mocked.client("emr")) as stub:
        stub.add_client_error("get_on_cluster_app_ui_presigned_url", "ValidationException")
        stub.add_response(
            "create_persistent_app_ui",
            {"PersistentAppUIId": "p-1"},
            {"TargetResourceArn": CLUSTER.arn},
        )
        stub.add_response(
            "get_persistent_app_ui_presigned_url",
            {"PresignedURLReady": True, "PresignedURL": "https://copy"},
            {"PersistentAppUIId": "p-1", "PersistentAppUIType": "SHS"},
        )
        assert pages.presigned_url(mocked, CLUSTER, "history") == "https://copy"


@pytest.mark.parametrize(
    ("page", "message"), [("namenode", "no presigned URL"), ("spark", "running application")]
)
def test_url_unsupported_page_raises(mocked: Target, page: str, message: str) -> None:
    with pytest.raises(UnreachableError, match=message):
        pages.presigned_url(mocked, CLUSTER, page)
