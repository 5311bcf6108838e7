"""Differences between the EMR on localhost and EMR, in general and by API operation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

DIFFERENCES = (
    "Timings are those of this machine: all nodes share its cores, memory and disk.",
    (
        "spark.shuffle.service.enabled=false and dynamicAllocation.shuffleTracking.enabled=true: "
        "several nodes on one host cannot each run a shuffle service."
    ),
    (
        "HDFS starts when a program first calls its NameNode, which takes some seconds. It serves "
        "clients with the cluster's configuration, as one user (hadoop), without web pages. "
        "Removed core nodes are not decommissioned: blocks without another replica are lost."
    ),
    (
        "Event logs, the SQL warehouse and Spark's staging folder are folders of the cluster, not "
        "on HDFS, unless the settings of Spark name another place."
    ),
    "s3:// is S3A, not EMRFS, without the S3-optimized committer.",
    "JVMs run with -XX:+UseSerialGC -XX:TieredStopAtLevel=1 unless set otherwise.",
    (
        "Executors are not sized by the memory that is free (heterogeneousExecutors): the default "
        "executor of a cluster with one worker fits beside a driver of the default size."
    ),
    (
        "Three primary nodes have one ResourceManager and one NameNode. If their node is lost, "
        "they start on another one, without the running applications."
    ),
    "NodeManagers send heartbeats every 200 ms instead of every second.",
    (
        "Releases run the PySpark of emrctl (3.5), those of emr-spark-8.x Spark 4.1.1 from PyPI, "
        "on the YARN of Hadoop 3.3.6. A release with another Spark runs the nearest of them, with "
        "a warning; cluster.spark runs another version of PyPI (spark.emrctl.version in "
        "spark-defaults)."
    ),
    "The history server is that of Spark 3.5 for all releases.",
    "Every /usr/bin/python3.x is the emulator's Python, and JAVA_HOME is the emulator's Java.",
    (
        "/mnt/var/lib/info/instance.json is in the node's folder: this path is replaced in scripts "
        "and arguments of bootstrap actions and steps, but not in files that they read or import."
    ),
    "aws is the AWS CLI of this machine, or version 1 from PyPI, downloaded when first needed.",
    "A node is a folder: sudo does not change the user, and system packages cannot be installed.",
    "Hive, Pig, Tez, Flink and similar applications are not available.",
    (
        "s3-dist-cp and hadoop distcp copy in one process instead of MapReduce on YARN; s3-dist-cp "
        "has no options to join files, and none for manifests."
    ),
    (
        "Managed scaling evaluates YARN's metrics every 3 s (`emrctl local up "
        "--scaling-interval`) and removes nodes after 5 evaluations without containers, instead "
        "of after minutes. Automatic scaling rules are evaluated every minute; those of metrics "
        "that users put never apply."
    ),
    (
        "YARN decommissions hosts, and all nodes are on one: a node that a resize removes has no "
        "memory and cores for new containers instead of the state DECOMMISSIONING, and a node "
        "that was removed or lost is SHUTDOWN."
    ),
    (
        "The roles EMR_DefaultRole, EMR_EC2_DefaultRole and EMR_AutoScaling_DefaultRole need not "
        "exist (`aws emr create-default-roles` works with AWS's endpoints only), and ServiceRole "
        "and JobFlowRole can be omitted; other roles must exist in IAM."
    ),
    "Roles and their policies are not enforced: all requests of a node are the user's.",
    "Releases of emr-7 and emr-spark-8 that are later than the known ones are accepted.",
    "A cluster has at most 256 instances.",
    (
        "Kerberos attributes (without passwords) and settings of security configurations are "
        "stored, but not applied."
    ),
    "Applications other than Spark and Hadoop are accepted and listed, but not installed.",
    (
        "Objects of S3 are files of the emulator's home and survive its restart and its death; the "
        "last seconds before a power failure may be lost. Buckets keep their settings; everything "
        "else of AWS ends with the emulator: roles, networks, EC2 instances."
    ),
    (
        "Clusters that were not terminated when the emulator ended are TERMINATED, with "
        "INTERRUPTED steps; like EMR, it forgets clusters after two months."
    ),
    (
        "S3 has no object lock, legal holds, object restore, S3 Select and POST forms, and does "
        "not verify signatures of chunks. Lifecycle rules, ACLs, replication and notifications of "
        "objects are stored, but not applied. Copies keep the ETag of multipart uploads."
    ),
    (
        "Errors of S3 for which SDKs would repeat the request for minutes have status 400, and 507 "
        "if the disk is full."
    ),
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
    (
        "EMR's metrics in CloudWatch have a point per minute instead of every five; those of HDFS "
        "begin when HDFS starts, and S3 and MapReduce (HDFSBytesRead, HDFSBytesWritten) have none."
    ),
    (
        "Spot instances are launched at any bid, and interrupted on request only (`emrctl local "
        "fault spot-interruption`), without a notice of two minutes."
    ),
    "spark.authenticate=true, and YARN serves only the emulator's user.",
)


@dataclass(frozen=True)
class OperationSupport:
    """How the local EMR answers an operation: `level` is full, partial or none."""

    level: str
    note: str = ""


def _partial(note: str) -> OperationSupport:
    return OperationSupport("partial", note)


_STUDIO = OperationSupport("none", "There is no EMR Studio: EMR's error for an unknown one.")
_NOTEBOOK = OperationSupport("none", "There are no EMR Notebooks: EMR's error for an unknown one.")
_SESSION = OperationSupport("none", "Clusters have no sessions: EMR's error for such a cluster.")
_HISTORY = _partial("Spark's history server only, until the emulator is stopped.")

# Operations that are not listed are supported in full.
OPERATION_SUPPORT: Mapping[str, OperationSupport] = {
    "AddInstanceFleet": _partial(
        "Types are chosen by Priority or price, not by EC2's capacity; a provisioning timeout "
        "passes at once."
    ),
    "AddJobFlowSteps": _partial("Runtime roles are accepted if enabled, but not enforced."),
    "CreatePersistentAppUI": _HISTORY,
    "DescribePersistentAppUI": _HISTORY,
    "DescribeReleaseLabel": _partial("Has versions of Spark and Hadoop only."),
    "GetClusterSessionCredentials": _partial("No application checks the credentials."),
    "GetOnClusterAppUIPresignedURL": _partial(
        "ResourceManager, SparkHistoryServer and ApplicationMaster; the URL expires after 10 "
        "minutes."
    ),
    "GetPersistentAppUIPresignedURL": _HISTORY,
    "ListReleaseLabels": _partial("Filters by versions of Spark and Hadoop only."),
    "ModifyInstanceFleet": _partial(
        "New InstanceTypeConfigs apply to new instances; a resize without capacity fails at once."
    ),
    "ModifyInstanceGroups": _partial(
        "A reconfiguration restarts the daemons of one node at a time, and ends its containers."
    ),
    "PutManagedScalingPolicy": _partial(
        "ScalingStrategy and UtilizationPerformanceIndex are stored, but not applied."
    ),
    "PutBlockPublicAccessConfiguration": _partial("Stored and returned, but not applied."),
    **dict.fromkeys(
        (
            *("CreateStudio", "DescribeStudio", "UpdateStudio", "DeleteStudio"),
            *("CreateStudioSessionMapping", "GetStudioSessionMapping"),
            *("UpdateStudioSessionMapping", "DeleteStudioSessionMapping"),
        ),
        _STUDIO,
    ),
    "ListStudios": OperationSupport("none", "The list is empty."),
    "ListStudioSessionMappings": OperationSupport("none", "The list is empty."),
    **dict.fromkeys(
        ("StartNotebookExecution", "DescribeNotebookExecution", "StopNotebookExecution"), _NOTEBOOK
    ),
    "ListNotebookExecutions": OperationSupport("none", "The list is empty."),
    **dict.fromkeys(
        ("StartSession", "GetSession", "GetSessionEndpoint", "TerminateSession"), _SESSION
    ),
    "ListSessions": OperationSupport("none", "The list is empty."),
}


def operations() -> dict[str, OperationSupport]:
    """Return every operation of the EMR API in alphabetical order, with its support."""
    from emrctl.emulator.api.dispatch import OPERATIONS

    full = OperationSupport("full")
    return {name: OPERATION_SUPPORT.get(name, full) for name in sorted(OPERATIONS)}


def markdown_table() -> str:
    """Return the operations as a table in Markdown, for docs/emulator.md."""
    rows = [f"| {name} | {one.level} | {one.note} |" for name, one in operations().items()]
    return "\n".join(("| Operation | Support | Difference |", "| --- | --- | --- |", *rows))
