"""Tasks that share the cores of a host."""

from __future__ import annotations

import dataclasses

import pytest

from emrctl.predict import host
from emrctl.predict.host import Demand, SharedCores
from emrctl.predict.overheads import ObservedTask, Overheads


def ends(cores: float, *starts: tuple[float, float]) -> dict[int, float]:
    """Return when each task has its CPU time, of tasks given by their start and CPU time."""
    shared, found = SharedCores[int](cores), dict[int, float]()
    waiting = list(enumerate(starts))
    while len(found) < len(starts):
        next_s = shared.next_s()
        if waiting and (next_s is None or waiting[0][1][0] < next_s):
            number, (start_s, cpu_s) = waiting.pop(0)
            shared.start(start_s, cpu_s, number)
        elif next_s is not None:
            found.update(dict.fromkeys(shared.finished(next_s), next_s))
    return found


def test_tasks_up_to_the_number_of_cores_do_not_wait() -> None:
    assert ends(2, (0, 3), (1, 1)) == pytest.approx({0: 3, 1: 2})


def test_more_tasks_than_cores_share_them_equally() -> None:
    assert ends(2, (0, 1), (0, 1), (0, 1), (0, 1)) == pytest.approx(dict.fromkeys(range(4), 2.0))
    # Alone until 2 s, then half a core each; the first has 1 s left, then the other is alone.
    assert ends(1, (0, 3), (2, 2)) == pytest.approx({0: 4, 1: 5})


def test_cores_that_are_free_do_not_compute_in_advance() -> None:
    assert ends(1, (0, 1), (10, 1), (10, 1)) == pytest.approx({0: 1, 1: 12, 2: 12})
    assert SharedCores[int](1).next_s() is None


@pytest.mark.parametrize(
    ("duration_s", "cpu_s"), [(0.05, 0.05), (0.1, 0.1), (1.1, 0.1 + 0.25), (0.0, 0.0)]
)
def test_demand_is_a_constant_and_a_share_of_the_rest(duration_s: float, cpu_s: float) -> None:
    assert Demand(task_s=0.1, share=0.25).of(duration_s) == pytest.approx(cpu_s)


def task(
    executor: str, launched_s: float, finished_s: float, *, first: bool = False, cpu_s: float = 0.0
) -> ObservedTask:
    """Return a task whose run time begins 0.1 s after its launch."""
    return ObservedTask(
        (0, 0),
        0,
        executor,
        launched_s,
        finished_s,
        run_s=finished_s - launched_s - 0.1,
        run_cpu_s=cpu_s,
        first_on_executor=first,
    )


def test_demand_is_that_of_warm_tasks() -> None:
    tasks = [task("1", 0, 9.1, first=True, cpu_s=9), task("1", 10, 12.1, cpu_s=1)]
    assert host.demand(tasks, python=True) == pytest.approx((0.08, 0.5))
    assert host.demand(tasks, python=False) == pytest.approx((0.01, 0.5))
    assert host.demand(tasks[:1], python=False) == pytest.approx((0.01, 1.0))
    # Other threads of the JVM may compute, too.
    assert host.demand([task("1", 0, 1.1, cpu_s=4)], python=False).share == 1


def test_waits_of_tasks_that_start_together_are_removed() -> None:
    # Alone, a task takes 1 s of which it computes 0.4 s; four on two cores compute 0.8 s.
    together = [task(str(number), 100, 101.4) for number in range(4)]
    alone = task("0", 200, 201)
    tasks = [*together, alone]
    host.remove_waits([(tasks, Demand(task_s=0.4))], Overheads(), 2)
    assert [item.waited_s for item in tasks] == pytest.approx([0.4] * 4 + [0])
    assert [item.duration_s for item in tasks] == pytest.approx([1.0] * 5)
    # The work of Spark in them had to wait, too.
    assert [item.overhead_s for item in tasks] == pytest.approx([0.05] * 4 + [0.1])


def test_waits_of_first_tasks_are_in_proportion_to_what_they_take_longer() -> None:
    # 3 s of first tasks, observed with a factor of two.
    tasks = [task(str(number), 0, 7, first=True) for number in range(4)]
    host.remove_waits([(tasks, Demand())], Overheads(executor_s=6.0), 2)
    assert [item.waited_s for item in tasks] == pytest.approx([3.0] * 4)


def test_tasks_wait_for_executors_that_start_beside_them() -> None:
    def waited_s(*launches: tuple[float, float]) -> float:
        item = task("0", 50, 52)
        host.remove_waits([([item], Demand(task_s=1.0))], Overheads(), 1, launches)
        return item.waited_s

    assert waited_s() == 0
    assert waited_s((50.0, 1.0)) == pytest.approx(1.0)
    assert waited_s((40.0, 1.0)) == 0


def test_wait_never_takes_the_whole_task() -> None:
    tasks = [task(str(number), 0, 1) for number in range(100)]
    host.remove_waits([(tasks, Demand(task_s=1.0))], Overheads(), 1)
    assert all(item.duration_s == pytest.approx(0.1) for item in tasks)
    assert dataclasses.replace(tasks[0], waited_s=0.0).duration_s == 1
