"""The parts of pulumi_aws that the program uses, loaded at once.

pulumi_aws loads a part at the first use of it, and warns of resources that are not ours. Loaded
here, the warnings meet nobody, whatever filters the user or a test has set.
"""

from __future__ import annotations

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from pulumi_aws import ec2, emr, iam, s3, vpc

    LOADED = (ec2.Vpc, ec2.Instance, emr.Cluster, iam.Role, s3.Bucket, vpc.SecurityGroupIngressRule)

__all__ = ["ec2", "emr", "iam", "s3", "vpc"]
