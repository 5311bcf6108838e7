"""The REST API of a ResourceManager: metrics, nodes and applications."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from typing import Any

from emrctl.aws import http
from emrctl.emulator.hadoop import hadoop_conf
from emrctl.emulator.hadoop.hadoop_conf import YarnCredentials, YarnPorts

_UNFINISHED = "NEW,NEW_SAVING,SUBMITTED,ACCEPTED,RUNNING"


@dataclass(kw_only=True, eq=False)
class ResourceManagerApi:
    """The REST API of the ResourceManager at these ports."""

    ports: YarnPorts
    credentials: YarnCredentials

    @property
    def url(self) -> str:
        """URL of the ResourceManager's web UI and REST API."""
        return f"http://127.0.0.1:{self.ports.web}"

    def get(self, path: str) -> Any:
        """Return the response of the ResourceManager's REST API."""
        headers = {"Cookie": hadoop_conf.cookie(self.credentials.signing_key)}
        return http.get_json(self.url + path, headers=headers, timeout_s=10)

    def metrics(self) -> dict[str, float]:
        """Return the ResourceManager's `clusterMetrics`; {} if it does not answer."""
        with contextlib.suppress(OSError, ValueError):
            return dict(self.get("/ws/v1/cluster/metrics")["clusterMetrics"])
        return {}

    def rows(self, path: str, key: str) -> list[Any]:
        """Return the entries of one of the REST API's lists; none if YARN does not answer."""
        with contextlib.suppress(OSError, ValueError):
            return list((self.get(path)[f"{key}s"] or {}).get(key, []))
        return []

    def node_manager_hosts(self) -> list[str]:
        """Return host and port of the NodeManagers' web UIs."""
        nodes = self.rows("/ws/v1/cluster/nodes", "node")
        return [n.get("nodeHTTPAddress", "").replace("localhost:", "127.0.0.1:") for n in nodes]

    def applications(self) -> list[str]:
        """Return the ids of unfinished applications."""
        return [one["id"] for one in self.rows(f"/ws/v1/cluster/apps?states={_UNFINISHED}", "app")]

    def kill(self, application: str) -> None:
        """Request that an application is killed; do nothing if it has finished."""
        with contextlib.suppress(OSError):
            self.send("PUT", f"/ws/v1/cluster/apps/{application}/state", {"state": "KILLED"})

    def send(self, method: str, path: str, body: object) -> None:
        """Send a request that changes YARN's state; raise `OSError` if YARN rejects it."""
        headers = {
            "Cookie": hadoop_conf.cookie(self.credentials.signing_key, self.credentials.user),
            "Content-Type": "application/json",
            "X-XSRF-Header": "emrctl",
        }
        content = json.dumps(body).encode()
        http.request(self.url + path, headers=headers, timeout_s=10, method=method, body=content)
