"""Output of findings: the evidence, then the advice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from emrctl.cli.render import plain

if TYPE_CHECKING:
    from rich.console import Console

    from emrctl.metrics.findings import Finding

_STYLES = {"high": "red", "medium": "yellow", "low": "dim"}


def print_findings(out: Console, findings: Sequence[Finding]) -> None:
    """Print findings on `out`, most severe first, or "No findings."."""
    from rich.padding import Padding
    from rich.text import Text

    if not findings:
        out.print("No findings.")
    for item in findings:
        saving = f", up to {item.seconds:,.1f} s" if item.seconds >= 0.05 else ""
        head = Text.assemble(
            (item.severity, _STYLES[item.severity]), " ", (item.kind, "bold"), saving, ": "
        )
        out.print(head + Text(plain(item.evidence)))
        out.print(Padding(Text(plain(item.advice)), (0, 0, 0, 4), expand=False))
