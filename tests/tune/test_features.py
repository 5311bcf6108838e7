"""Columns of configurations."""

from __future__ import annotations

import math

import pytest

from emrctl.tune.features import encode


def _spread(column: list[float]) -> float:
    return max(column) - min(column)


def test_encode_instance_type_adds_cores_memory_and_price_of_the_cluster() -> None:
    encoded = encode(
        [
            {"machine_type": "m5.xlarge", "instance_count": 2},
            {"machine_type": "m5.2xlarge", "instance_count": 4},
            {"machine_type": "c5.xlarge", "instance_count": 2},
        ]
    )
    assert set(encoded.machine) == {"count", "cores", "memory", "ratio", "price"}
    cores, ratio = encoded.machine["cores"], encoded.machine["ratio"]
    assert math.exp(cores[1] - cores[0]) == pytest.approx(4)
    assert math.exp(ratio[0] - ratio[2]) == pytest.approx(2)
    assert encoded.categories == {"machine_type": [0, 1, 2], "family of machine_type": [0, 0, 1]}


def test_encode_given_price_replaces_the_one_of_the_table() -> None:
    encoded = encode(
        [
            {"machine_type": "m5.xlarge", "nodes": 1, "price": 1.0},
            {"machine_type": "c5.xlarge", "nodes": 1, "price": 8.0},
        ]
    )
    assert math.exp(_spread(encoded.machine["price"])) == pytest.approx(8)


def test_encode_totals_are_not_multiplied_by_the_number_of_machines() -> None:
    pairs = [(count, size) for count in (2, 4, 8) for size in (4, 8)]
    totals = encode([{"instance_count": n, "slots": n * size} for n, size in pairs])
    shares = encode([{"instance_count": n, "slots": size} for n, size in pairs])
    assert totals.machine["cores"] == pytest.approx(shares.machine["cores"])


def test_encode_executors_count_their_cores_and_memory() -> None:
    encoded = encode(
        [
            {"executors": 2, "executor_cores": 2, "executor_memory": "2g", "partitions": 8},
            {"executors": 4, "executor_cores": 4, "executor_memory": "512m", "partitions": 800},
        ]
    )
    cores, memory = encoded.machine["cores"], encoded.machine["memory"]
    assert math.exp(cores[1] - cores[0]) == pytest.approx(4)
    assert math.exp(memory[0] - memory[1]) == pytest.approx(2)
    assert encoded.plain == {"partitions": [0.0, 1.0]}


def test_encode_unknown_instance_type_follows_the_rule_of_its_letter() -> None:
    encoded = encode([{"type": "c3.large"}, {"type": "c3.2xlarge"}])
    assert math.exp(_spread(encoded.machine["cores"])) == pytest.approx(4)


def test_encode_other_texts_become_categories() -> None:
    encoded = encode([{"codec": "lz4"}, {"codec": "zstd"}, {"codec": "lz4"}, {}])
    assert encoded.categories == {"codec": [0, 1, 0, 2]}
    assert not encoded.machine


def test_encode_constant_features_are_left_out() -> None:
    encoded = encode([{"a": 1.0, "b": "x", "nodes": 3}] * 3)
    assert not encoded.machine
    assert not encoded.plain
    assert not encoded.categories


def test_encode_missing_and_infinite_numbers_become_the_median() -> None:
    encoded = encode([{"x": 0.0}, {"x": math.nan}, {"x": 1.0}, {"x": 2.0}, {"x": math.inf}, {}])
    assert encoded.plain["x"] == [0.0, 0.5, 0.5, 1.0, 0.5, 0.5]


def test_encode_negative_numbers_and_zeros_stay_plain() -> None:
    assert encode([{"nodes": 0}, {"nodes": 4}]).plain == {"nodes": [0.0, 1.0]}
    assert encode([{"x": -2.0}, {"x": 2.0}]).plain == {"x": [0.0, 1.0]}


def test_encode_numbers_as_texts_are_numbers() -> None:
    assert encode([{"x": "1"}, {"x": "2"}]).plain == {"x": [0.0, 1.0]}
