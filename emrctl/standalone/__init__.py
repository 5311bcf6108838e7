"""Spark standalone on EC2 instances: nodes brought up, kept in step with the spec, spoken to."""

from __future__ import annotations

from emrctl.standalone.errors import NodesFailedError
from emrctl.standalone.exec_copy import copy, exec_on
from emrctl.standalone.parallel import Crew
from emrctl.standalone.resize import drain, leaving, resized
from emrctl.standalone.setup import bring_up

__all__ = [
    "Crew",
    "NodesFailedError",
    "bring_up",
    "copy",
    "drain",
    "exec_on",
    "leaving",
    "resized",
]
