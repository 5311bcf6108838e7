"""EC2's API inside moto: its instances run, and the rest of EC2 stays moto's."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from emrctl.emulator import machine
from emrctl.emulator.aws import replaced
from emrctl.emulator.instances import Instance, Instances

# Nodes of EMR's clusters are instances to EC2, and EMR's to run.
_EMR_TAG = "aws:elasticmapreduce:job-flow-id"


@contextlib.contextmanager
def install(instances: Instances) -> Iterator[Instances]:
    """While inside, instances that EC2 is asked for run; all of them end with it."""
    with contextlib.ExitStack() as stack:
        for repair in (_launching, _changing, _console, _names):
            for replacement in repair(instances):
                stack.enter_context(replacement)
        try:
            yield instances
        finally:
            instances.close()


Replacements = Iterator[contextlib.AbstractContextManager[None]]


def _launching(instances: Instances) -> Replacements:
    from moto.ec2.models.instances import InstanceBackend

    def wrap(original: Any) -> Any:
        def run_instances(self: Any, *arguments: Any, **options: Any) -> Any:
            reservation = original(self, *arguments, **options)
            if _EMR_TAG not in options.get("tags", {}).get("instance", {}):
                for record in reservation.instances:
                    data = getattr(record.user_data, "_encoded_string", None)
                    key = _public_key(self, record.key_name)
                    instances.launch(record, key, machine.decoded(data))
            return reservation

        return run_instances

    yield replaced(InstanceBackend, "run_instances", wrap)


def _public_key(backend: Any, name: str | None) -> str | None:
    found = backend.key_pairs.get(name)
    return found.public_key if found is not None else None


def _changing(instances: Instances) -> Replacements:
    from moto.ec2.models.instances import InstanceBackend

    changes: dict[str, Callable[[Instance], None]] = {
        "start_instances": instances.start,
        "stop_instances": instances.stop,
        "reboot_instances": instances.reboot,
        "terminate_instances": instances.terminate,
    }
    for name, change in changes.items():
        yield replaced(InstanceBackend, name, _followed(instances, change))


def _followed(instances: Instances, change: Callable[[Instance], None]) -> Callable[[Any], Any]:
    """What wraps moto's change of instances so that the same happens to those that run."""

    def wrap(original: Any) -> Any:
        def changed(self: Any, instance_ids: list[str]) -> Any:
            answer = original(self, instance_ids)
            for one in dict.fromkeys(instance_ids):
                if one in instances.kept:
                    change(instances.kept[one])
            return answer

        return changed

    return wrap


def _console(instances: Instances) -> Replacements:
    from moto.core.responses import ActionResult
    from moto.core.types import Base64EncodedString
    from moto.core.utils import utcnow
    from moto.ec2.responses.general import General

    def wrap(original: Any) -> Any:
        def get_console_output(self: Any) -> Any:
            made = instances.kept.get(self._get_param("InstanceId"))
            if made is None:
                return original(self)
            text = Base64EncodedString.from_raw_string(made.machine.console())
            found = {"InstanceId": made.machine.id, "Timestamp": utcnow(), "Output": text}
            return ActionResult(found)

        return get_console_output

    yield replaced(General, "get_console_output", wrap)


def _names(instances: Instances) -> Replacements:
    """Names of instances are their addresses: nobody here resolves Amazon's."""
    from moto.ec2.models.instances import Instance as Record

    def of(address: str) -> Callable[[Any], Any]:
        def wrap(original: property) -> property:
            def name(self: Any) -> Any:
                if self.id in instances.kept:
                    return getattr(self, address)
                return original.__get__(self)

            return property(name)

        return wrap

    yield replaced(Record, "private_dns_name", of("private_ip"))
    yield replaced(Record, "public_dns_name", of("public_ip"))
