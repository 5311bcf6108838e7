"""How findings are printed: what is the case, then what to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from emrctl.metrics.findings.rules import Finding
    from emrctl.metrics.model import RunMetrics

_STYLES = {"high": "red", "medium": "yellow", "low": "dim"}


def of_run(run: RunMetrics) -> list[dict[str, Any]]:
    """The findings about `run` as JSON."""
    from emrctl.metrics.findings import rules

    return [found.to_json() for found in rules.of(run)]


def show(out: Console, found: Sequence[Finding]) -> None:
    """The findings on `out`, the gravest first; that there is none is an answer too."""
    from rich.padding import Padding
    from rich.text import Text

    if not found:
        out.print("No findings.")
    for item in found:
        head = Text.assemble(
            (item.severity, _STYLES[item.severity]), " ", (item.kind, "bold"), _win(item), ": "
        )
        out.print(head + Text(_plain(item.evidence)))
        out.print(Padding(Text(_plain(item.advice)), (0, 0, 0, 4), expand=False))


def _win(item: Finding) -> str:
    return f", up to {item.seconds:,.1f} s" if item.seconds >= 0.05 else ""


def _plain(text: str) -> str:
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
