"""Operators of plans, read from small plans and from recorded logs."""

from __future__ import annotations

import json
from typing import Any

from emrctl.metrics.eventlog import plans, reader
from emrctl.metrics.eventlog.events import Accumulable
from emrctl.metrics.eventlog.plans import PlanOperators
from emrctl.metrics.model import SqlMetrics, SqlOperator
from tests.event_logs import RECORDED


def node(name: str, *children: Any, text: str = "", **metrics: int) -> dict[str, Any]:
    """Return a node of a plan; metrics are accumulator ids by name, `_` for a space."""
    return {
        "nodeName": name,
        "simpleString": text or name,
        "children": list(children),
        "metadata": {},
        "metrics": [
            {"name": key.replace("_", " "), "accumulatorId": number, "metricType": "sum"}
            for key, number in metrics.items()
        ],
    }


def exchange(first: int, *children: Any, text: str = "Exchange hashpartitioning(k)") -> Any:
    ids = {"data_size": first, "shuffle_records_written": first + 1}
    return node("Exchange", *children, text=text, **ids)


def operators(plan: Any, values: dict[int, int]) -> tuple[SqlOperator, ...]:
    """Return the operators of a plan whose tasks updated `values`."""
    plans = PlanOperators()
    plans.set_plan(7, json.dumps(plan).encode())
    plans.add_sums([Accumulable(id=key, value=str(value)) for key, value in values.items()])
    plans.end(7)
    return plans.add_to(SqlMetrics(id=7)).operators or ()


def test_join_has_figures_of_both_inputs() -> None:
    sides = [node("Sort", node("InputAdapter", exchange(first))) for first in (1, 3)]
    [join, *exchanges] = operators(
        node("SortMergeJoin", *sides, number_of_output_rows=5), {1: 10, 2: 11, 3: 30, 4: 31, 5: 99}
    )
    assert join.figures == {
        "rows": 99,
        "left_bytes": 10,
        "left_rows": 11,
        "right_bytes": 30,
        "right_rows": 31,
    }
    assert [item.figures for item in exchanges] == [
        {"bytes": 10, "rows": 11},
        {"bytes": 30, "rows": 31},
    ]


def test_reused_exchange_has_figures_of_its_first_place() -> None:
    first = exchange(1, node("Range"), text="Exchange hashpartitioning(k#1, 2), [plan_id=25]")
    again = node("ReusedExchange", text="ReusedExchange [k#9], Exchange hash, [plan_id=25]")
    join = operators(node("SortMergeJoin", first, again), {1: 10, 2: 11})[0]
    assert join.figures["right_rows"] == 11


def test_equal_subtrees_have_the_same_fingerprint() -> None:
    def side(number: int, column: str) -> Any:
        source = node("Range", text=f"Range {column}#{number}L")
        text = f"Exchange hash({column}#{number}, 2), [plan_id={number}]"
        return exchange(number, node(f"WholeStageCodegen ({number})", source), text=text)

    plan = node("Union", side(1, "k"), side(3, "k"), side(5, "v"))
    one, two, three = operators(plan, {1: 1, 3: 1, 5: 1})
    assert one.fingerprint == two.fingerprint != three.fingerprint
    assert one.nodes == 2


def test_window_is_listed_only_on_one_partition() -> None:
    single = exchange(1, text="Exchange SinglePartition, ENSURE_REQUIREMENTS")
    [window, _] = operators(node("Window", node("Sort", single)), {1: 10, 2: 500})
    assert (window.name, window.figures["rows"]) == ("Window", 500)
    hashed = node("Window", node("Sort", exchange(1)))
    assert [item.name for item in operators(hashed, {1: 10, 2: 500})] == ["Exchange"]


def test_operators_below_a_cached_table_are_marked() -> None:
    scan = node("Scan parquet t", number_of_output_rows=1)
    [cached] = operators(node("InMemoryTableScan", scan), {1: 5})
    assert cached.cached


def test_last_plan_of_a_query_counts() -> None:
    plans = PlanOperators()
    plans.set_plan(7, json.dumps(exchange(1)).encode())
    plans.set_plan(7, json.dumps(exchange(3)).encode())
    plans.update(7, b"[[1, 10], [3, 30]]")
    [last] = plans.add_to(SqlMetrics(id=7)).operators or ()
    assert last.figures == {"bytes": 30}


def test_damaged_plans_and_updates_are_ignored() -> None:
    plans = PlanOperators()
    for plan in (b"", b"{", b"[]", b'{"children": 3}', b"\xff", b'{"nodeName": "' + b"x" * 9):
        plans.set_plan(1, plan)
        plans.update(1, plan)
        plans.add_sums([Accumulable(id=2, value="x"), Accumulable(id=3, value=1.5)])
        assert plans.add_to(SqlMetrics(id=1)).operators == ()


def test_reused_exchange_and_its_operators_are_listed_once() -> None:
    below = exchange(1, node("Scan csv", size_of_files_read=8, number_of_files_read=9))
    again = node("ReusedExchange", below, text="ReusedExchange [k#3]")
    found = operators(node("SortMergeJoin", below, again, number_of_output_rows=5), {1: 10, 8: 70})
    assert [item.name for item in found] == ["SortMergeJoin", "Exchange", "Scan csv"]
    run = reader.read_path(RECORDED / "repeated_exchange.well.zstd")
    [query] = run.sql
    names = [item.name for item in query.operators or ()]
    assert names == ["SortMergeJoin", "Exchange"]


def test_recorded_plans_have_sizes_of_joins_and_queries_their_stages() -> None:
    run = reader.read_path(RECORDED / "missed_broadcast.ill.zstd")
    [query] = run.sql
    joins = [item for item in query.operators or () if item.name == "SortMergeJoin"]
    assert joins[0].figures["left_rows"] == 2_500_000
    assert joins[0].figures["right_rows"] == 1_000
    assert set(query.stages) <= {stage.id for stage in run.stages}
    assert all(stage.result_bytes for stage in run.stages if stage.status == "COMPLETE")


def test_recorded_blocks_have_evicted_partitions() -> None:
    run = reader.read_path(RECORDED / "cache_evicted.ill.zstd")
    [cached] = run.cached
    assert cached.partitions == 40
    assert cached.stored < 40 or cached.evicted
    whole = reader.read_path(RECORDED / "cache_evicted.well.zstd").cached[0]
    assert (whole.stored, whole.evicted) == (40, 0)


def detail(metadata: dict[str, str], text: str = "Scan parquet") -> str:
    scan = node("Scan parquet", text=text, number_of_output_rows=1) | {"metadata": metadata}
    [found] = operators(scan, {1: 10})
    return found.detail


def test_detail_of_a_scan_is_cut_to_equal_parts() -> None:
    each = plans._MAX_DETAIL // 2
    short = {"Format": "Parquet", "Location": "x" * (each - len("Location: "))}
    assert detail(short) == f"Format: Parquet, Location: {short['Location']}"
    long = {"Format": "Parquet", "Location": "x" * (each - len("Location: ") + 1)}
    format_, _, location = detail(long).partition(", ")
    assert format_ == "Format: Parquet"
    assert len(location) == each
    assert location.endswith("x…")
    assert detail({}, text="y" * 999) == "y" * plans._MAX_DETAIL


def test_largest_operators_of_a_query_are_kept_in_the_order_of_the_plan() -> None:
    count = plans._MAX_OPERATORS + 2
    scans = [node(f"Scan {at}", number_of_output_rows=at) for at in range(1, count + 1)]
    values = {at: at for at in range(1, count + 1)}
    found = operators(node("Union", *scans), values)
    assert [item.figures["rows"] for item in found] == list(range(3, count + 1))


def test_value_of_an_accumulator_has_at_most_18_digits() -> None:
    plan = PlanOperators()
    plan.set_plan(
        7, json.dumps(node("Scan x", number_of_output_rows=1, size_of_files_read=2)).encode()
    )
    sums = {1: "9" * 18, 2: "9" * 19}
    plan.add_sums([Accumulable(id=key, value=value) for key, value in sums.items()])
    [found] = plan.add_to(SqlMetrics(id=7)).operators or ()
    assert found.figures == {"rows": int("9" * 18)}
