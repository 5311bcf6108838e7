"""The end of what nobody needs, in the order in which AWS lets it go.

Clusters first, then what they ran on, then what that stood in. Groups name one another, so that
all rules go before the first group. What cannot go now is told, and the rest goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from emrctl.aws.polling import Pace
from emrctl.aws.translate import translated
from emrctl.cleanup.delete_kinds import ORDER, How
from emrctl.cleanup.resources import EVERYWHERE, Thing
from emrctl.errors import EmrctlError

if TYPE_CHECKING:
    from emrctl.aws.target import Target

Report = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class End:
    """What is gone, and what is not with the reason."""

    gone: tuple[Thing, ...]
    stay: tuple[tuple[Thing, str], ...]


def end(target: Target, things: Sequence[Thing], report: Report) -> End:
    """The things are gone as far as AWS let them; `End` says which are not, and why.

    Nothing that AWS protects is touched. Calling again goes on where this stopped.
    """
    stay = [(one, "it is protected against termination") for one in things if one.protected]
    gone: list[Thing] = []
    held = {one.stack for one, _ in stay}
    for kind, how in ORDER.items():
        chosen = [one for one in things if one.kind == kind and one.stack not in held]
        for region in sorted({one.region for one in chosen}):
            here = [one for one in chosen if one.region == region]
            failed = _ended(_at(target, region), how, here, report)
            stay += failed
            gone += [one for one in here if one not in [thing for thing, _ in failed]]
    stay += [
        (one, "its cluster is protected")
        for one in things
        if one.stack in held and not one.protected
    ]
    return End(gone=tuple(gone), stay=tuple(stay))


def _at(target: Target, region: str) -> Target:
    return target if region == EVERYWHERE else replace(target, region=region)


def _ended(
    target: Target, how: How, things: Sequence[Thing], report: Report
) -> list[tuple[Thing, str]]:
    """Those of the things that are not gone, with the reason."""
    failed: list[tuple[Thing, str]] = []
    pace, asked = Pace(target.poll_s), list[Thing]()
    try:
        with translated(f"preparing the end of {len(things)} of {things[0].kind}"):
            how.before(target, things)
    except EmrctlError as error:
        return [(one, error.message) for one in things]
    for one in things:
        report(f"  ending {one.kind} {one.id} ({one.region})")
        try:
            with translated(f"ending {one.kind} {one.id}"):
                how.patiently(target, one, pace)
            asked.append(one)
        except EmrctlError as error:
            failed.append((one, error.message))
    try:
        with translated("waiting for the end"):
            how.wait(target, asked, pace)
    except EmrctlError as error:
        failed += [(one, error.message) for one in asked]
    return failed
