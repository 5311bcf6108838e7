"""Results of the API: tables in notebooks and data frames."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, overload

if TYPE_CHECKING:
    from pandas import DataFrame

    from emrctl.clusters.model import Cluster
    from emrctl.compare.comparison import Comparison
    from emrctl.predict.prediction import Prediction
    from emrctl.runs.record import Run
    from emrctl.runs.run_cost import RunCost
    from emrctl.runs.workspace import Workspace
    from emrctl.tune.result import TuneResult

Row = Mapping[str, Any]


def frame(rows: Sequence[Row]) -> DataFrame:
    """Return rows as a data frame; raises `ModuleNotFoundError` without pandas."""
    import pandas as pd

    return pd.DataFrame(list(rows))


def table(rows: Sequence[Row], caption: str = "") -> str:
    """Return rows as an HTML table; texts are escaped, floats have four significant digits."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    body = "".join(
        f"<tr>{''.join(f'<td>{_cell(row.get(name))}</td>' for name in columns)}</tr>"
        for row in rows
    )
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return escape(f"{value:.4g}" if isinstance(value, float) else str(value))


@dataclass(frozen=True)
class ClusterView:
    """A cluster; `frame()` has one row per node."""

    cluster: Cluster

    def rows(self) -> list[dict[str, Any]]:
        """Return role, type, state and address of each node."""
        return [
            {
                "node": node.name or node.id,
                "role": node.role,
                "type": node.type,
                "state": node.state,
                "address": node.public_dns or node.private_dns,
            }
            for node in self.cluster.nodes
        ]

    def frame(self) -> DataFrame:
        """Return the nodes as a data frame."""
        return frame(self.rows())

    def _repr_html_(self) -> str:
        cluster = self.cluster
        return table(self.rows(), f"{cluster.name} ({cluster.id}): {cluster.state}")


@dataclass(frozen=True)
class RunsView(Sequence["Run"]):
    """Runs in order; `frame()` has one row per run, with its settings and figures."""

    workspace: Workspace
    items: tuple[Run, ...]

    def rows(self) -> list[dict[str, Any]]:
        """Return state, duration, cost and settings of each run, and the numbers of its result."""
        from emrctl.runs.store import RunFiles

        rows = []
        for run in self.items:
            result = self.workspace.store.files(run.id).read_json(RunFiles.RESULT) or {}
            numbers = {f"result.{k}": v for k, v in result.items() if isinstance(v, int | float)}
            own: dict[str, Any] = {
                "run": run.id,
                "job": run.job,
                "state": run.state,
                "duration_s": run.duration_s,
                "cost_usd": run.cost_usd,
            }
            rows.append({**own, **run.settings, **numbers})
        return rows

    def frame(self) -> DataFrame:
        """Return the runs as a data frame."""
        return frame(self.rows())

    @overload
    def __getitem__(self, index: int) -> Run: ...
    @overload
    def __getitem__(self, index: slice) -> RunsView: ...
    def __getitem__(self, index: int | slice) -> Run | RunsView:
        """Return a run, or a view of some."""
        if isinstance(index, slice):
            return RunsView(self.workspace, self.items[index])
        return self.items[index]

    def __len__(self) -> int:
        """Return the number of runs."""
        return len(self.items)

    def __iter__(self) -> Iterator[Run]:
        """Yield the runs."""
        return iter(self.items)

    def _repr_html_(self) -> str:
        return table(self.rows())


@dataclass(frozen=True)
class ComparisonView:
    """A comparison; `frame()` has one row per configuration and figure."""

    comparison: Comparison
    experiment: str | None = None

    def frame(self) -> DataFrame:
        """Return configuration, figure, unit, mean, spread and ratio as a data frame."""
        import io

        import pandas as pd

        from emrctl.compare import export

        rows = pd.read_csv(io.StringIO(export.to_csv(self.comparison)))
        # Results of jobs can be texts; the other values are numbers.
        numbers = pd.to_numeric(rows["value"], errors="coerce")
        rows["value"] = numbers.astype(object).where(numbers.notna(), rows["value"])
        return rows

    def save(self, path: str) -> None:
        """Write the self-contained HTML page."""
        from pathlib import Path

        from emrctl.compare import page

        page.write(self.comparison, Path(path), self.experiment)

    def _repr_html_(self) -> str:
        from emrctl.compare import export

        head, *body = export.table(self.comparison)
        rows = [dict(zip(head, cells, strict=True)) for cells in body]
        items = zip(self.comparison.configurations, self.comparison.verdicts, strict=True)
        verdicts = "".join(
            f"<li><b>{escape(item.label)}</b>: {escape(verdict)}</li>" for item, verdict in items
        )
        return f"<ul>{verdicts}</ul>{table(rows)}"


@dataclass(frozen=True)
class PredictionView:
    """A prediction; `frame()` has one row per number of executors."""

    prediction: Prediction

    def rows(self) -> list[dict[str, Any]]:
        """Return the points without their floors."""
        points = (point.to_json() for point in self.prediction.points)
        return [{key: item for key, item in row.items() if key != "floors"} for row in points]

    def frame(self) -> DataFrame:
        """Return the points as a data frame."""
        return frame(self.rows())

    def _repr_html_(self) -> str:
        observed = self.prediction.observed
        caption = (
            f"Observed with {observed.executors} executors: {observed.in_job_s:.1f} s in jobs, "
            f"replayed with an error of {observed.error_percent:+.1f} %."
        )
        return table(self.rows(), caption)


@dataclass(frozen=True)
class CostView:
    """The cost of a run and estimates elsewhere; `frame()` has one row per option."""

    cost: RunCost

    def rows(self) -> list[dict[str, Any]]:
        """Return the options, the cheapest first."""
        return [option.row() for option in self.cost.options]

    def frame(self) -> DataFrame:
        """Return the options as a data frame."""
        return frame(self.rows())

    def _repr_html_(self) -> str:
        caption = f"{self.cost.headline} {'. '.join(self.cost.notes)}."
        return table(self.rows(), caption)


@dataclass(frozen=True)
class TuneView:
    """The result of a search; `frame()` has one row per configuration, the best first."""

    result: TuneResult

    def rows(self) -> list[dict[str, Any]]:
        """Return runs, time, cost and the ratio to the reference of each configuration."""
        return [
            {
                "configuration": row.name,
                "runs": row.runs,
                "time_s": row.time_s,
                "cost_usd": row.usd,
                "ratio": row.difference.ratio if row.difference else None,
                "verdict": row.difference.verdict if row.difference else row.failure,
            }
            for row in self.result.rows
        ]

    def frame(self) -> DataFrame:
        """Return the configurations as a data frame."""
        return frame(self.rows())

    def _repr_html_(self) -> str:
        caption = f"Best: {self.result.best}. Use it with: {self.result.command}"
        return table(self.rows(), caption)
