"""EC2 resource types: instances and key pairs."""

from __future__ import annotations

from typing import Any

from emrctl.aws.errors import get_or_none
from emrctl.aws.listing import EC2_EXISTING, EC2_GONE, EC2_STOPPED, instances
from emrctl.engine.localhost.resource_type import (
    STACK_TAG,
    Aws,
    Ec2Resource,
    Inputs,
    Outputs,
    ResourceType,
    pascal,
    replace_tags,
    stack_filter,
    tag_specifications,
    user_tags,
)
from emrctl.errors import ProvisioningError

_NO_INSTANCE = ("InvalidInstanceID.NotFound", "InvalidInstanceID.Malformed")
_USABLE = ("running", *EC2_STOPPED)
_NODE_TAG = "emrctl:node"
# Amazon Linux's; the AWS provider reads it from the image.
_ROOT = "/dev/xvda"


class _Instance(ResourceType):
    """An instance with its root volume."""

    def create(self, aws: Aws, inputs: Inputs) -> str:
        response = aws.client("ec2").run_instances(
            ImageId=inputs["ami"],
            InstanceType=inputs["instanceType"],
            MinCount=1,
            MaxCount=1,
            NetworkInterfaces=[_interface(inputs)],
            KeyName=inputs["keyName"],
            IamInstanceProfile={"Name": inputs["iamInstanceProfile"]},
            BlockDeviceMappings=[_disk(inputs["rootBlockDevice"])],
            EbsOptimized=bool(inputs.get("ebsOptimized")),
            MetadataOptions=pascal(inputs.get("metadataOptions", {})),
            TagSpecifications=[
                *tag_specifications("instance", inputs),
                *tag_specifications("volume", inputs["rootBlockDevice"]),
            ],
            **_market(inputs.get("instanceMarketOptions")),
        )
        return str(response["Instances"][0]["InstanceId"])

    def find(self, aws: Aws, inputs: Inputs) -> str | None:
        """Return the id of the stack's instance with the node's name."""
        filters, node = stack_filter(inputs), inputs.get("tags", {}).get(_NODE_TAG)
        if filters is None or node is None:
            return None
        filters += [
            {"Name": f"tag:{_NODE_TAG}", "Values": [node]},
            {"Name": "instance-state-name", "Values": list(EC2_EXISTING)},
        ]
        ids = [str(item["InstanceId"]) for item in instances(aws.client("ec2"), Filters=filters)]
        return ids[-1] if ids else None

    def settle(self, aws: Aws, id_: str, _inputs: Inputs) -> None:
        """Wait until the instance runs or is stopped; raise if it was terminated."""
        while True:
            instance = _describe(aws, id_)
            # A new id may not be visible yet.
            state = instance["State"]["Name"] if instance else "pending"
            if state in _USABLE:
                return
            if instance is not None and state in EC2_GONE:
                reason = instance.get("StateReason", {}).get("Message") or "no reason given"
                hint = "Run `emrctl up` again to create a new instance."
                raise ProvisioningError(f"instance {id_} is {state}: {reason}", hint=hint)
            aws.pause()

    def read(self, aws: Aws, id_: str, _inputs: Inputs) -> Outputs | None:
        instance = _existing(aws, id_)
        if instance is None:
            return None
        interfaces = instance.get("NetworkInterfaces")
        account = interfaces[0]["OwnerId"] if interfaces else ""
        return {
            "arn": f"arn:aws:ec2:{aws.target.region}:{account}:instance/{id_}",
            "instanceState": instance["State"]["Name"],
            "privateDns": instance.get("PrivateDnsName", ""),
            "privateIp": instance.get("PrivateIpAddress", ""),
            "publicDns": instance.get("PublicDnsName", ""),
            "publicIp": instance.get("PublicIpAddress", ""),
        }

    def observe(self, aws: Aws, id_: str, inputs: Inputs) -> Outputs:
        """Return the current values of the inputs that can be updated in place."""
        instance = _existing(aws, id_) or {}
        interfaces = instance.get("NetworkInterfaces") or [{}]
        groups = [item["GroupId"] for item in interfaces[0].get("Groups", ())]
        same = sorted(groups) == sorted(inputs.get("vpcSecurityGroupIds", ()))
        return {
            "tags": user_tags(instance),
            **({} if same else {"vpcSecurityGroupIds": groups}),
        }

    def update(self, aws: Aws, id_: str, inputs: Inputs, keys: frozenset[str]) -> None:
        ec2 = aws.client("ec2")
        if "vpcSecurityGroupIds" in keys:
            groups = list(inputs["vpcSecurityGroupIds"])
            for item in (_existing(aws, id_) or {}).get("NetworkInterfaces", ()):
                interface = item["NetworkInterfaceId"]
                ec2.modify_network_interface_attribute(NetworkInterfaceId=interface, Groups=groups)
        if "tags" in keys:
            replace_tags(aws, id_, inputs)
        if "rootBlockDevice.tags" in keys:
            filters = [{"Name": "attachment.instance-id", "Values": [id_]}]
            for volume in ec2.describe_volumes(Filters=filters)["Volumes"]:
                replace_tags(aws, volume["VolumeId"], inputs["rootBlockDevice"])

    def delete(self, aws: Aws, id_: str, _inputs: Inputs) -> None:
        """Terminate the instance and wait: until then its subnet cannot be deleted."""
        ec2 = aws.client("ec2")
        if get_or_none(lambda: ec2.terminate_instances(InstanceIds=[id_]), *_NO_INSTANCE) is None:
            return
        while (instance := _describe(aws, id_)) and instance["State"]["Name"] != "terminated":
            aws.pause()


class _KeyPair(Ec2Resource):
    """A key pair, identified by its name; its tags are those of its id."""

    def find(self, aws: Aws, inputs: Inputs) -> str | None:
        """Return the name of the key pair if it has the stack's tag."""
        name, stack = str(inputs["keyName"]), inputs.get("tags", {}).get(STACK_TAG)
        key = self.describe(aws, name) or {}
        return name if stack and user_tags(key).get(STACK_TAG) == stack else None

    def update(self, aws: Aws, id_: str, inputs: Inputs, keys: frozenset[str]) -> None:
        key = self.describe(aws, id_)
        if key is not None:
            super().update(aws, str(key["KeyPairId"]), inputs, keys)


def _interface(inputs: Inputs) -> dict[str, Any]:
    return {
        "DeviceIndex": 0,
        "SubnetId": inputs["subnetId"],
        "Groups": list(inputs["vpcSecurityGroupIds"]),
        "AssociatePublicIpAddress": bool(inputs.get("associatePublicIpAddress")),
        "DeleteOnTermination": True,
    }


def _disk(inputs: Inputs) -> dict[str, Any]:
    volume = {key: value for key, value in inputs.items() if key != "tags"}
    return {"DeviceName": _ROOT, "Ebs": pascal(volume)}


def _market(inputs: Inputs | None) -> dict[str, Any]:
    return {"InstanceMarketOptions": pascal(inputs)} if inputs else {}


def _describe(aws: Aws, id_: str) -> dict[str, Any] | None:
    """Return EC2's description of an instance; None if it does not exist."""
    pages = instances(aws.client("ec2"), InstanceIds=[id_])
    instance: dict[str, Any] | None = get_or_none(lambda: next(pages, None), *_NO_INSTANCE)
    return instance


def _existing(aws: Aws, id_: str) -> dict[str, Any] | None:
    """Return EC2's description of an instance; None if it is being or was terminated."""
    instance = _describe(aws, id_)
    return instance if instance and instance["State"]["Name"] not in EC2_GONE else None


RESOURCE_TYPES: dict[str, ResourceType] = {
    "aws:ec2/instance:Instance": _Instance(
        can_terminate=True,
        updates=frozenset({"tags", "vpcSecurityGroupIds", "rootBlockDevice.tags"}),
        replaces=frozenset(
            {
                "ami",
                "associatePublicIpAddress",
                "ebsOptimized",
                "iamInstanceProfile",
                "instanceMarketOptions",
                "instanceType",
                "keyName",
                "metadataOptions",
                "rootBlockDevice.deleteOnTermination",
                "rootBlockDevice.encrypted",
                "rootBlockDevice.kmsKeyId",
                "rootBlockDevice.volumeSize",
                "rootBlockDevice.volumeType",
                "subnetId",
            }
        ),
    ),
    "aws:ec2/keyPair:KeyPair": _KeyPair(
        operations=("import_key_pair", "describe_key_pairs", "delete_key_pair"),
        arguments={"keyName": "KeyName", "publicKey": "PublicKeyMaterial"},
        key=("KeyName",),
        item="KeyPair",
        outputs={"keyPairId": "KeyPairId", "fingerprint": "KeyFingerprint"},
        missing=("InvalidKeyPair.NotFound",),
        updates=frozenset({"tags"}),
        unique=("keyName",),
    ),
}
