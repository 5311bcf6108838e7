from __future__ import annotations

import pytest

from emrctl.compare import labels


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("executor_memory", "executor memory"),
        ("cluster.core", "core nodes"),
        ("conf.spark.sql.shuffle.partitions", "spark.sql.shuffle.partitions"),
        ("env.MY_FLAG", "environment variable MY_FLAG"),
        ("job", "job"),
        ("cluster.other_key", "cluster: other key"),
    ],
)
def test_setting_returns_words(name: str, words: str) -> None:
    assert labels.setting(name) == words


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("steps_s.train", ("steps: train", "s")),
        ("figures.best.train_s", ("best: train", "s")),
        ("figures.rows_per_s", ("rows per second", "")),
        ("figures.served.p50_ms", ("served: p50", "ms")),
        ("mean_accuracy", ("mean accuracy", "")),
        ("figures", ("figures", "")),
        ("size_bytes", ("size", "B")),
        ("_s", ("s", "")),
        ("a..b", ("a: : b", "")),
        ("", ("", "")),
    ],
)
def test_figure_returns_words_and_unit(name: str, words: tuple[str, str]) -> None:
    assert labels.figure(name) == words
