"""The modules of pulumi_aws that the program uses, loaded eagerly.

pulumi_aws loads its modules lazily and raises deprecation warnings about resources that the
program does not use. They are suppressed here, whatever warning filters are active later.
"""

from __future__ import annotations

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from pulumi_aws import ec2, emr, iam, s3, vpc

    LOADED = (ec2.Vpc, ec2.Instance, emr.Cluster, iam.Role, s3.Bucket, vpc.SecurityGroupIngressRule)

__all__ = ["ec2", "emr", "iam", "s3", "vpc"]
