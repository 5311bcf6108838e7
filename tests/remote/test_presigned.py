"""Addresses that EMR signs."""

from __future__ import annotations

import pytest
from botocore.stub import Stubber

from emrctl.aws.target import Target
from emrctl.remote import presigned
from emrctl.remote.errors import UnreachableError
from tests.remote.ways import CLUSTER


def test_emr_signs_an_address_once_it_is_ready(mocked: Target) -> None:
    with Stubber(mocked.client("emr")) as stub:
        name = "get_on_cluster_app_ui_presigned_url"
        asked = {"ClusterId": "j-1", "OnClusterAppUIType": "ResourceManager"}
        stub.add_response(name, {"PresignedURLReady": False}, asked)
        stub.add_response(name, {"PresignedURLReady": True, "PresignedURL": "https://x"}, asked)
        assert presigned.url(mocked, CLUSTER, "yarn") == "https://x"


def test_the_history_of_a_cluster_that_refuses_is_emrs_own_copy(mocked: Target) -> None:
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
        assert presigned.url(mocked, CLUSTER, "history") == "https://copy"


@pytest.mark.parametrize(("page", "said"), [("namenode", "no address"), ("spark", "that runs")])
def test_what_emr_does_not_sign_is_told(mocked: Target, page: str, said: str) -> None:
    with pytest.raises(UnreachableError, match=said):
        presigned.url(mocked, CLUSTER, page)
