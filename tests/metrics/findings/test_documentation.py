"""docs/findings.md lists every kind and every threshold as the code has them."""

from __future__ import annotations

from pathlib import Path

from emrctl.metrics.findings import KINDS
from emrctl.metrics.findings.catalog import NEEDS
from emrctl.metrics.limits import LIMITS

TEXT = (Path(__file__).parents[3] / "docs" / "findings.md").read_text()


def _rows(heading: str) -> list[str]:
    """Return the rows of the table in a section, without its head."""
    section = TEXT.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return [line for line in section.splitlines() if line.startswith("| `")]


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:g}"


def test_table_of_kinds_is_complete() -> None:
    kinds = [f"| `{name}` | {item.title} | {item.confidence} |" for name, item in KINDS.items()]
    assert _rows("Kinds") == kinds
    assert len(KINDS) >= 40


def test_table_of_thresholds_is_complete() -> None:
    expected = [
        f"| `{name}` | {_number(item.value)} {item.unit} | {item.source} |"
        for name, item in LIMITS.items()
    ]
    assert _rows("Thresholds") == expected


def test_kinds_have_known_confidence_and_needs() -> None:
    assert {item.confidence for item in KINDS.values()} <= {"high", "medium", "low"}
    assert {item.needs for item in KINDS.values()} == NEEDS.keys()
