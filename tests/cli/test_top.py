from __future__ import annotations

import io

from rich.console import Console

from emrctl.cli import top
from emrctl.metrics.live import nodes
from emrctl.metrics.live.nodes import NodeSample
from emrctl.metrics.model import ClusterAccount, NodeAccount


def test_sparkline_shows_means_of_equal_parts_of_the_time() -> None:
    times = tuple(range(0, 240_000, 5_000))
    ramp = [4 * at / 240_000 for at in times]
    assert top._sparkline(times, ramp, 4) == "▁▁▁▁▁▂▂▂▃▃▃▄▄▄▅▅▅▆▆▆▇▇▇█"
    assert top._sparkline(times, [0.0] * 48, 4) == " " * 24
    assert top._sparkline((5,), (9.0,), 4) == "█" * 24
    assert top._sparkline((0, 100_000), (4.0, 0.01), 0) == "█" * 23 + "▁"


def test_history_has_a_row_for_each_node() -> None:
    def sample(at_ms: int, cpu: float) -> NodeSample:
        node = NodeAccount(
            id="n1:8041",
            state="RUNNING",
            memory_available_mb=12_288,
            vcores_available=4,
            containers_cpu_cores=cpu,
            containers_memory_mb=1024,
        )
        return nodes.sample(at_ms, ClusterAccount(nodes=(node,)))

    console = Console(width=140, record=True, file=io.StringIO())
    console.print(*top._history([sample(0, 1.0), sample(1000, 3.0)]))
    text = console.export_text()
    assert "n1:8041" in text
    assert "2.0/4" in text
    assert "1,024/12,288" in text
    assert list(top._history([])) == []
