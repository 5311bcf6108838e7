from __future__ import annotations

import io

from rich.console import Console

from emrctl.cli import top
from emrctl.metrics.live import nodes
from emrctl.metrics.live.nodes import NodeSample
from emrctl.metrics.model import ClusterAccount, NodeAccount


def test_sparkline_shows_means_of_equal_parts_of_the_time() -> None:
    times = tuple(range(0, 280_000, 5_000))
    ramp = [at / 280_000 for at in times]
    assert top._sparkline(times, ramp) == "▁▁▂▂▃▄▄▅▅▆▆▇██"
    assert top._sparkline(times, [0.0] * 56) == "·" * 14
    assert top._sparkline((5,), (9.0,)) == "█" * 14
    assert top._sparkline((0, 100_000), (1.0, 0.01)) == "█" * 13 + "▁"


def test_history_has_a_row_for_each_node() -> None:
    def sample(at_ms: int, cpu: float) -> NodeSample:
        node = NodeAccount(
            id="ip-10-0-1-7.ec2.internal:8041",
            state="RUNNING",
            memory_available_mb=12_288,
            vcores_available=4,
            containers_cpu_cores=cpu,
            containers_memory_mb=1024,
        )
        return nodes.sample(at_ms, ClusterAccount(nodes=(node,)))

    console = Console(width=80, record=True, file=io.StringIO())
    console.print(*top._history([sample(0, 1.0), sample(1000, 3.0)]))
    text = console.export_text()
    [row] = [line.split() for line in text.splitlines() if "ip-10-0-1-7" in line]
    assert row[2:6] == ["50", "%", "75", "%"]
    assert row[7:] == ["8", "%", "8", "%"]
    assert list(top._history([])) == []


def test_history_of_nodes_without_measured_use_has_empty_cells() -> None:
    node = NodeAccount(id="worker:7078", state="RUNNING", memory_available_mb=1024)
    samples = [nodes.sample(at, ClusterAccount(nodes=(node,))) for at in (0, 1000)]
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(*top._history(samples))
    [row] = [line.split() for line in console.export_text().splitlines() if "worker" in line]
    assert row == ["worker"]
