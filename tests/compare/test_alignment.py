from __future__ import annotations

import itertools
import random
from dataclasses import replace

import pytest

from emrctl.compare.alignment import Pair, Stage, align, stages
from emrctl.metrics.model import RunMetrics, StageMetrics
from tests.compare.stage_runs import run, stage


def ids(one: RunMetrics, two: RunMetrics) -> list[tuple[int | None, int | None]]:
    def id_of(pair: Pair) -> tuple[int | None, int | None]:
        return pair[0].id if pair[0] else None, pair[1].id if pair[1] else None

    return list(map(id_of, align(stages(one), stages(two))))


def chain(names: str, first: int = 0) -> list[StageMetrics]:
    return [stage(first + n, n, n + 1, f"{name} at job.py:{n}") for n, name in enumerate(names)]


def test_align_of_equal_runs_pairs_each_stage_with_itself() -> None:
    one = run(*chain("abcaab"))
    assert ids(one, one) == [(n, n) for n in range(6)]


def test_align_ignores_stage_ids_and_line_numbers() -> None:
    moved = [replace(item, name=item.name.replace("py:", "py:1")) for item in chain("abc", 40)]
    assert ids(run(*chain("abc")), run(*moved)) == [(0, 40), (1, 41), (2, 42)]


def test_align_ignores_folders_uris_and_counts_in_names() -> None:
    one = stage(0, 0, 1, "Listing leaf files for 12 paths: s3://b/runs/1/x.parquet at /a/job.py:3")
    two = stage(5, 0, 1, "Listing leaf files for 7 paths: s3://c/2/x.parquet at /z/y/job.py:4")
    assert ids(run(one), run(two)) == [(0, 5)]


def test_align_names_stages_of_one_run_last() -> None:
    assert ids(run(*chain("abd")), run(*chain("acbd", 10))) == [
        (0, 10),
        (1, 12),
        (2, 13),
        (None, 11),
    ]


def test_align_of_repeated_stage_uses_number_of_tasks() -> None:
    one = [
        stage(n, n, n + 1, "count at a.py:1", tasks=n_tasks) for n, n_tasks in enumerate((9, 99))
    ]
    two = [
        stage(n, n, n + 1, "count at a.py:1", tasks=n_tasks)
        for n, n_tasks in enumerate((9, 1, 99), 5)
    ]
    assert ids(run(*one), run(*two)) == [(0, 5), (1, 7), (None, 6)]


def test_align_of_more_iterations_pairs_the_first_ones() -> None:
    one = [stage(n, n, n + 1, "treeAggregate at svm.py:7") for n in range(3)]
    two = [stage(n, n, n + 1, "treeAggregate at svm.py:7") for n in range(5)]
    assert ids(run(*one), run(*two)) == [(0, 0), (1, 1), (2, 2), (None, 3), (None, 4)]


def test_align_of_many_equal_stages_is_fast_and_complete() -> None:
    one = [stage(n, n, n + 1, "treeAggregate at svm.py:7") for n in range(3000)]
    assert len(ids(run(*one), run(*one[:2500]))) == 3000


def test_align_tells_sql_stages_of_one_name_apart_by_operators_and_parents() -> None:
    name = "collect at NativeMethodAccessorImpl.java:0"
    scan = stage(0, 0, 1, name, operators=("Scan parquet ", "WholeStageCodegen (1)", "Exchange"))
    text = stage(1, 1, 2, name, operators=("Scan text ", "MapPartitions"))
    read = stage(2, 2, 3, name, operators=("Exchange", "WholeStageCodegen (2)"), parents=(0,))
    again = stage(3, 3, 4, name, operators=("Exchange", "WholeStageCodegen (2)"), parents=(1,))
    # The other run submits them in another order.
    other = [
        replace(text, id=10, submitted_ms=0, first_task_ms=0),
        replace(again, id=11, parents=(10,), submitted_ms=1),
        replace(scan, id=12, submitted_ms=2),
        replace(read, id=13, parents=(12,), submitted_ms=3),
    ]
    expected = [(0, 12), (1, 10), (2, 13), (3, 11)]
    assert ids(run(scan, text, read, again), run(*other)) == expected


def test_align_keeps_different_work_of_one_call_site_apart() -> None:
    one = stage(0, 0, 1, "save at X.java:0", operators=("Scan parquet ", "Exchange"))
    two = stage(0, 0, 1, "save at X.java:0", operators=("BatchEvalPython", "WriteFiles"))
    assert ids(run(one), run(two)) == [(0, None), (None, 0)]


def test_align_pairs_a_stage_whose_plan_changed() -> None:
    join = ("Exchange", "SortMergeJoin", "HashAggregate", "Exchange#")
    broadcast = ("Exchange", "BroadcastHashJoin", "HashAggregate", "Exchange#")
    one, two = (stage(0, 0, 1, "q", operators=names) for names in (join, broadcast))
    assert ids(run(one), run(two)) == [(0, 0)]


def test_align_pairs_a_stage_whose_parent_was_skipped() -> None:
    scan = stage(0, 0, 1, "count", operators=("Scan",))
    read = stage(1, 1, 2, "count", operators=("Exchange",), parents=(0,))
    assert ids(run(scan, read), run(read)) == [(1, 1), (0, None)]


def test_stages_merges_attempts_and_omits_stages_that_never_ran() -> None:
    retry = stage(0, 5, 6, "a", attempt=1)
    never = replace(stage(1, 0, 1, "b"), status="SKIPPED", submitted_ms=None, first_task_ms=None)
    (merged,) = stages(run(stage(0, 0, 1, "a"), retry, never))
    assert [attempt.attempt for attempt in merged.attempts] == [0, 1]


@pytest.mark.parametrize("seed", range(20))
def test_align_puts_each_stage_into_one_pair(seed: int) -> None:
    dice = random.Random(seed)  # noqa: S311

    def some() -> RunMetrics:
        rows = [
            stage(
                n,
                n,
                n + 1,
                dice.choice(("count at a.py:1", "count at a.py:2", "sum at b.py:1")),
                tasks=dice.randint(1, 9),
                operators=tuple(dice.sample(("Scan", "Exchange", "Sort"), dice.randint(0, 2))),
                parents=tuple(dice.sample(range(n), min(n, dice.randint(0, 2)))),
                job=n // 3,
            )
            for n in range(dice.randint(0, 12))
        ]
        return run(*rows)

    one, two = some(), some()
    pairs = ids(one, two)
    assert sorted(n for n, _ in pairs if n is not None) == [item.id for item in one.stages]
    assert sorted(n for _, n in pairs if n is not None) == [item.id for item in two.stages]
    assert all(pair != (None, None) for pair in pairs)
    paired = list(itertools.takewhile(lambda pair: None not in pair, pairs))
    assert all(None in pair for pair in pairs[len(paired) :])


def test_align_prefers_the_stage_on_the_same_line() -> None:
    """Of stages with other parents, at one call site with the same operators."""

    def count(id_: int, line: str, lineage: int) -> Stage:
        metrics = StageMetrics(id=id_, tasks=8)
        return Stage((metrics,), "count at job.py", line, ("Filter",), lineage)

    ours, moved, same = count(0, ":3", 1), count(1, ":9", 2), count(2, f":{3}", 2)
    assert align([ours], [moved, same]) == ((ours, same), (None, moved))
    assert align([ours], [same, moved]) == ((ours, same), (None, moved))
