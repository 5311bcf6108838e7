"""What a comparison takes in: one record for each run, whoever made it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from emrctl.metrics.model import RunMetrics

COMPLETED = "COMPLETED"


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """One run as a comparison sees it.

    `duration_s` is the step's time on the cluster; `cost_usd` what that time costs on AWS by the
    hourly price of the whole cluster; `local` says that an emulator on localhost ran it.
    `published_s` is how long the same took whom `published_by` names.
    """

    id: str
    label: str = ""
    job: str = ""
    arguments: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    state: str = COMPLETED
    duration_s: float | None = None
    metrics: RunMetrics | None = None
    result: Mapping[str, Any] | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    cost_usd: float | None = None
    local: bool = False
    published_s: float | None = None
    published_by: str = ""

    @property
    def counted(self) -> bool:
        """Whether the run's figures may stand for its settings: it ran to its good end."""
        return self.state == COMPLETED

    def traits(self) -> dict[str, str]:
        """What was chosen for the run, flat, as text: job, target, settings, `conf.*` and so on."""
        target = "localhost" if self.local else "AWS"
        found = {"job": self.job, "arguments": " ".join(self.arguments), "target": target}
        for name, value in self.settings.items():
            if isinstance(value, Mapping):
                found |= {f"{name}.{key}": _text(inner) for key, inner in value.items()}
            elif value is not None:
                found[name] = _text(value)
        return {name: value for name, value in found.items() if value}


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
