"""The notebook in examples/, run as a kernel runs it, on an EMR on localhost of its own."""

from __future__ import annotations

import ast
import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from emrctl.emulator.server import control

NOTEBOOK = Path(__file__).parents[2] / "examples" / "notebook.ipynb"
CELLS = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]


def _run_cell(source: str, namespace: dict[str, Any]) -> Any:
    """Execute a cell; return the value of its last expression, which a notebook shows."""
    *statements, last = ast.parse(source).body
    if not isinstance(last, ast.Expr):
        statements.append(last)
    exec(compile(ast.Module(statements, []), "<cell>", "exec"), namespace)  # noqa: S102
    if not isinstance(last, ast.Expr):
        return None
    return eval(compile(ast.Expression(last.value), "<cell>", "eval"), namespace)  # noqa: S307


async def _run(cells: list[str]) -> list[Any]:
    """Run the cells inside an event loop, which exists in a notebook's kernel, too."""
    namespace: dict[str, Any] = {}
    return [_run_cell(source, namespace) for source in cells]


def test_stored_notebook_shows_its_comparison() -> None:
    outputs = [output for cell in CELLS for output in cell["outputs"]]
    assert not [output for output in outputs if output["output_type"] == "error"]
    pages = ["".join(output["data"].get("text/html", "")) for output in outputs]
    assert any("bagofwords" in page and "COMPLETED" in page for page in pages)
    assert any("the reference" in page and "shuffle write" in page for page in pages)


@pytest.mark.yarn
@pytest.mark.timeout(900)
def test_notebook_runs_its_experiment_and_deletes_the_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        shown = asyncio.run(_run(["".join(cell["source"]) for cell in CELLS]))
    finally:
        control.down(lambda _text: None)
    cluster, runs, comparison, figures, stopped = shown
    assert cluster.cluster.state == "WAITING"
    assert [run.state for run in runs] == ["COMPLETED"] * 4
    assert "<table>" in comparison._repr_html_()
    assert len(comparison.comparison.configurations) == 2
    shuffled = figures[figures["name"] == "shuffle_write_bytes"]["value"]
    assert shuffled.iloc[1] > 1.2 * shuffled.iloc[0]  # without a combiner
    assert stopped is True
    assert control.status() is None
