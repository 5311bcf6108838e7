"""States of EMR clusters and EC2 instances, as the APIs name them."""

from __future__ import annotations

# EMR clusters.
EMR_ACTIVE = ("STARTING", "BOOTSTRAPPING", "RUNNING", "WAITING")
EMR_READY = ("RUNNING", "WAITING")
EMR_TERMINATING = "TERMINATING"
EMR_TERMINATED = ("TERMINATED", "TERMINATED_WITH_ERRORS")

# EC2 instances.
EC2_STARTED = ("pending", "running")
EC2_STOPPED = ("stopping", "stopped")
EC2_EXISTING = (*EC2_STARTED, *EC2_STOPPED)
EC2_TERMINATING = "shutting-down"
EC2_TERMINATED = "terminated"
EC2_GONE = (EC2_TERMINATING, EC2_TERMINATED)
