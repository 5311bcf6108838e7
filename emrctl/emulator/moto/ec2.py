"""Run the instances of moto's EC2; the rest of EC2 stays moto's."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from emrctl.aws.listing import EC2_EXISTING, EC2_GONE, EC2_STARTED, EC2_STOPPED
from emrctl.emulator.instances import machine
from emrctl.emulator.instances.instance_manager import Ec2Instance, InstanceManager
from emrctl.emulator.moto.patches import replaced
from emrctl.errors import EmrctlError

# Instances with this tag are nodes that EMR runs.
_EMR_TAG = "aws:elasticmapreduce:job-flow-id"

Replacements = Iterator[contextlib.AbstractContextManager[None]]


@contextlib.contextmanager
def install(manager: InstanceManager) -> Iterator[InstanceManager]:
    """Run instances that EC2 launches; terminate all of them at the end."""
    with contextlib.ExitStack() as stack:
        for repair in (
            _run_instances,
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


def _run_instances(manager: InstanceManager) -> Replacements:
    from moto.ec2.models.instances import InstanceBackend

    def wrap(original: Any) -> Any:
        def run_instances(self: Any, *arguments: Any, **options: Any) -> Any:
            own = _EMR_TAG not in options.get("tags", {}).get("instance", {})
            if own:
                _check(manager)
            reservation = original(self, *arguments, **options)
            for record in reservation.instances if own else ():
                data = getattr(record.user_data, "_encoded_string", None)
                key = _public_key(self, record.key_name)
                manager.launch(record, key, machine.decode_user_data(data))
            return reservation

        return run_instances

    yield replaced(InstanceBackend, "run_instances", wrap)


def _check(manager: InstanceManager) -> None:
    from moto.ec2.exceptions import EC2ClientError

    try:
        manager.check_address()
    except EmrctlError as error:
        raise EC2ClientError("Unsupported", f"{error.message}. {error.hint}") from error


def _public_key(backend: Any, name: str | None) -> str | None:
    key_pair = backend.key_pairs.get(name)
    return key_pair.public_key if key_pair is not None else None


def _spot_options(manager: InstanceManager) -> Replacements:
    """Read the spot options of RunInstances, which moto ignores."""
    from moto.ec2.responses.instances import InstanceResponse

    def wrap(original: Any) -> Any:
        def run_instances(self: Any) -> Any:
            answer = original(self)
            market = "InstanceMarketOptions.SpotOptions.SpotInstanceType"
            persistent = self._get_param(market) == "persistent"
            for record in answer.result.instances:
                if record.id in manager.instances:
                    manager.instances[record.id].one_time_spot = (
                        record.lifecycle == "spot" and not persistent
                    )
            return answer

        return run_instances

    yield replaced(InstanceResponse, "run_instances", wrap)


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


def _with_instances(manager: InstanceManager, change: InstanceStateChange) -> Callable[[Any], Any]:
    """Wrap moto's operation so that it also changes the running instances."""

    def wrap(original: Any) -> Any:
        def changed(self: Any, instance_ids: list[str]) -> Any:
            records = self.get_multi_instances_by_id(list(dict.fromkeys(instance_ids)))
            ours = {
                one.id: manager.instances[one.id] for one in records if one.id in manager.instances
            }
            idle = [one for one in ours.values() if one.state in change.already]
            for one in ours.values():
                _check_state(one, change)
            asked = [one.id for one in records if ours.get(one.id) not in idle]
            answer = list(original(self, asked)) if asked else []
            for one in asked:
                if one in ours:
                    change.begin(ours[one])
            return answer + [(one.record, copy.copy(one.record.instance_state)) for one in idle]

        return changed

    return wrap


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

    def wrap(original: Any) -> Any:
        def changed(*arguments: Any, **options: Any) -> Any:
            answer = original(*arguments, **options)
            manager.apply_security_groups()
            return answer

        return changed

    for name in (
        *("authorize_security_group_ingress", "revoke_security_group_ingress"),
        *("modify_security_group_rules", "modify_instance_security_groups"),
        "modify_network_interface_attribute",
    ):
        owner = next(one for one in EC2Backend.__mro__ if name in one.__dict__)
        yield replaced(owner, name, wrap)


def _console(manager: InstanceManager) -> Replacements:
    from moto.core.responses import ActionResult
    from moto.core.types import Base64EncodedString
    from moto.core.utils import utcnow
    from moto.ec2.responses.general import General

    def wrap(original: Any) -> Any:
        def get_console_output(self: Any) -> Any:
            instance = manager.instances.get(self._get_param("InstanceId"))
            if instance is None:
                return original(self)
            text = Base64EncodedString.from_raw_string(instance.machine.console_output())
            output = {"InstanceId": instance.machine.id, "Timestamp": utcnow(), "Output": text}
            return ActionResult(output)

        return get_console_output

    yield replaced(General, "get_console_output", wrap)


def _names(manager: InstanceManager) -> Replacements:
    """Use addresses as DNS names, since Amazon's names do not resolve here."""
    from moto.ec2.models.instances import Instance as Record

    def of(address: str) -> Callable[[Any], Any]:
        def wrap(original: property) -> property:
            def name(self: Any) -> Any:
                if self.id in manager.instances:
                    return getattr(self, address)
                return original.__get__(self)

            return property(name)

        return wrap

    yield replaced(Record, "private_dns_name", of("private_ip"))
    yield replaced(Record, "public_dns_name", of("public_ip"))
