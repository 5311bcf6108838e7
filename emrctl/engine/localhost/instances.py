"""EC2's instances and key pairs."""

from __future__ import annotations

from typing import Any

from emrctl.aws.errors import get_or_none
from emrctl.aws.listing import instances
from emrctl.engine.localhost.network import marked, observe_tags, ours, retag
from emrctl.engine.localhost.resource_type import Aws, Inputs, Outputs, ResourceType, tags_of
from emrctl.errors import ProvisioningError

_NO_INSTANCE = ("InvalidInstanceID.NotFound", "InvalidInstanceID.Malformed")
_NO_KEY = "InvalidKeyPair.NotFound"
_GONE = ("shutting-down", "terminated")
# Stopped ones stand too: whoever stopped them may start them.
_USABLE = ("running", "stopping", "stopped")
_NODE_TAG = "emrctl:node"
# Amazon Linux's; the provider on AWS asks the image for it.
_ROOT = "/dev/xvda"


def _create(aws: Aws, inputs: Inputs) -> str:
    made = aws.client("ec2").run_instances(
        ImageId=inputs["ami"],
        InstanceType=inputs["instanceType"],
        MinCount=1,
        MaxCount=1,
        NetworkInterfaces=[_interface(inputs)],
        KeyName=inputs["keyName"],
        IamInstanceProfile={"Name": inputs["iamInstanceProfile"]},
        BlockDeviceMappings=[_disk(inputs["rootBlockDevice"])],
        EbsOptimized=bool(inputs.get("ebsOptimized")),
        MetadataOptions=_metadata(inputs.get("metadataOptions", {})),
        TagSpecifications=[
            *marked("instance", inputs),
            *marked("volume", inputs["rootBlockDevice"]),
        ],
        **_market(inputs.get("instanceMarketOptions")),
    )
    return str(made["Instances"][0]["InstanceId"])


def _interface(inputs: Inputs) -> dict[str, Any]:
    return {
        "DeviceIndex": 0,
        "SubnetId": inputs["subnetId"],
        "Groups": list(inputs["vpcSecurityGroupIds"]),
        "AssociatePublicIpAddress": bool(inputs.get("associatePublicIpAddress")),
        "DeleteOnTermination": True,
    }


def _disk(inputs: Inputs) -> dict[str, Any]:
    found = {
        "VolumeSize": inputs["volumeSize"],
        "VolumeType": inputs["volumeType"],
        "Encrypted": inputs["encrypted"],
        "DeleteOnTermination": inputs["deleteOnTermination"],
    }
    if inputs.get("kmsKeyId"):
        found["KmsKeyId"] = inputs["kmsKeyId"]
    return {"DeviceName": _ROOT, "Ebs": found}


def _metadata(inputs: Inputs) -> dict[str, Any]:
    names = {
        "httpEndpoint": "HttpEndpoint",
        "httpTokens": "HttpTokens",
        "httpPutResponseHopLimit": "HttpPutResponseHopLimit",
    }
    return {names[key]: value for key, value in inputs.items()}


def _market(inputs: Inputs | None) -> dict[str, Any]:
    if not inputs:
        return {}
    names = {
        "maxPrice": "MaxPrice",
        "spotInstanceType": "SpotInstanceType",
        "instanceInterruptionBehavior": "InstanceInterruptionBehavior",
    }
    options = {names[key]: value for key, value in inputs.get("spotOptions", {}).items()}
    return {"InstanceMarketOptions": {"MarketType": inputs["marketType"], "SpotOptions": options}}


def _known(aws: Aws, id_: str) -> dict[str, Any] | None:
    """What EC2 says of an instance; None where it knows none."""
    asked = instances(aws.client("ec2"), InstanceIds=[id_])
    found: dict[str, Any] | None = get_or_none(lambda: next(asked, None), *_NO_INSTANCE)
    return found


def _described(aws: Aws, id_: str) -> dict[str, Any] | None:
    """What EC2 says of an instance; None where it is gone, or on its way."""
    found = _known(aws, id_)
    return found if found and found["State"]["Name"] not in _GONE else None


def _find(aws: Aws, inputs: Inputs) -> str | None:
    """An instance of the stack that has the node's name."""
    filters, node = ours(inputs), inputs.get("tags", {}).get(_NODE_TAG)
    if filters is None or node is None:
        return None
    filters += [
        {"Name": f"tag:{_NODE_TAG}", "Values": [node]},
        {"Name": "instance-state-name", "Values": ["pending", *_USABLE]},
    ]
    found = [str(item["InstanceId"]) for item in instances(aws.client("ec2"), Filters=filters)]
    return found[-1] if found else None


def _settle(aws: Aws, id_: str, _inputs: Inputs) -> None:
    """The instance runs, or stands still; `ProvisioningError` says why where it ended instead."""
    while True:
        found = _known(aws, id_)
        # EC2 may not know an id yet that it has just given.
        state = found["State"]["Name"] if found else "pending"
        if state in _USABLE:
            return
        if found is not None and state in _GONE:
            reason = found.get("StateReason", {}).get("Message") or "EC2 gives no reason"
            hint = "Run `emrctl up` again: it makes a new one."
            raise ProvisioningError(f"instance {id_} is {state}: {reason}", hint=hint)
        aws.pause()


def _read(aws: Aws, id_: str, _inputs: Inputs) -> Outputs | None:
    found = _described(aws, id_)
    if found is None:
        return None
    account = found["NetworkInterfaces"][0]["OwnerId"] if found.get("NetworkInterfaces") else ""
    return {
        "arn": f"arn:aws:ec2:{aws.target.region}:{account}:instance/{id_}",
        "instanceState": found["State"]["Name"],
        "privateDns": found.get("PrivateDnsName", ""),
        "privateIp": found.get("PrivateIpAddress", ""),
        "publicDns": found.get("PublicDnsName", ""),
        "publicIp": found.get("PublicIpAddress", ""),
    }


def _observe(aws: Aws, id_: str, inputs: Inputs) -> Outputs:
    """What an update can change, as it is now."""
    found = _described(aws, id_) or {}
    interfaces = found.get("NetworkInterfaces") or [{}]
    groups = [item["GroupId"] for item in interfaces[0].get("Groups", ())]
    same = sorted(groups) == sorted(inputs.get("vpcSecurityGroupIds", ()))
    return {
        "tags": tags_of(found.get("Tags")),
        **({} if same else {"vpcSecurityGroupIds": groups}),
    }


def _update(aws: Aws, id_: str, inputs: Inputs, keys: frozenset[str]) -> None:
    ec2 = aws.client("ec2")
    if "vpcSecurityGroupIds" in keys:
        groups = list(inputs["vpcSecurityGroupIds"])
        for one in (_described(aws, id_) or {}).get("NetworkInterfaces", ()):
            interface = one["NetworkInterfaceId"]
            ec2.modify_network_interface_attribute(NetworkInterfaceId=interface, Groups=groups)
    if "tags" in keys:
        retag(aws, id_, inputs)
    if "rootBlockDevice.tags" in keys:
        filters = [{"Name": "attachment.instance-id", "Values": [id_]}]
        for volume in ec2.describe_volumes(Filters=filters)["Volumes"]:
            retag(aws, volume["VolumeId"], inputs["rootBlockDevice"])


def _delete(aws: Aws, id_: str, _inputs: Inputs) -> None:
    """The instance has ended; it no longer holds its network."""
    ec2 = aws.client("ec2")
    if get_or_none(lambda: ec2.terminate_instances(InstanceIds=[id_]), *_NO_INSTANCE) is None:
        return
    while (found := _known(aws, id_)) and found["State"]["Name"] != "terminated":
        aws.pause()


def _import_key(aws: Aws, inputs: Inputs) -> str:
    made = aws.client("ec2").import_key_pair(
        KeyName=inputs["keyName"],
        PublicKeyMaterial=str(inputs["publicKey"]).encode(),
        TagSpecifications=marked("key-pair", inputs),
    )
    return str(made["KeyName"])


def _key(aws: Aws, name: str) -> dict[str, Any] | None:
    ec2 = aws.client("ec2")
    found = get_or_none(lambda: ec2.describe_key_pairs(KeyNames=[name]), _NO_KEY)
    return found["KeyPairs"][0] if found else None


def _read_key(aws: Aws, name: str, _inputs: Inputs) -> Outputs | None:
    found = _key(aws, name)
    if found is None:
        return None
    return {"keyPairId": found["KeyPairId"], "fingerprint": found["KeyFingerprint"]}


def _find_key(aws: Aws, inputs: Inputs) -> str | None:
    """The stack's own; somebody else's of that name is not taken over."""
    found = _key(aws, str(inputs["keyName"]))
    stack = inputs.get("tags", {}).get("emrctl:stack")
    mine = found is not None and tags_of(found.get("Tags")).get("emrctl:stack") == stack
    return str(inputs["keyName"]) if mine and stack else None


def _update_key(aws: Aws, name: str, inputs: Inputs, _keys: frozenset[str]) -> None:
    found = _key(aws, name)
    if found is not None:
        retag(aws, str(found["KeyPairId"]), inputs)


def _observe_key(aws: Aws, name: str, inputs: Inputs) -> Outputs:
    found = _key(aws, name)
    return {} if found is None else observe_tags(aws, str(found["KeyPairId"]), inputs)


def _delete_key(aws: Aws, name: str, _inputs: Inputs) -> None:
    get_or_none(lambda: aws.client("ec2").delete_key_pair(KeyName=name), _NO_KEY)


RESOURCE_TYPES = {
    "aws:ec2/instance:Instance": ResourceType(
        create=_create,
        read=_read,
        update=_update,
        delete=_delete,
        settle=_settle,
        find=_find,
        observe=_observe,
        mortal=True,
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
    "aws:ec2/keyPair:KeyPair": ResourceType(
        create=_import_key,
        read=_read_key,
        update=_update_key,
        delete=_delete_key,
        find=_find_key,
        observe=_observe_key,
        updates=frozenset({"tags"}),
        replaces=frozenset({"keyName", "publicKey"}),
        unique=("keyName",),
    ),
}
