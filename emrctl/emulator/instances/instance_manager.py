"""Lifecycle of EC2 instances outside EMR clusters: moto stores the records, this module runs them.

Each instance has a queue with one thread, so that its changes happen in order while EC2's API
returns at once, with the states pending, stopping and shutting-down. If no security group allows
SSH from loopback, the SSH server does not listen: connections are refused instead of timing out.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import secrets
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from emrctl import ports
from emrctl.emulator.cluster.node_folder import EmulatorContext
from emrctl.emulator.instances.machine import Machine
from emrctl.errors import EmrctlError

if TYPE_CHECKING:
    from emrctl.emulator.instances.sshd import Sshd


_SSH = 22
_CALLER = ipaddress.IPv4Address("127.0.0.1")


def allows_ssh(record: Any) -> bool:
    """Return whether the instance's groups allow SSH; a VPC's default group always does."""
    groups = list(record.nics[0].group_set) if record.nics else []
    rules = [rule for group in groups for rule in group.ingress_rules]
    return all(group.is_default for group in groups) or any(_allows_ssh(rule) for rule in rules)


def _allows_ssh(rule: Any) -> bool:
    if rule.ip_protocol not in ("tcp", "-1") or rule.cidr_ipv4 is None:
        return False
    if rule.ip_protocol == "tcp" and not rule.from_port <= _SSH <= rule.to_port:
        return False
    with contextlib.suppress(ValueError):
        return _CALLER in ipaddress.IPv4Network(rule.cidr_ipv4, strict=False)
    return False


_log = logging.getLogger(__name__)

SSH_PORT = 2222
_ADDRESS_TRIES = 50
_STATE_CODES = {
    "pending": 0,
    "running": 16,
    "shutting-down": 32,
    "terminated": 48,
    "stopping": 64,
    "stopped": 80,
}


@dataclass(eq=False)
class Ec2Instance:
    """An instance: its record in moto, its machine and its queue of changes."""

    record: Any
    machine: Machine
    queue: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(max_workers=1))
    booted: bool = False
    one_time_spot: bool = False

    @property
    def state(self) -> str:
        """State in EC2's API."""
        return str(self.record.state)

    def set_state(self, state: str) -> None:
        """Change the state in EC2's API."""
        self.record._state.name, self.record._state.code = state, _STATE_CODES[state]  # noqa: SLF001

    def update_addresses(self) -> None:
        """Replace the addresses that moto generated with the machine's."""
        interface = self.record.nics[0]
        private_ip = self.machine.private_ip
        interface.private_ip_address = private_ip
        for address in interface.private_ip_addresses:
            if address.get("Primary"):
                address["PrivateIpAddress"] = address["PrivateDnsName"] = private_ip
        interface.public_ip = self.machine.public_ip


@dataclass(eq=False)
class InstanceManager:
    """Runs the instances that were launched through EC2's API, with SSH servers on `ssh_port`."""

    context: EmulatorContext
    ssh_port: int
    instances: dict[str, Ec2Instance] = field(default_factory=dict)
    _sshd: Sshd | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def sshd(self) -> Sshd:
        """Return the SSH servers; import asyncssh and start them on first use."""
        with self._lock:
            if self._sshd is None:
                from emrctl.emulator.instances.sshd import Sshd

                self._sshd = Sshd(self.ssh_port)
            return self._sshd

    def launch(self, record: Any, public_key: str | None, user_data: bytes) -> None:
        """Set the record to pending, give it addresses and boot the instance in the background."""
        machine = Machine(
            context=self.context,
            id=record.id,
            region=record.region_name,
            private_ip=self.new_address(),
            public_key=public_key,
            user_data=user_data,
        )
        instance = Ec2Instance(record, machine)
        self.instances[record.id] = instance
        self.start(instance)

    def start(self, instance: Ec2Instance) -> None:
        """Boot an instance in the background, with a new public address if it has one."""
        if instance.record.public_ip:
            instance.machine.public_ip = self.new_address()
        instance.update_addresses()
        self._enqueue(instance, "pending", self._boot)

    def stop(self, instance: Ec2Instance) -> None:
        """Stop an instance in the background; its files are kept."""
        instance.machine.public_ip = None
        self._enqueue(instance, "stopping", self._stop)

    def reboot(self, instance: Ec2Instance) -> None:
        """Kill the processes of an instance and restart its SSH server in the background."""
        self._enqueue(instance, "running", self._reboot)

    def terminate(self, instance: Ec2Instance) -> None:
        """Terminate an instance and delete its files in the background."""
        self._enqueue(instance, "shutting-down", self._terminate)

    def describe(self) -> list[dict[str, str]]:
        """Return all instances as JSON objects."""
        return [
            {
                "id": one.machine.id,
                "name": next((t["value"] for t in one.record.get_tags() if t["key"] == "Name"), ""),
                "state": one.state,
                "address": one.machine.public_ip or one.machine.private_ip,
                "folder": str(one.machine.root),
            }
            for one in list(self.instances.values())
        ]

    def apply_security_groups(self) -> None:
        """Open or close SSH of running instances by their security groups, in the background."""
        for instance in list(self.instances.values()):
            if instance.state == "running":
                self._enqueue(instance, "running", self._update_sshd)

    def close(self) -> None:
        """Terminate all instances and stop the SSH servers."""
        instances = list(self.instances.values())
        futures = [self._enqueue(one, "shutting-down", self._terminate) for one in instances]
        wait([future for future in futures if future is not None], timeout=15)
        if self._sshd is not None:
            self._sshd.stop()

    # -- in the instance's own thread

    def _boot(self, instance: Ec2Instance) -> None:
        first_boot, instance.booted = not instance.booted, True
        if first_boot:
            instance.machine.prepare()
        self._update_sshd(instance)
        if first_boot:
            instance.machine.run_user_data()
        if instance.state == "pending":  # else it has been terminated meanwhile
            instance.set_state("running")

    def _stop(self, instance: Ec2Instance) -> None:
        self._kill_processes(instance)
        if instance.state == "stopping":
            instance.set_state("stopped")

    def _reboot(self, instance: Ec2Instance) -> None:
        self._kill_processes(instance)
        self._update_sshd(instance)

    def _terminate(self, instance: Ec2Instance) -> None:
        self._kill_processes(instance)
        instance.machine.delete_files()
        instance.set_state("terminated")
        instance.queue.shutdown(wait=False)

    def _fail(self, instance: Ec2Instance, error: Exception) -> None:
        from moto.ec2.models.instances import StateReason

        _log.error("instance %s: %s", instance.machine.id, error, exc_info=error)
        instance.record.state_reason = StateReason(
            f"Server.InternalError: {error} (local)", "Server.InternalError"
        )
        try:
            self._terminate(instance)
        except Exception:  # noqa: BLE001
            _log.exception("could not terminate instance %s", instance.machine.id)
            instance.set_state("terminated")

    def _update_sshd(self, instance: Ec2Instance) -> None:
        if allows_ssh(instance.record):
            self.sshd().listen(instance.machine)
        else:
            self.sshd().stop_listening(instance.machine)

    def _kill_processes(self, instance: Ec2Instance) -> None:
        if self._sshd is not None:
            self._sshd.close(instance.machine)
        instance.machine.kill_processes()

    def _enqueue(
        self, instance: Ec2Instance, state: str, work: Callable[[Ec2Instance], None]
    ) -> Future[None] | None:
        instance.set_state(state)
        try:
            return instance.queue.submit(self._run, instance, work)
        except RuntimeError:  # the queue is shut down: the instance is terminated
            instance.set_state("terminated")
            return None

    def _run(self, instance: Ec2Instance, work: Callable[[Ec2Instance], None]) -> None:
        try:
            work(instance)
        except Exception as error:  # noqa: BLE001
            self._fail(instance, error)

    def new_address(self) -> str:
        """Return an unused loopback address; raises `EmrctlError` if there is none."""
        instances = list(self.instances.values())
        used = {address for one in instances for address in one.machine.addresses}
        return loopback_address(self.ssh_port, frozenset(used))


def ssh_port() -> int:
    """Return the port of all SSH servers: 2222, or another one if that is in use."""
    return ports.preferred(SSH_PORT)


def loopback_address(port: int, used: frozenset[str]) -> str:
    """Return a random address of 127.0.0.0/8 that is not in `used` and has this port free.

    Each instance has its own addresses, so that Spark can use its default ports on all of them.
    """
    for _ in range(_ADDRESS_TRIES):
        # Lower networks contain addresses with a purpose (127.0.0.53, 127.0.1.1).
        network = 64 + secrets.randbelow(128)
        address = f"127.{network}.{secrets.randbelow(256)}.{secrets.randbelow(254) + 1}"
        if address not in used and ports.free(port, address) is not None:
            return address
    raise EmrctlError(
        "this machine has no loopback address for an EC2 instance",
        hint="EC2 instances on localhost need Linux, where all of 127.0.0.0/8 is usable. "
        "Other systems support EMR clusters only.",
    )
