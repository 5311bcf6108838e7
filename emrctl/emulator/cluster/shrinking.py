"""Which nodes a smaller size of a group removes, by EMR's ShrinkPolicy and YARN's containers."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from emrctl.emulator.cluster import model
from emrctl.emulator.cluster.model import EmulatedNode
from emrctl.emulator.cluster.scaling import YarnLoad

# EMR's yarn.resourcemanager.decommissioning.timeout.
DECOMMISSIONING_TIMEOUT_S = 3600


@dataclass(frozen=True, kw_only=True)
class Shrinking:
    """EMR's ShrinkPolicy: instances to remove or to keep, and the decommissioning timeout.

    Instances in `at_once` (EC2InstanceIdsToTerminate) are removed without decommissioning.
    """

    remove: Collection[str] = ()
    keep: Collection[str] = ()
    at_once: Collection[str] = ()
    timeout_s: float = DECOMMISSIONING_TIMEOUT_S

    def urgent(self, node: EmulatedNode) -> bool:
        """Whether the node is removed without decommissioning."""
        return node.ec2_id in self.at_once


def keep_draining(nodes: Sequence[EmulatedNode], target: int) -> int:
    """Keep nodes that were about to be removed, up to the target; return the missing units."""
    missing = target - sum(node.units for node in nodes if not node.removal)
    for node in nodes:
        if node.removal == model.DRAINING and missing > 0:
            node.removal = ""
            missing -= node.units
    return missing


def choose(
    nodes: Sequence[EmulatedNode], surplus: int, load: YarnLoad, shrinking: Shrinking
) -> list[EmulatedNode]:
    """Return the nodes that a resize removes: those asked for, then idle ones, the newest first.

    The units that stay are not below the target.
    """

    def order(item: tuple[int, EmulatedNode]) -> tuple[bool, bool, bool, int]:
        index, node = item
        ids = (node.id, node.ec2_id)
        asked = shrinking.urgent(node) or any(one in shrinking.remove for one in ids)
        kept = any(one in shrinking.keep for one in ids)
        return not asked, kept, load.busy(node), -index

    chosen = []
    staying = [node for node in nodes if not node.removal]
    for _, node in sorted(enumerate(staying), key=order):
        if node.units <= surplus:
            chosen.append(node)
            surplus -= node.units
    return chosen
