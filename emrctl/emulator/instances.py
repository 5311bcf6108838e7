"""EC2 instances that run: moto keeps their records, this module their lives.

Each instance has a queue of its own, so that what is asked of it happens in order and nobody who
asks waits; EC2's answers show it pending, stopping or shutting down meanwhile.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from emrctl.emulator import addresses
from emrctl.emulator.machine import Machine
from emrctl.emulator.nodes import Place

if TYPE_CHECKING:
    from emrctl.emulator.sshd import Sshd

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
class Instance:
    """An instance's record in moto, what runs of it, and its queue."""

    record: Any
    machine: Machine
    queue: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(max_workers=1))
    booted: bool = False

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
class Instances:
    """Every instance that was made through EC2's API, with SSH servers on `ssh_port`."""

    place: Place
    ssh_port: int
    kept: dict[str, Instance] = field(default_factory=dict)

    @cached_property
    def sshd(self) -> Sshd:
        """The SSH servers; asyncssh is loaded with the first of them."""
        from emrctl.emulator.sshd import Sshd

        return Sshd(self.ssh_port)

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
        made = Instance(record, machine)
        self.kept[record.id] = made
        if record.public_ip:
            machine.public = self._address()
        made.show_addresses()
        self._begin(made, "pending", self._boot)

    def start(self, made: Instance) -> None:
        """The stopped instance runs in a while, with another public address."""
        if made.record.public_ip:
            made.machine.public = self._address()
        made.show_addresses()
        self._begin(made, "pending", self._boot)

    def stop(self, made: Instance) -> None:
        """In a while nothing of the instance runs; its files stay."""
        made.machine.public = None
        self._begin(made, "stopping", self._halt)

    def reboot(self, made: Instance) -> None:
        """In a while nothing runs that ran, and the instance answers again where it did."""
        self._begin(made, "running", self._again)

    def terminate(self, made: Instance) -> None:
        """In a while nothing of the instance runs, and its bulk is gone."""
        self._begin(made, "shutting-down", self._end)

    def close(self) -> None:
        """Every instance has ended, and so have the SSH servers."""
        ends = [self._begin(one, "shutting-down", self._end) for one in self.kept.values()]
        wait([one for one in ends if one is not None], timeout=15)
        if "sshd" in self.__dict__:
            self.sshd.end()

    # -- in the instance's own thread

    def _boot(self, made: Instance) -> None:
        made.machine.prepare()
        self.sshd.open(made.machine)
        if not made.booted:
            made.booted = True
            made.machine.first_boot()
        if made.state == "pending":  # and has not been told to end meanwhile
            made.show("running")

    def _halt(self, made: Instance) -> None:
        self.sshd.close(made.machine)
        made.machine.halt()
        made.show("stopped")

    def _again(self, made: Instance) -> None:
        self.sshd.close(made.machine)
        made.machine.halt()
        self.sshd.open(made.machine)

    def _end(self, made: Instance) -> None:
        self.sshd.close(made.machine)
        made.machine.halt()
        made.machine.discard()
        made.show("terminated")
        made.queue.shutdown(wait=False)

    # -- helpers

    def _begin(
        self, made: Instance, state: str, work: Callable[[Instance], None]
    ) -> Future[None] | None:
        made.show(state)
        try:
            return made.queue.submit(self._done, made, work)
        except RuntimeError:  # its queue has ended, because it has
            made.show("terminated")
            return None

    def _done(self, made: Instance, work: Callable[[Instance], None]) -> None:
        try:
            work(made)
        except Exception:  # noqa: BLE001
            _log.exception("instance %s", made.machine.id)
            self.sshd.close(made.machine)
            made.machine.halt()
            made.show("terminated")

    def _address(self) -> str:
        taken = {address for one in self.kept.values() for address in one.machine.addresses}
        return addresses.fresh(self.ssh_port, frozenset(taken))
