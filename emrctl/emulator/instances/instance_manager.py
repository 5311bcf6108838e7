"""EC2 instances that run: moto keeps their records, this module their lives.

Each instance has a queue of its own, so that what is asked of it happens in order and nobody who
asks waits; EC2's answers show it pending, stopping or shutting down meanwhile.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from emrctl.emulator.cluster.node_folder import EmulatorContext
from emrctl.emulator.instances import addresses
from emrctl.emulator.instances.machine import Machine
from emrctl.emulator.moto import security_groups

if TYPE_CHECKING:
    from emrctl.emulator.instances.sshd import Sshd

_log = logging.getLogger(__name__)

_CODES = {
    "pending": 0,
    "running": 16,
    "shutting-down": 32,
    "terminated": 48,
    "stopping": 64,
    "stopped": 80,
}


@dataclass(eq=False)
class Ec2Instance:
    """An instance's record in moto, what runs of it, and its queue.

    `once` says that it is a spot instance which EC2 was asked for once: it cannot be stopped.
    """

    record: Any
    machine: Machine
    queue: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(max_workers=1))
    booted: bool = False
    once: bool = False

    @property
    def state(self) -> str:
        """The state that EC2 answers with."""
        return str(self.record.state)

    def show(self, state: str) -> None:
        """EC2 answers that the instance is in that state."""
        self.record._state.name, self.record._state.code = state, _CODES[state]  # noqa: SLF001

    def show_addresses(self) -> None:
        """EC2 answers with the instance's addresses, in place of those that moto made up."""
        card = self.record.nics[0]
        card.private_ip_address = self.machine.private
        for one in card.private_ip_addresses:
            if one.get("Primary"):
                one["PrivateIpAddress"] = one["PrivateDnsName"] = self.machine.private
        card.public_ip = self.machine.public


@dataclass(eq=False)
class InstanceManager:
    """Every instance that was made through EC2's API, with SSH servers on `ssh_port`."""

    place: EmulatorContext
    ssh_port: int
    kept: dict[str, Ec2Instance] = field(default_factory=dict)
    _sshd: Sshd | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def serving(self) -> Sshd:
        """The SSH servers; asyncssh comes with them: most emulators never have an instance."""
        with self._lock:
            if self._sshd is None:
                from emrctl.emulator.instances.sshd import Sshd

                self._sshd = Sshd(self.ssh_port)
            return self._sshd

    def check(self) -> None:
        """`EmrctlError` where this machine has no address for one more."""
        self._address()

    def launch(self, record: Any, public_key: str | None, user_data: bytes) -> None:
        """The record's instance is pending, has its addresses, and in a while it runs."""
        machine = Machine(
            place=self.place,
            id=record.id,
            region=record.region_name,
            private=self._address(),
            public_key=public_key,
            user_data=user_data,
        )
        made = Ec2Instance(record, machine)
        self.kept[record.id] = made
        if record.public_ip:
            machine.public = self._address()
        made.show_addresses()
        self._begin(made, "pending", self._boot)

    def start(self, made: Ec2Instance) -> None:
        """The stopped instance runs in a while, with another public address."""
        if made.record.public_ip:  # moto has made up another one
            made.machine.public = self._address()
        made.show_addresses()
        self._begin(made, "pending", self._boot)

    def stop(self, made: Ec2Instance) -> None:
        """In a while nothing of the instance runs; its files stay."""
        made.machine.public = None
        self._begin(made, "stopping", self._halt)

    def reboot(self, made: Ec2Instance) -> None:
        """In a while nothing runs that ran, and the instance answers again where it did."""
        self._begin(made, "running", self._again)

    def terminate(self, made: Ec2Instance) -> None:
        """In a while nothing of the instance runs, and its bulk is gone."""
        self._begin(made, "shutting-down", self._end)

    def told(self) -> list[dict[str, str]]:
        """Every instance, as JSON can hold it."""
        return [
            {
                "id": one.machine.id,
                "name": next((t["value"] for t in one.record.get_tags() if t["key"] == "Name"), ""),
                "state": one.state,
                "address": one.machine.public or one.machine.private,
                "folder": str(one.machine.root),
            }
            for one in list(self.kept.values())
        ]

    def review(self) -> None:
        """In a while SSH servers answer where security groups let this machine in, as they are."""
        for one in list(self.kept.values()):
            if one.state == "running":
                self._begin(one, "running", self._guard)

    def close(self) -> None:
        """Every instance has ended, and so have the SSH servers."""
        every = list(self.kept.values())
        ends = [self._begin(one, "shutting-down", self._end) for one in every]
        wait([one for one in ends if one is not None], timeout=15)
        if self._sshd is not None:
            self._sshd.end()

    # -- in the instance's own thread

    def _boot(self, made: Ec2Instance) -> None:
        first, made.booted = not made.booted, True
        if first:
            made.machine.prepare()
        self._guard(made)
        if first:
            made.machine.first_boot()
        if made.state == "pending":  # and has not been told to end meanwhile
            made.show("running")

    def _halt(self, made: Ec2Instance) -> None:
        self._shut(made)
        if made.state == "stopping":
            made.show("stopped")

    def _again(self, made: Ec2Instance) -> None:
        self._shut(made)
        self._guard(made)

    def _end(self, made: Ec2Instance) -> None:
        self._shut(made)
        made.machine.discard()
        made.show("terminated")
        made.queue.shutdown(wait=False)

    def _fail(self, made: Ec2Instance, error: Exception) -> None:
        from moto.ec2.models.instances import StateReason

        _log.error("instance %s: %s", made.machine.id, error, exc_info=error)
        made.record.state_reason = StateReason(
            f"Server.InternalError: {error} (local)", "Server.InternalError"
        )
        try:
            self._end(made)
        except Exception:  # noqa: BLE001
            _log.exception("ending instance %s", made.machine.id)
            made.show("terminated")

    # -- helpers

    def _guard(self, made: Ec2Instance) -> None:
        """The instance's SSH server answers if a security group lets this machine in."""
        if security_groups.admits(made.record):
            self.serving().open(made.machine)
        else:
            self.serving().bar(made.machine)

    def _shut(self, made: Ec2Instance) -> None:
        if self._sshd is not None:
            self._sshd.close(made.machine)
        made.machine.halt()

    def _begin(
        self, made: Ec2Instance, state: str, work: Callable[[Ec2Instance], None]
    ) -> Future[None] | None:
        made.show(state)
        try:
            return made.queue.submit(self._done, made, work)
        except RuntimeError:  # its queue has ended, because it has
            made.show("terminated")
            return None

    def _done(self, made: Ec2Instance, work: Callable[[Ec2Instance], None]) -> None:
        try:
            work(made)
        except Exception as error:  # noqa: BLE001
            self._fail(made, error)

    def _address(self) -> str:
        kept = list(self.kept.values())
        taken = {address for one in kept for address in one.machine.addresses}
        return addresses.fresh(self.ssh_port, frozenset(taken))
