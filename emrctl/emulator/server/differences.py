"""Where the EMR on localhost is not Amazon's, said once and shown wherever it matters."""

from __future__ import annotations

DIFFERENCES = (
    "Timings are this machine's: every node shares its cores, memory and disk.",
    (
        "spark.shuffle.service.enabled=false and dynamicAllocation.shuffleTracking.enabled=true: "
        "nodes of one host cannot each have a shuffle service."
    ),
    (
        "There is no HDFS: fs.defaultFS is file:///, and event logs lie in a folder of the cluster "
        "unless spark.eventLog.dir says otherwise."
    ),
    "s3:// is S3A, not EMRFS: no S3-optimised committer.",
    "JVMs run with -XX:+UseSerialGC -XX:TieredStopAtLevel=1 unless told otherwise.",
    "NodeManagers report every 200 ms rather than every second.",
    "Python is the emulator's own, whatever /usr/bin/python3.x is asked for; JAVA_HOME likewise.",
    "A node is a folder: sudo changes no user, and system packages cannot be installed.",
    "Hive, Pig, Tez, Flink, s3-dist-cp and the like are not available.",
    "Managed and automatic scaling policies are kept and answered, not acted upon.",
    "Requests over loopback count as aws:SecureTransport=true in bucket policies.",
    (
        "An EC2 instance is a folder with an SSH server on loopback addresses of its own, on the "
        "port that emrctl names rather than 22: the system, /tmp and all hardware are this "
        "machine's."
    ),
    (
        "Of security groups only the way in by SSH is minded, from 127.0.0.1, and refused rather "
        "than left unanswered; a VPC's default group lets this machine in."
    ),
    "DNS names of EC2 instances are their addresses.",
    "User data of EC2 instances runs where it is a script, and not as root; cloud-config is kept.",
    "Spot instances are never interrupted and never wait for capacity.",
    "spark.authenticate=true, and YARN serves nobody but the emulator's user.",
)
