from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError

from emrctl.aws.target import Target
from tests.emulator.fake_runtime import FakeRuntime


def test_new_bucket_has_aws_defaults(mocked: Target, runtime: FakeRuntime) -> None:
    s3 = mocked.client("s3")
    tags = [{"Key": "team", "Value": "cats + dogs"}, {"Key": "empty", "Value": ""}]
    s3.create_bucket(Bucket="pets", CreateBucketConfiguration={"Tags": tags})
    assert s3.get_bucket_tagging(Bucket="pets")["TagSet"] == tags
    rules = s3.get_bucket_encryption(Bucket="pets")["ServerSideEncryptionConfiguration"]["Rules"]
    assert rules[0]["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    block = s3.get_public_access_block(Bucket="pets")["PublicAccessBlockConfiguration"]
    assert all(block.values())


@pytest.mark.parametrize("name", ["my..bucket", "192.168.5.4", "sthree-a", "data-s3alias"])
def test_create_bucket_rejects_invalid_name(
    mocked: Target, runtime: FakeRuntime, name: str
) -> None:
    with pytest.raises(ClientError, match="InvalidBucketName"):
        mocked.client("s3").create_bucket(Bucket=name)


@pytest.mark.parametrize("tag", [{"Key": "a&b", "Value": ""}, {"Key": "a", "Value": "aws:b"}])
def test_tags_that_aws_rejects_are_rejected(
    mocked: Target, runtime: FakeRuntime, tag: dict[str, str]
) -> None:
    mocked.client("s3").create_bucket(Bucket="pets")
    with pytest.raises(ClientError, match="InvalidTag"):
        mocked.client("s3").put_bucket_tagging(Bucket="pets", Tagging={"TagSet": [tag]})
    specification = {"ResourceType": "vpc", "Tags": [tag]}
    with pytest.raises(ClientError, match="InvalidParameterValue"):
        mocked.client("ec2").create_vpc(CidrBlock="10.0.0.0/16", TagSpecifications=[specification])


def test_tls_policy_allows_loopback(mocked: Target, runtime: FakeRuntime) -> None:
    s3 = mocked.client("s3")
    s3.create_bucket(Bucket="pets")
    statement = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": ["arn:aws:s3:::pets", "arn:aws:s3:::pets/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    s3.put_bucket_policy(Bucket="pets", Policy=json.dumps(policy))
    s3.put_object(Bucket="pets", Key="a", Body=b"x")
    assert s3.get_object(Bucket="pets", Key="a")["Body"].read() == b"x"
    del statement["Condition"]
    s3.put_bucket_policy(Bucket="pets", Policy=json.dumps(policy))
    with pytest.raises(ClientError, match=r"403|AccessDenied"):
        s3.get_object(Bucket="pets", Key="a")


def test_requests_are_serialized(mocked: Target, runtime: FakeRuntime) -> None:
    from moto.ec2.models import ec2_backends

    reading = threading.Event()

    class Slow(dict[str, str]):
        def items(self) -> Any:
            for item in super().items():
                reading.set()
                time.sleep(0.05)  # in which moto's own EC2 writes, and this one fails
                yield item

    ec2 = mocked.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    ec2_backends["123456789012"]["us-east-1"].tags[vpc] = Slow(a="1", b="2")
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit(ec2.describe_tags)
        assert reading.wait(timeout=60)
        ec2.create_tags(Resources=[vpc], Tags=[{"Key": "c", "Value": "3"}])
        tags = {one["Key"] for one in read.result()["Tags"] if one["ResourceId"] == vpc}
    assert tags == {"a", "b"}


def test_managed_policies_can_be_attached(mocked: Target, runtime: FakeRuntime) -> None:
    iam = mocked.client("iam")
    iam.create_role(RoleName="emr", AssumeRolePolicyDocument="{}")
    arn = "arn:aws:iam::aws:policy/service-role/AmazonEMRServicePolicy_v2"
    iam.attach_role_policy(RoleName="emr", PolicyArn=arn)


def test_patches_are_removed() -> None:
    import moto.backends
    from moto.emr.responses import ElasticMapReduceResponse

    from emrctl.emulator.api import dispatch

    before = (moto.backends.list_of_moto_modules, ElasticMapReduceResponse._dispatch)
    with dispatch.install(FakeRuntime()):
        assert moto.backends.list_of_moto_modules is not before[0]
    assert (moto.backends.list_of_moto_modules, ElasticMapReduceResponse._dispatch) == before
