"""Tables of what was tried, and what was lost or left behind."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

COLUMNS = ("what", "tried", "lost", "left")
SHOWN = 5


@dataclass
class Row:
    """One row: how often something was tried, what was lost or left, and the problems.

    `figures` are further columns.
    """

    what: str
    tried: int = 0
    lost: int = 0
    left: int = 0
    problems: list[str] = field(default_factory=list)
    figures: tuple[str, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether something is wrong."""
        return bool(self.lost or self.left or self.problems)

    @property
    def cells(self) -> tuple[str, ...]:
        """The cells of the table."""
        return (self.what, str(self.tried), str(self.lost), str(self.left), *self.figures)


def show(rows: Sequence[Row], columns: Sequence[str] = COLUMNS) -> bool:
    """Print the rows as a Markdown table, and the first problems; return whether there are none.

    A table without rows is a failure: `--only` matched nothing.
    """
    lines = [tuple(columns), *(row.cells for row in rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(columns))]
    texts = [
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in lines
    ]
    texts.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
    for row in rows:
        texts += [f"{row.what}: {problem}" for problem in row.problems[:SHOWN]]
        if len(row.problems) > SHOWN:
            texts.append(f"{row.what}: {len(row.problems) - SHOWN} more problems")
    sys.stdout.write("\n".join(texts) + "\n")
    return bool(rows) and not any(row.failed for row in rows)
