"""YARN's and Spark's REST, by answers as Hadoop 3.3 and Spark 3.5 give them."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from emrctl.aws.http import get_json
from emrctl.errors import NotFoundError
from emrctl.metrics.live import managers, rest, sparkui
from emrctl.metrics.model import ApplicationAccount, ClusterAccount, QueueAccount

APP = "application_1700000000000_0001"
ANSWERS: dict[str, Any] = {
    f"/ws/v1/cluster/apps/{APP}": {
        "app": {
            "id": APP,
            "user": "hadoop",
            "name": "features",
            "queue": "root.default",
            "state": "FINISHED",
            "finalStatus": "SUCCEEDED",
            "diagnostics": "\n",
            "startedTime": 1700000001000,
            "finishedTime": 1700000041000,
            "elapsedTime": 40000,
            "amHostHttpAddress": "ip-10-0-0-7:8042",
            "allocatedMB": -1,
            "allocatedVCores": -1,
            "runningContainers": -1,
            "memorySeconds": 812345,
            "vcoreSeconds": 66,
            "preemptedResourceMB": 0,
            "numNonAMContainerPreempted": 2,
            "numAMContainerPreempted": 1,
        }
    },
    f"/ws/v1/cluster/apps/{APP}/appattempts": {
        "appAttempts": {"appAttempt": [{"id": 1, "containerId": "container_1"}, {"id": 2}]}
    },
    "/ws/v1/cluster/metrics": {
        "clusterMetrics": {
            "appsSubmitted": 5,
            "appsCompleted": 3,
            "appsPending": 0,
            "appsRunning": 1,
            "appsFailed": 1,
            "appsKilled": 0,
            "allocatedMB": 12288,
            "totalMB": 24576,
            "allocatedVirtualCores": 2,
            "totalVirtualCores": 8,
            "containersAllocated": 2,
            "containersPending": 3,
            "activeNodes": 1,
            "lostNodes": 1,
            "unhealthyNodes": 0,
        }
    },
    "/ws/v1/cluster/nodes": {
        "nodes": {
            "node": [
                {
                    "id": "n2:8041",
                    "state": "LOST",
                    "numContainers": 0,
                    "usedMemoryMB": 0,
                    "availMemoryMB": 0,
                    "resourceUtilization": {"nodePhysicalMemoryMB": -1, "nodeCPUUsage": -1.0},
                },
                {
                    "id": "n1:8041",
                    "state": "RUNNING",
                    "numContainers": 2,
                    "usedMemoryMB": 12288,
                    "availMemoryMB": 0,
                    "usedVirtualCores": 2,
                    "availableVirtualCores": 2,
                    "healthReport": "",
                    "resourceUtilization": {
                        "nodePhysicalMemoryMB": 9000,
                        "nodeCPUUsage": 1.5,
                        "aggregatedContainersPhysicalMemoryMB": 5000,
                        "containersCPUUsage": 1.25,
                    },
                },
            ]
        }
    },
    "/ws/v1/cluster/scheduler": {
        "scheduler": {
            "schedulerInfo": {
                "type": "capacityScheduler",
                "queueName": "root",
                "queues": {
                    "queue": [
                        {
                            "queueName": "default",
                            "queuePath": "root.default",
                            "absoluteCapacity": 100.0,
                            "absoluteUsedCapacity": 50.0,
                            "numPendingApplications": 0,
                            "numActiveApplications": 1,
                            "queues": None,
                        }
                    ]
                },
            }
        }
    },
}


def fetch(path: str) -> Any:
    if path not in ANSWERS:
        raise NotFoundError(f"no {path}")
    return ANSWERS[path]


def away(path: str) -> Any:
    raise ConnectionRefusedError(path)


def test_application_returns_account() -> None:
    assert managers.ResourceManager(fetch).application(APP) == ApplicationAccount(
        application_id=APP,
        state="FINISHED",
        final_status="SUCCEEDED",
        queue="root.default",
        user="hadoop",
        elapsed_ms=40000,
        memory_mb_seconds=812345,
        vcore_seconds=66,
        containers=None,
        running_containers=None,
        preempted=3,
        attempts=2,
        diagnostics="",
        am_host="ip-10-0-0-7",
    )


def test_cluster_returns_account() -> None:
    found = managers.ResourceManager(fetch).cluster()
    assert found is not None
    assert (found.apps_submitted, found.apps_running, found.apps_completed) == (5, 1, 3)
    assert (found.memory_used_mb, found.memory_total_mb) == (12288, 24576)
    assert found.nodes_by_state == {"RUNNING": 1, "LOST": 1}
    assert [node.id for node in found.nodes] == ["n1:8041", "n2:8041"]
    assert (found.nodes[0].physical_memory_used_mb, found.nodes[0].cpu_used_cores) == (9000, 1.5)
    assert (found.nodes[0].physical_mb, found.nodes[0].cpu_cores) == (5000, 1.25)
    assert (found.nodes[1].physical_memory_used_mb, found.nodes[1].cpu_used_cores) == (None, None)
    assert found.queues == (
        QueueAccount(
            name="root.default", capacity_percent=100.0, used_percent=50.0, running_apps=1
        ),
    )
    assert ClusterAccount.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_cluster_without_nodes() -> None:
    answers = {"/ws/v1/cluster/metrics": {"clusterMetrics": {"appsSubmitted": 0}}}
    found = managers.ResourceManager(lambda path: answers.get(path, {"nodes": None})).cluster()
    assert found is not None
    assert (found.nodes, found.nodes_by_state, found.queues) == ((), {}, ())


@pytest.mark.parametrize("answer", [None, [], "text", {}, {"app": None}, {"app": {}}])
def test_invalid_answers_are_none(answer: Any) -> None:
    assert managers.ResourceManager(lambda _: answer).application(APP) is None
    assert managers.ResourceManager(lambda _: answer).cluster() is None


def test_unavailable_server_is_none() -> None:
    assert managers.ResourceManager(away).application(APP) is None
    assert managers.ResourceManager(away).cluster() is None
    assert sparkui.progress(away, APP) is None


JOBS = [
    {
        "jobId": 1,
        "status": "RUNNING",
        "stageIds": [2, 3],
        "numTasks": 24,
        "numActiveTasks": 4,
        "numCompletedTasks": 10,
        "numFailedTasks": 1,
        "numCompletedStages": 1,
    },
    {
        "jobId": 0,
        "status": "SUCCEEDED",
        "stageIds": [0, 1],
        "numTasks": 8,
        "numCompletedTasks": 6,
        "numSkippedTasks": 2,
        "numCompletedStages": 1,
        "numSkippedStages": 1,
    },
]
EXECUTORS = [
    {"id": "driver", "isActive": True},
    {"id": "1", "isActive": True},
    {"id": "2", "isActive": False},
]


def spark(attempts: list[dict[str, Any]]) -> rest.Fetch:
    last = attempts[0].get("attemptId") if attempts else None
    root = f"/api/v1/applications/{APP}"
    below = f"{root}/{last}" if last else root
    answers = {
        root: {"id": APP, "attempts": attempts},
        f"{below}/jobs": JOBS,
        f"{below}/stages?status=active": [{"stageId": 3, "name": "collect at svm.py:80"}],
        f"{below}/executors": EXECUTORS,
    }
    return lambda path: answers[path] if path in answers else away(path)


@pytest.mark.parametrize("attempts", [[], [{}], [{"attemptId": "10"}, {"attemptId": "9"}]])
def test_progress_counts_jobs_stages_and_tasks(attempts: list[dict[str, Any]]) -> None:
    assert sparkui.progress(spark(attempts), APP) == sparkui.JobProgress(
        jobs_done=1,
        jobs_total=2,
        stages_done=3,
        stages_total=4,
        tasks_done=18,
        tasks_total=32,
        tasks_active=4,
        tasks_failed=1,
        executors=1,
        stages_running=("collect at svm.py:80",),
    )


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b'{"a": 1}' if self.path == "/here" else b"<html>"
        self.send_response(404 if self.path == "/gone" else 200)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def address() -> Iterator[str]:
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_fetch_rejects_other_than_json(address: str) -> None:
    def over_http(path: str) -> Any:
        return get_json(address + path, timeout_s=2)

    assert rest.fetch_or_none(over_http, "/here") == {"a": 1}
    assert rest.fetch_or_none(over_http, "/page") is None
    assert rest.fetch_or_none(over_http, "/gone") is None
    with pytest.raises(ValueError, match="is not an http:// URL"):
        get_json("file:///etc/passwd")
