"""All charts of a comparison as JSON; `python -m tests.compare.golden` writes the golden file."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from emrctl.compare import gallery
from tests.compare import comparisons

_FILE = Path(__file__).with_name("golden_charts.json")


def charts() -> dict[str, Any]:
    """Return the charts by name; numbers have six digits, since fits differ in the last ones."""
    built = gallery.build(comparisons.scaled())
    # What all charts share.
    specifications = {"Vega-Lite": {**built[0].spec(840, titled=True), "layer": [], "layers": []}}
    specifications |= {chart.name: dataclasses.asdict(chart) for chart in built}
    return {name: _rounded(chart) for name, chart in specifications.items()}


def read() -> dict[str, Any]:
    """Return the charts of the golden file."""
    found: dict[str, Any] = json.loads(_FILE.read_text(encoding="utf-8"))
    return found


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _lines(document: dict[str, Any]) -> str:
    """Return JSON text with a line per chart and layer."""
    rows = []
    for name, chart in document.items():
        layers = ",\n  ".join(json.dumps(layer, ensure_ascii=False) for layer in chart["layers"])
        rest = json.dumps({**chart, "layers": []}, ensure_ascii=False)
        rows.append(
            f"{json.dumps(name)}: " + rest.replace('"layers": []', f'"layers": [\n  {layers}]')
        )
    return "{\n" + ",\n".join(rows) + "\n}\n"


if __name__ == "__main__":
    _FILE.write_text(_lines(charts()), encoding="utf-8")
