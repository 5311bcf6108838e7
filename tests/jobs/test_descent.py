"""jobs/_descent.py beside MLlib's loop, written down as it stands in Spark's source."""

import math
from typing import Any

import numpy as np
import pytest
from _descent import Primal, Problem, Settings, Span, descend, product, slope


def mllib(x: Any, y: Any, settings: Settings) -> tuple[Any, int]:
    """GradientDescent.runMiniBatchSGD for one model, row by row; weights and steps."""
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
    """Rows after a ReLU, their classes, and which of them three models train on."""
    made = np.random.default_rng(seed)
    y = made.random(n) < 0.4
    x = np.maximum(made.standard_normal((n, d)) + 0.3 * y[:, None] - 0.4, 0)
    return x, y, made.random((3, n)) < np.array([[0.3], [0.6], [0.9]])


CASES = [
    (Settings(30, 1.0, 0.01), 40, 7),
    (Settings(30, 1.0, 0.0), 9, 50),
    (Settings(60, 0.05, 0.5), 50, 20),
    (Settings(200, 0.3, 2.0), 30, 12),
    (Settings(25, 10.0, 0.1), 33, 33),
    (Settings(200, 0.5, 1.0, loss="logistic"), 30, 10),
    (Settings(20, 1.0, 0.01, loss="logistic"), 25, 60),
]


@pytest.mark.parametrize("space", [Span, Primal])
@pytest.mark.parametrize(("settings", "n", "d"), CASES)
def test_it_is_mllibs_loop(space: Any, settings: Settings, n: int, d: int) -> None:
    for seed in range(3):
        x, y, trains = data(seed, n, d)
        problem = Problem.of(y[None], trains, settings)
        place = space(x @ x.T if space is Span else x, problem)
        ran = descend(place, settings)
        weights = place.state @ x if space is Span else place.state
        for m in range(3):
            wanted, steps = mllib(x[trains[m]], y[trains[m]], settings)
            assert ran[m] == steps
            np.testing.assert_allclose(weights[m], wanted, rtol=0, atol=1e-11)


@pytest.mark.parametrize("there", [1.0, 0.2, 0.004, 0.0])
def test_products_leave_zeros_out(there: float) -> None:
    """Dense, with few columns, row by row, or nothing at all: the same numbers."""
    made = np.random.default_rng(4)
    x = made.standard_normal((500, 30))
    left = made.standard_normal((40, 500)) * (made.random((40, 500)) < there)
    np.testing.assert_allclose(product(left, x @ x.T), left @ (x @ x.T), rtol=0, atol=1e-10)
    few = left * (np.arange(500) < 9)
    np.testing.assert_allclose(product(few, x @ x.T), few @ (x @ x.T), rtol=0, atol=1e-10)


def test_models_that_only_shrink_begin_to_learn_again() -> None:
    """Steps so large that no row pulls for a while: what was left out comes back in time."""
    x, y, trains = data(2, 30, 60)
    settings = Settings(400, 5.0, 0.02)
    span = Span(x @ x.T, Problem.of(y[None], trains, settings))
    ran = descend(span, settings)
    for m in range(3):
        wanted, steps = mllib(x[trains[m]], y[trains[m]], settings)
        assert ran[m] == steps
        np.testing.assert_allclose(span.state[m] @ x, wanted, rtol=0, atol=1e-10)
    np.testing.assert_allclose(span.margins, span.state @ (x @ x.T), rtol=0, atol=1e-10)


def test_models_converge_at_their_own_time() -> None:
    """The cases above must hold some that end early, at different steps."""
    x, y, trains = data(0, 30, 12)
    settings = Settings(200, 0.3, 2.0)
    ran = descend(Span(x @ x.T, Problem.of(y[None], trains, settings)), settings)
    assert len(set(ran)) > 1
    assert max(ran) < 200


def test_class_weights_are_rows_repeated() -> None:
    """Balanced weights with one class twice as large: as if the small one's rows came twice."""
    made = np.random.default_rng(1)
    x = made.standard_normal((30, 5))
    y = np.arange(30) < 10
    settings = Settings(15, 1.0, 0.01, balance=True)
    span = Span(x @ x.T, Problem.of(y[None], np.ones((1, 30), bool), settings))
    descend(span, settings)
    twice = np.concatenate([x[:10], x])
    wanted, _ = mllib(twice, np.concatenate([y[:10], y]), settings._replace(balance=False))
    np.testing.assert_allclose(span.state[0] @ x, wanted, atol=1e-12)


def test_the_average_is_of_the_last_half() -> None:
    x, y, trains = data(3, 40, 6)
    problem = Problem.of(y[None], trains, Settings(10, 1.0, 0.01))
    each = []
    for steps in range(6, 11):
        space = Primal(x, problem)
        descend(space, Settings(steps, 1.0, 0.01))
        each.append(space.state)
    mean = Primal(x, problem)
    descend(mean, Settings(10, 1.0, 0.01, average=True))
    np.testing.assert_allclose(mean.state, np.mean(each, axis=0), atol=1e-12)


def test_float32_stays_near() -> None:
    x, y, trains = data(5, 80, 40)
    made = {}
    for precision in ("float64", "float32"):
        settings = Settings(50, 1.0, 0.01, precision=precision)
        rows = x.astype(precision)
        span = Span(rows @ rows.T, Problem.of(y[None], trains, settings))
        descend(span, settings)
        assert span.state.dtype == precision
        made[precision] = span.state @ rows
    apart = np.abs(made["float64"] - made["float32"]).max() / np.abs(made["float64"]).max()
    assert 0 < apart < 0.01


def test_a_logistic_slope_knows_no_overflow() -> None:
    far = slope(np.array([-1e4, 0.0, 1e4]), "logistic")
    np.testing.assert_array_equal(far, [1.0, 0.5, 0.0])
