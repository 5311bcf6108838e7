"""Spark standalone on EC2 instances: nodes brought up, kept in step with the spec, spoken to."""

from __future__ import annotations

from emrctl.standalone.bringing import bring_up
from emrctl.standalone.crew import Crew
from emrctl.standalone.life import drain, leaving, resized
from emrctl.standalone.trouble import NodesFailedError
from emrctl.standalone.visiting import copy, exec_on

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
