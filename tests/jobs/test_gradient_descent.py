"""Gradient descent, compared with the loop of Spark's GradientDescent.runMiniBatchSGD."""

import math
from typing import Any

import numpy as np
import pytest

from svm.gradient_descent import (
    DescentSettings,
    GramState,
    PrimalState,
    RowWeights,
    descend,
    slope,
    sparse_product,
)


def mllib_loop(x: Any, y: Any, settings: DescentSettings) -> tuple[Any, int]:
    """Train one model row by row. Return weights and number of steps."""
    weights = np.zeros(x.shape[1])
    for i in range(1, settings.iterations + 1):
        gradient = np.zeros(x.shape[1])
        for row, label in zip(x, y, strict=True):
            dot = row @ weights
            if settings.loss == "hinge":
                scaled = 2 * label - 1
                if scaled * dot < 1.0:
                    gradient += -scaled * row
            else:
                gradient += (1 / (1 + math.exp(-dot)) - label) * row
        step = settings.step / math.sqrt(i)
        previous, weights = weights, weights * (1 - step * settings.reg) - step * gradient / len(x)
        moved = float(np.linalg.norm(weights - previous))
        if i > 1 and moved < 0.001 * max(float(np.linalg.norm(weights)), 1.0):
            return weights, i
    return weights, settings.iterations


def data(seed: int, n: int, d: int) -> tuple[Any, Any, Any]:
    """Return rows after a ReLU, their classes, and the rows that three models train on."""
    rng = np.random.default_rng(seed)
    y = rng.random(n) < 0.4
    x = np.maximum(rng.standard_normal((n, d)) + 0.3 * y[:, None] - 0.4, 0)
    return x, y, rng.random((3, n)) < np.array([[0.3], [0.6], [0.9]])


CASES = [
    (DescentSettings(30, 1.0, 0.01), 40, 7),
    (DescentSettings(30, 1.0, 0.0), 9, 50),
    (DescentSettings(60, 0.05, 0.5), 50, 20),
    (DescentSettings(200, 0.3, 2.0), 30, 12),
    (DescentSettings(25, 10.0, 0.1), 33, 33),
    (DescentSettings(200, 0.5, 1.0, loss="logistic"), 30, 10),
    (DescentSettings(20, 1.0, 0.01, loss="logistic"), 25, 60),
]


@pytest.mark.parametrize("state_class", [GramState, PrimalState])
@pytest.mark.parametrize(("settings", "n", "d"), CASES)
def test_descend_returns_the_models_of_mllib(
    state_class: Any, settings: DescentSettings, n: int, d: int
) -> None:
    for seed in range(3):
        x, y, trains = data(seed, n, d)
        weights = RowWeights.of(y[None], trains, settings)
        models = state_class(x @ x.T if state_class is GramState else x, weights)
        steps = descend(models, settings)
        trained = models.state @ x if state_class is GramState else models.state
        for m in range(3):
            expected, count = mllib_loop(x[trains[m]], y[trains[m]], settings)
            assert steps[m] == count
            np.testing.assert_allclose(trained[m], expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("density", [1.0, 0.2, 0.004, 0.0])
def test_sparse_product_equals_dense_product(density: float) -> None:
    """Dense, with few columns, row by row, or all zeros."""
    rng = np.random.default_rng(4)
    x = rng.standard_normal((500, 30))
    left = rng.standard_normal((40, 500)) * (rng.random((40, 500)) < density)
    np.testing.assert_allclose(sparse_product(left, x @ x.T), left @ (x @ x.T), rtol=0, atol=1e-10)
    few = left * (np.arange(500) < 9)
    np.testing.assert_allclose(sparse_product(few, x @ x.T), few @ (x @ x.T), rtol=0, atol=1e-10)


def test_descend_applies_shrinkage_before_gradients_return() -> None:
    """Steps are so large that gradients are zero for some steps."""
    x, y, trains = data(2, 30, 60)
    settings = DescentSettings(400, 5.0, 0.02)
    gram = GramState(x @ x.T, RowWeights.of(y[None], trains, settings))
    steps = descend(gram, settings)
    for m in range(3):
        expected, count = mllib_loop(x[trains[m]], y[trains[m]], settings)
        assert steps[m] == count
        np.testing.assert_allclose(gram.state[m] @ x, expected, rtol=0, atol=1e-10)
    np.testing.assert_allclose(gram.margins, gram.state @ (x @ x.T), rtol=0, atol=1e-10)


def test_descend_stops_models_at_different_steps() -> None:
    """The cases above include models that converge early, at different steps."""
    x, y, trains = data(0, 30, 12)
    settings = DescentSettings(200, 0.3, 2.0)
    steps = descend(GramState(x @ x.T, RowWeights.of(y[None], trains, settings)), settings)
    assert len(set(steps)) > 1
    assert max(steps) < 200


def test_balanced_weights_equal_repeated_rows() -> None:
    """If one class has twice the rows, balancing has the effect of repeating the other's."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((30, 5))
    y = np.arange(30) < 10
    settings = DescentSettings(15, 1.0, 0.01, balance=True)
    gram = GramState(x @ x.T, RowWeights.of(y[None], np.ones((1, 30), bool), settings))
    descend(gram, settings)
    twice = np.concatenate([x[:10], x])
    expected, _ = mllib_loop(twice, np.concatenate([y[:10], y]), settings._replace(balance=False))
    np.testing.assert_allclose(gram.state[0] @ x, expected, atol=1e-12)


def test_descend_with_average_returns_mean_of_last_half() -> None:
    x, y, trains = data(3, 40, 6)
    weights = RowWeights.of(y[None], trains, DescentSettings(10, 1.0, 0.01))
    each = []
    for steps in range(6, 11):
        models = PrimalState(x, weights)
        descend(models, DescentSettings(steps, 1.0, 0.01))
        each.append(models.state)
    mean = PrimalState(x, weights)
    descend(mean, DescentSettings(10, 1.0, 0.01, average=True))
    np.testing.assert_allclose(mean.state, np.mean(each, axis=0), atol=1e-12)


def test_descend_in_float32_stays_close_to_float64() -> None:
    x, y, trains = data(5, 80, 40)
    weights = {}
    for precision in ("float64", "float32"):
        settings = DescentSettings(50, 1.0, 0.01, precision=precision)
        rows = x.astype(precision)
        gram = GramState(rows @ rows.T, RowWeights.of(y[None], trains, settings))
        descend(gram, settings)
        assert gram.state.dtype == precision
        weights[precision] = gram.state @ rows
    difference = np.abs(weights["float64"] - weights["float32"]).max()
    assert 0 < difference / np.abs(weights["float64"]).max() < 0.01


def test_logistic_slope_does_not_overflow() -> None:
    far = slope(np.array([-1e4, 0.0, 1e4]), "logistic")
    np.testing.assert_array_equal(far, [1.0, 0.5, 0.0])
