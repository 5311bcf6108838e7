"""Reads the operators of SQL plans, with the values of their metrics.

Plans are most of the bytes of a log of queries. Adaptive execution writes a plan several times, so
only the last one of each query is decoded, and only the operators that findings need are kept.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct, field

from emrctl.metrics.eventlog.events import Accumulable
from emrctl.metrics.model import SqlMetrics, SqlOperator

_MAX_VALUE = 1 << 62
_MAX_OPERATORS = 60
_MAX_DETAIL = 240
_decode_updates = msgspec.json.Decoder(list[tuple[int, int]]).decode
# Expression ids, plan ids and codegen numbers differ between equal subtrees.
_NUMBERS = re.compile(r"#\d+L?|plan_id=\d+|id=#?\d+|@[0-9a-f]+|0x[0-9a-f]+")
_WRAPPERS = re.compile(
    r"WholeStageCodegen|InputAdapter|AQEShuffleRead|CustomShuffleReader|ShuffleQueryStage"
    r"|BroadcastQueryStage|AdaptiveSparkPlan|Sort$|ColumnarToRow"
)
_PLAN_ID = re.compile(r"plan_id=(\d+)")
_CACHED = ("InMemoryTableScan", "TableCacheQueryStage")
_JOINS = (
    "SortMergeJoin",
    "ShuffledHashJoin",
    "BroadcastHashJoin",
    "BroadcastNestedLoopJoin",
    "CartesianProduct",
)
_ROWS = "number of output rows"
_SCAN = {
    "bytes": "size of files read",
    "files": "number of files read",
    "partitions": "number of partitions read",
    "rows": _ROWS,
}
_PYTHON = {
    "sent_bytes": "data sent to Python workers",
    "returned_bytes": "data returned from Python workers",
    "rows": _ROWS,
}
# Operator by the start of its name: figure by name of its SQL metric.
_FIGURES: dict[str, dict[str, str]] = {
    **{name: {"rows": _ROWS, "spill_bytes": "spill size"} for name in _JOINS},
    "Exchange": {
        "bytes": "data size",
        "rows": "shuffle records written",
        "partitions": "number of partitions",
    },
    "BroadcastExchange": {
        "bytes": "data size",
        "rows": _ROWS,
        "collect_ms": "time to collect",
        "build_ms": "time to build",
        "broadcast_ms": "time to broadcast",
    },
    **dict.fromkeys(("Scan", "FileScan", "BatchScan"), _SCAN),
    **dict.fromkeys(("BatchEvalPython", "ArrowEvalPython"), _PYTHON),
    "Execute InsertInto": {
        "files": "number of written files",
        "bytes": "written output",
        "rows": _ROWS,
        "partitions": "number of dynamic part",
        "task_commit_ms": "task commit time",
        "job_commit_ms": "job commit time",
    },
    "Window": {},
}
_DETAILS = ("Format", "PartitionFilters", "DataFilters", "Location")


class _Metric(Struct, gc=False):
    name: str = ""
    id: int = field(name="accumulatorId", default=-1)


class _Node(Struct, gc=False):
    name: str = field(name="nodeName", default="")
    text: str = field(name="simpleString", default="")
    metadata: dict[str, Any] = {}
    metrics: list[_Metric] = []
    children: list[_Node] = []


_decode_plan = msgspec.json.Decoder(_Node).decode


class _Operator(NamedTuple):
    """An operator whose figures are accumulator ids."""

    name: str
    detail: str
    fingerprint: str
    nodes: int
    cached: bool
    ids: Mapping[str, int]


class PlanOperators:
    """The plan of each query and the values of accumulators."""

    def __init__(self) -> None:
        self._plans: dict[int, bytes] = {}
        self._operators: dict[int, tuple[_Operator, ...]] = {}
        self._of_driver: dict[int, dict[int, int]] = {}
        self._of_tasks: dict[int, int] = {}

    def set_plan(self, execution: int, plan: bytes) -> None:
        """Replace the plan of a query."""
        self._plans[execution] = plan

    def end(self, execution: int) -> None:
        """Decode the last plan of a query that has ended."""
        plan = self._plans.pop(execution, b"")
        try:
            root = _decode_plan(plan)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return
        self._operators[execution] = tuple(_operators(root))

    def update(self, execution: int, updates: bytes) -> None:
        """Set the values of accumulators that the driver updated."""
        try:
            values = _decode_updates(updates)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return
        known = self._of_driver.setdefault(execution, {})
        known.update((name, value) for name, value in values if 0 < value < _MAX_VALUE)

    def add_sums(self, items: Iterable[Accumulable]) -> None:
        """Set the values of SQL metrics that the tasks of a stage updated: texts of digits."""
        for item in items:
            value = item.value
            if isinstance(value, str) and value.isdecimal() and 0 < len(value) < 19:
                self._of_tasks[item.id] = int(value)

    def add_to(self, query: SqlMetrics) -> SqlMetrics:
        """Return the query with the operators of its plan and their totals."""
        if query.id in self._plans:
            self.end(query.id)
        values = self._of_driver.get(query.id, {})

        def value(accumulator: int) -> int | None:
            return values.get(accumulator) or self._of_tasks.get(accumulator)

        found = self._operators.get(query.id, ())
        operators = [_with_figures(item, value) for item in found]
        operators = [item for item in operators if item.figures or item.name == "Window"]
        kept = sorted(operators, key=lambda item: -max(item.figures.values(), default=0))
        return replace(
            query,
            **_totals(found, values),
            operators=tuple(item for item in operators if item in kept[:_MAX_OPERATORS]),
        )


def _totals(operators: Iterable[_Operator], values: Mapping[int, int]) -> dict[str, Any]:
    """Return files and the largest broadcast, by what the driver reported for this query."""
    totals = dict.fromkeys(
        (
            "largest_broadcast_bytes",
            "files_read",
            "files_read_bytes",
            "files_written",
            "files_written_bytes",
        ),
        0,
    )
    for item in operators:
        figures = {name: values.get(number, 0) for name, number in item.ids.items()}
        if item.name == "BroadcastExchange":
            largest = totals["largest_broadcast_bytes"]
            totals["largest_broadcast_bytes"] = max(largest, figures.get("bytes", 0))
            continue
        way = "read" if "Scan" in item.name else "written" if item.name == "Write" else ""
        if way:
            totals[f"files_{way}"] += figures.get("files", 0)
            totals[f"files_{way}_bytes"] += figures.get("bytes", 0)
    return totals


def _with_figures(item: _Operator, value: Callable[[int], int | None]) -> SqlOperator:
    found = {name: value(number) for name, number in item.ids.items()}
    return SqlOperator(
        name=item.name,
        detail=item.detail,
        fingerprint=item.fingerprint,
        nodes=item.nodes,
        cached=item.cached,
        figures={name: number for name, number in found.items() if number is not None},
    )


def _operators(root: _Node) -> Iterator[_Operator]:
    exchanges = {
        number: node
        for node in _all(root)
        if node.children and (number := _plan_id(node, "Exchange"))
    }
    waiting = [(root, False)]
    seen: set[tuple[int, ...]] = set()
    while waiting:
        node, cached = waiting.pop()
        # A reused exchange or subquery repeats the operators below it, with the same accumulators.
        accumulators = tuple(metric.id for metric in node.metrics)
        if accumulators and accumulators in seen:
            continue
        seen.add(accumulators)
        cached = cached or node.name.startswith(_CACHED)
        waiting += [(child, cached) for child in reversed(node.children)]
        figures = next((f for start, f in _FIGURES.items() if node.name.startswith(start)), None)
        if figures is None or (node.name.startswith("Window") and not _on_one_partition(node)):
            continue
        ids = _ids(node, figures)
        name = node.name
        if name.startswith(_JOINS):
            for side, child in zip(("left", "right"), node.children, strict=False):
                found = _input(child, exchanges)
                ids |= {f"{side}_{key}": number for key, number in found.items()}
        elif name.startswith("Execute InsertInto"):
            name = "Write"
        elif name.startswith("Window"):
            name, ids = "Window", _input(node.children[0], exchanges)
        shared = name.startswith(("Exchange", "BroadcastExchange", "Scan", "FileScan", "BatchScan"))
        fingerprint, nodes = _fingerprint(node) if shared else ("", 0)
        yield _Operator(name, _detail(node), fingerprint, nodes, cached, ids)


def _ids(node: _Node, figures: Mapping[str, str]) -> dict[str, int]:
    ids = {metric.name: metric.id for metric in node.metrics}
    return {figure: ids[name] for figure, name in figures.items() if name in ids}


def _chain(node: _Node) -> Iterator[_Node]:
    """Yield the node and its descendants up to the first with several children."""
    while True:
        yield node
        if len(node.children) != 1:
            return
        node = node.children[0]


def _all(root: _Node) -> Iterator[_Node]:
    waiting = [root]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += node.children


def _plan_id(node: _Node, end: str) -> str:
    """Return Spark's number of an exchange whose name ends so; empty for other nodes."""
    found = _PLAN_ID.search(node.text) if node.name.endswith(end) else None
    return found[1] if found else ""


def _input(side: _Node, exchanges: Mapping[str, _Node]) -> dict[str, int]:
    """Return where the bytes and rows of a join's side or a window's input are counted.

    An exchange that is used again has its figures at its first place.
    """
    ids: dict[str, int] = {}
    for below in _chain(side):
        node = exchanges.get(_plan_id(below, "ReusedExchange"), below)
        if "Exchange" in node.name or "Scan" in node.name:
            start = "Exchange" if node.name == "Exchange" else "BroadcastExchange"
            ids = _ids(node, _FIGURES[start if "Exchange" in node.name else "Scan"]) | ids
            return {key: ids[key] for key in ("bytes", "rows") if key in ids}
        ids = _ids(node, {"rows": _ROWS}) | ids
        if node.name.startswith(_JOINS):
            break
    return ids


def _on_one_partition(node: _Node) -> bool:
    """Return whether a window's input is in a single partition."""
    for below in _chain(node):
        if below.name == "Exchange":
            return below.text.startswith("Exchange SinglePartition")
    return False


def _fingerprint(node: _Node) -> tuple[str, int]:
    """Return a hash of the subtree without ids, and its number of operators."""
    texts: list[str] = []
    waiting = [(node, 0)]
    while waiting:
        below, depth = waiting.pop()
        skipped = _WRAPPERS.match(below.name) is not None
        if not skipped:
            texts.append(f"{depth}:{_NUMBERS.sub('', below.text)}")
        waiting += [(child, depth + (not skipped)) for child in reversed(below.children)]
    return f"{zlib.crc32(chr(10).join(texts).encode(errors='replace')):08x}", len(texts)


def _detail(node: _Node) -> str:
    """Return what distinguishes the operator: of a scan its files and filters."""
    parts = [
        _NUMBERS.sub("", f"{key}: {node.metadata[key]}") for key in _DETAILS if key in node.metadata
    ]
    if not parts:
        return _NUMBERS.sub("", node.text)[:_MAX_DETAIL]
    each = _MAX_DETAIL // len(parts)
    return ", ".join(part if len(part) <= each else part[: each - 1] + "…" for part in parts)
