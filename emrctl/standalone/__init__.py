"""Spark standalone on EC2 instances: set up nodes over SSH, drain workers, run commands."""

from __future__ import annotations

from emrctl.standalone.parallel import NodesFailedError, ParallelNodes, copy, exec_on
from emrctl.standalone.setup import drain, drain_removed, removed_workers, set_up, set_up_nodes

__all__ = [
    "NodesFailedError",
    "ParallelNodes",
    "copy",
    "drain",
    "drain_removed",
    "exec_on",
    "removed_workers",
    "set_up",
    "set_up_nodes",
]
