"""Run the instances of moto's EC2; the rest of EC2 stays moto's."""

from __future__ import annotations

import base64
import contextlib
import copy
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emrctl.aws.listing import EC2_EXISTING, EC2_GONE, EC2_STARTED, EC2_STOPPED
from emrctl.emulator.cluster.model import MAX_INSTANCES
from emrctl.emulator.faults import INSUFFICIENT_CAPACITY, Capacity, Faults
from emrctl.emulator.instances.instance_manager import Ec2Instance, InstanceManager
from emrctl.emulator.moto.patches import replaced
from emrctl.errors import EmrctlError

_INSTANCE_TYPE = re.compile(r"[a-z][a-z0-9-]*\.[a-z0-9-]+")
# Instances with this tag are nodes that EMR runs.
_EMR_TAG = "aws:elasticmapreduce:job-flow-id"

Replacements = Iterator[contextlib.AbstractContextManager[None]]


@contextlib.contextmanager
def install(manager: InstanceManager, faults: Faults) -> Iterator[InstanceManager]:
    """Run instances that EC2 launches; terminate all of them at the end."""
    with contextlib.ExitStack() as stack:
        for replacement in _run_instances(manager, faults):
            stack.enter_context(replacement)
        for repair in (
            _spot_options,
            _state_changes,
            _security_groups,
            _console,
            _names,
        ):
            for replacement in repair(manager):
                stack.enter_context(replacement)
        try:
            yield manager
        finally:
            manager.close()


def _run_instances(manager: InstanceManager, faults: Faults) -> Replacements:
    from moto.ec2.models.instances import InstanceBackend

    def run_instances(original: Any, self: Any, *arguments: Any, **options: Any) -> Any:
        if _EMR_TAG in options.get("tags", {}).get("instance", {}):
            return original(self, *arguments, **options)
        _check_capacity(faults, self, options)
        _check_address(manager)
        reservation = original(self, *arguments, **options)
        for record in reservation.instances:
            encoded = getattr(record.user_data, "_encoded_string", None)
            user_data = base64.b64decode(encoded) if encoded else b""
            key_pair = self.key_pairs.get(record.key_name)
            manager.launch(record, key_pair.public_key if key_pair else None, user_data)
        return reservation

    yield replaced(InstanceBackend, "run_instances", run_instances)


def _check_capacity(faults: Faults, ec2: Any, options: Mapping[str, Any]) -> None:
    """Raise EC2's error if a fault is active. Status 400: SDKs repeat a request after 500."""
    from moto.ec2.exceptions import EC2ClientError

    name = str(options.get("instance_type"))
    market = "spot" if options.get("instance_market_options") else "on-demand"
    fault = faults.take(Capacity, lambda one: one.concerns(name, market))
    if fault is None:
        return
    subnet = options.get("subnet_id")
    zone = ec2.get_subnet(subnet).availability_zone if subnet else f"{ec2.region_name}a"
    if fault.reason == INSUFFICIENT_CAPACITY:
        raise EC2ClientError(
            "InsufficientInstanceCapacity",
            f"We currently do not have sufficient {name} capacity in the Availability Zone you "
            f"requested ({zone}). Our system will be working on provisioning additional capacity.",
        )
    raise EC2ClientError(
        "Unsupported",
        f"Your requested instance type ({name}) is not supported in your requested Availability "
        f"Zone ({zone}).",
    )


def _check_address(manager: InstanceManager) -> None:
    """Raise EC2's error if this machine has no free loopback address."""
    from moto.ec2.exceptions import EC2ClientError

    try:
        manager.new_address()
    except EmrctlError as error:
        raise EC2ClientError("Unsupported", f"{error.message}. {error.hint}") from error


def _check_request(least: int, most: int, kind: str | None) -> None:
    """Raise EC2's errors for counts and types of instances that moto accepts."""
    from moto.ec2.exceptions import EC2ClientError

    for name, count, limit in (("minCount", least, 1), ("maxCount", most, least)):
        if count < limit:
            message = f"Value ({count}) for parameter {name} is invalid. It is less than {limit}."
            raise EC2ClientError("InvalidParameterValue", message)
    if most > MAX_INSTANCES:
        raise EC2ClientError(
            "InstanceLimitExceeded",
            f"You have requested more instances ({most}) than the limit of {MAX_INSTANCES} "
            "instances of the EC2 on localhost.",
        )
    if kind is not None and not _INSTANCE_TYPE.fullmatch(kind):
        raise EC2ClientError("InvalidParameterValue", f"Invalid value '{kind}' for InstanceType.")


def _spot_options(manager: InstanceManager) -> Replacements:
    """Check RunInstances, and read its spot options, which moto ignores."""
    from moto.ec2.responses.instances import InstanceResponse

    def run_instances(original: Any, self: Any) -> Any:
        least, most = (self._get_int_param(name, 1) for name in ("MinCount", "MaxCount"))
        _check_request(least, most, self._get_param("InstanceType"))
        answer = original(self)
        market = "InstanceMarketOptions.SpotOptions.SpotInstanceType"
        persistent = self._get_param(market) == "persistent"
        for record in answer.result.instances:
            if record.id in manager.instances:
                one_time = record.lifecycle == "spot" and not persistent
                manager.instances[record.id].one_time_spot = one_time
        return answer

    yield replaced(InstanceResponse, "run_instances", run_instances)


@dataclass(frozen=True)
class InstanceStateChange:
    """A change of instance states: allowed states, and states that need no change."""

    begin: Callable[[Ec2Instance], None]
    states: Sequence[str]
    already: Sequence[str]
    participle: str


def _state_changes(manager: InstanceManager) -> Replacements:
    from moto.ec2.models.instances import InstanceBackend

    changes = {
        "start": InstanceStateChange(manager.start, ("stopped",), EC2_STARTED, "started"),
        "stop": InstanceStateChange(manager.stop, ("running",), EC2_STOPPED, "stopped"),
        "reboot": InstanceStateChange(manager.reboot, ("running",), (), "rebooted"),
        "terminate": InstanceStateChange(manager.terminate, EC2_EXISTING, EC2_GONE, "terminated"),
    }
    for name, change in changes.items():
        yield replaced(InstanceBackend, f"{name}_instances", _with_instances(manager, change))


def _with_instances(manager: InstanceManager, change: InstanceStateChange) -> Callable[..., Any]:
    """Return the replacement of moto's operation that also changes the running instances."""

    def change_instances(original: Any, self: Any, instance_ids: list[str]) -> Any:
        records = self.get_multi_instances_by_id(list(dict.fromkeys(instance_ids)))
        ours = {one.id: manager.instances[one.id] for one in records if one.id in manager.instances}
        idle = [one for one in ours.values() if one.state in change.already]
        for one in ours.values():
            _check_state(one, change)
        asked = [one.id for one in records if ours.get(one.id) not in idle]
        answer = list(original(self, asked)) if asked else []
        for one in asked:
            if one in ours:
                change.begin(ours[one])
        return answer + [(one.record, copy.copy(one.record.instance_state)) for one in idle]

    return change_instances


def _check_state(one: Ec2Instance, change: InstanceStateChange) -> None:
    """Raise EC2's error if the instance's state does not allow the change."""
    from moto.ec2.exceptions import EC2ClientError

    name = one.record.id
    if one.state not in (*change.states, *change.already):
        what = f"The instance '{name}' is not in a state from which it can be {change.participle}."
        raise EC2ClientError("IncorrectInstanceState", what)
    if change.participle == "stopped" and one.one_time_spot:
        what = (
            f"You can't stop the Spot Instance '{name}' because it is associated with a one-time "
            "Spot Instance request. You can only stop Spot Instances associated with persistent "
            "Spot Instance requests."
        )
        raise EC2ClientError("UnsupportedOperation", what)


def _security_groups(manager: InstanceManager) -> Replacements:
    """Apply changes of security groups at once."""
    from moto.ec2.models import EC2Backend

    def change_rules(original: Any, *arguments: Any, **options: Any) -> Any:
        answer = original(*arguments, **options)
        manager.apply_security_groups()
        return answer

    for name in (
        *("authorize_security_group_ingress", "revoke_security_group_ingress"),
        *("modify_security_group_rules", "modify_instance_security_groups"),
        "modify_network_interface_attribute",
    ):
        owner = next(one for one in EC2Backend.__mro__ if name in one.__dict__)
        yield replaced(owner, name, change_rules)


def _console(manager: InstanceManager) -> Replacements:
    from moto.core.responses import ActionResult
    from moto.core.types import Base64EncodedString
    from moto.core.utils import utcnow
    from moto.ec2.responses.general import General

    def get_console_output(original: Any, self: Any) -> Any:
        instance = manager.instances.get(self._get_param("InstanceId"))
        if instance is None:
            return original(self)
        text = Base64EncodedString.from_raw_string(instance.machine.console_output())
        return ActionResult(
            {"InstanceId": instance.machine.id, "Timestamp": utcnow(), "Output": text}
        )

    yield replaced(General, "get_console_output", get_console_output)


def _names(manager: InstanceManager) -> Replacements:
    """Use addresses as DNS names, since Amazon's names do not resolve here."""
    from moto.ec2.models.instances import Instance as Record

    for name, address in (("private_dns_name", "private_ip"), ("public_dns_name", "public_ip")):

        def dns_name(original: Any, self: Any, address: str = address) -> Any:
            return getattr(self, address) if self.id in manager.instances else original(self)

        yield replaced(Record, name, dns_name)
