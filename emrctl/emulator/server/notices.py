"""Texts for users: the notice before the first script runs, and the differences from EMR."""

from __future__ import annotations

from pathlib import Path

from emrctl import paths

TEXT = """\
The EMR on localhost runs bootstrap actions and steps on this machine, with your own rights.

Each node is a folder with its own home and Python, and `sudo` does not change the user. Scripts can
read and change everything that you can. Run only what you would run in your own shell.
"""


def _marker(home: Path) -> Path:
    return home / "consent"


def was_shown() -> bool:
    """Return whether the notice has been shown to the user of this home."""
    return _marker(paths.emulator_home()).exists()


def remember() -> None:
    """Record that the notice has been shown."""
    home = paths.emulator_home()
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    _marker(home).touch(mode=0o600)


DIFFERENCES = (
    "Timings are those of this machine: all nodes share its cores, memory and disk.",
    (
        "spark.shuffle.service.enabled=false and dynamicAllocation.shuffleTracking.enabled=true: "
        "several nodes on one host cannot each run a shuffle service."
    ),
    (
        "There is no HDFS: fs.defaultFS is file:///, and event logs are in a folder of the cluster "
        "unless spark.eventLog.dir is set."
    ),
    "s3:// is S3A, not EMRFS, without the S3-optimized committer.",
    "JVMs run with -XX:+UseSerialGC -XX:TieredStopAtLevel=1 unless set otherwise.",
    "NodeManagers send heartbeats every 200 ms instead of every second.",
    "Every /usr/bin/python3.x is the emulator's Python, and JAVA_HOME is the emulator's Java.",
    "A node is a folder: sudo does not change the user, and system packages cannot be installed.",
    "Hive, Pig, Tez, Flink, s3-dist-cp and similar applications are not available.",
    "Managed and automatic scaling policies are stored and returned, but not applied.",
    "Requests over loopback count as aws:SecureTransport=true in bucket policies.",
    (
        "An EC2 instance is a folder with an SSH server on its own loopback addresses, on the port "
        "that emrctl chooses instead of 22: the system, /tmp and hardware are this machine's."
    ),
    (
        "Security groups affect only SSH from 127.0.0.1, which is refused instead of timing out; a "
        "VPC's default group allows it."
    ),
    "DNS names of EC2 instances are their addresses.",
    "User data of EC2 instances runs if it is a script, but not as root; cloud-config is stored.",
    "Spot instances are never interrupted and always have capacity.",
    "spark.authenticate=true, and YARN serves only the emulator's user.",
)
