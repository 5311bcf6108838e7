"""MLlib's gradient descent in numpy, for many models over the same rows at once.

The steps are those of Spark 3.5's GradientDescent.runMiniBatchSGD with every row in every batch,
SquaredL2Updater and HingeGradient (or LogisticGradient), starting from weights of zero:

    w_t = w_(t-1) * (1 - eta_t * reg) - eta_t * g_t,   eta_t = step / sqrt(t),   t = 1, 2, …
    g_t = the mean over the rows of -y * slope(y * margin) * x,   y = ±1,   margin = w_(t-1) . x

    hinge     slope(z) = 1 if z < 1, else 0
    logistic  slope(z) = 1 / (1 + exp(z))

A model has converged at the first t >= 2 with ||w_t - w_(t-1)|| < 0.001 * max(||w_t||, 1).

Every g_t is a sum of rows, so w = a X for some a. `GramState` updates a and never computes w:
margins are a K with the Gram matrix K = X X', squared norms are a . (a K), and K is shared by all
models that train on these rows. `PrimalState` updates w. Models are the rows of all arrays: BLAS
multiplies [models, n] @ [n, n] faster than [n, n] @ [n, models] when models are few.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np

from svm import Array

# Time of a number in a product with one row, relative to a product with many rows.
SINGLE_ROW_COST = 8
TOLERANCE = 0.001  # convergenceTol: the default of MLlib and of PySpark's SVMWithSGD.train


class DescentSettings(NamedTuple):
    """Settings of the (sub)gradient descent."""

    iterations: int  # maximum number of steps
    step: float  # size of the first step; the size of step t is step / sqrt(t)
    reg: float  # factor of the squared L2 norm of w, halved
    loss: str = "hinge"  # `hinge` or `logistic`
    # Weight rows by n / (2 * n of their class), so that both classes have the same total weight.
    balance: bool = False
    # Return the mean of the last half of the iterates instead of the last one (suffix averaging:
    # Rakhlin, Shamir, Sridharan, ICML 2012).
    average: bool = False
    precision: str = "float64"  # `float64` or `float32`, of all products


class RowWeights(NamedTuple):
    """Labels and weights of n rows in several models."""

    signs: Array  # ±1 for each model and row, [models, n]
    # Signs times the weight of the row in the mean gradient, [models, n]. The weights of a model
    # sum to 1; rows that do not train have 0.
    signed: Array

    @classmethod
    def of(cls, positive: Array, trains: Array, settings: DescentSettings) -> RowWeights:
        """Compute the weights.

        Args:
            positive: Whether a row is in a model's positive class, bool [models, n].
            trains: Whether a model trains on a row, bool [models, n].
            settings: `balance` and `precision` are used.
        """
        signs = np.where(positive, 1.0, -1.0)
        total = trains.sum(axis=1, keepdims=True)
        weights = trains / np.maximum(total, 1)
        if settings.balance:
            positives = (trains & positive).sum(axis=1, keepdims=True)
            class_rows = np.where(positive, positives, total - positives)
            weights *= total / (2.0 * np.maximum(class_rows, 1))
        dtype = np.dtype(settings.precision)
        return cls(signs.astype(dtype), (signs * weights).astype(dtype))


def slope(margins: Array, loss: str) -> Array:
    """Return minus the derivative of the loss at signed margins, 0 … 1."""
    if loss == "hinge":
        return margins < 1
    with np.errstate(over="ignore"):  # exp(800) is inf, and 1 / inf is the right result
        return 1 / (1 + np.exp(margins))


def row_dots(left: Array, right: Array) -> Array:
    """Return the dot products of the rows of two arrays [m, k], summed in float64: [m]."""
    dots: Array = np.einsum("mk,mk->m", left, right, dtype=np.float64)
    return dots


class ModelState(Protocol):
    """Models during the descent: coefficients of rows, or weights."""

    state: Array

    def step(self, rate: Array, settings: DescentSettings) -> tuple[Array, Array]:
        """Make one step of every model. A rate [models] of 0 leaves a model unchanged.

        Returns:
            Squared norms, in weight space, of the change and of the new state.
        """


class GramState:
    """Coefficients a [models, n] of the weights a X, updated with the Gram matrix only.

    With hinge loss, the gradient coefficients p of most rows do not change between steps. Margins
    are therefore updated, not recomputed: w' = w * (1 - rate * reg) + rate * p X gives margins' =
    margins * (1 - rate * reg) + rate * p K, and p K is updated by the rows whose p has changed.
    While p is zero for all rows of all models, the state only shrinks, which is kept as a factor.
    """

    def __init__(self, gram: Array, weights: RowWeights) -> None:
        self._gram = gram
        self._weights = weights.signed
        self._signs = np.sign(weights.signed)  # 0 for rows that do not train
        self._state = np.zeros_like(weights.signed)
        self._margins = np.zeros_like(weights.signed)
        self._slope: Array | None = None
        self._gradient = np.zeros_like(weights.signed)  # p
        self._gradient_margins = np.zeros_like(weights.signed)  # p K
        self._gradient_norm = np.zeros(len(weights.signed))  # p . p K
        self._norm = np.zeros(len(weights.signed))  # a . a K
        self._min_margins: Array | None = None  # of each model, while p is zero
        self._factor = np.ones(len(weights.signed))  # not yet applied to state and margins

    @property
    def state(self) -> Array:
        """The current coefficients."""
        self._apply_factor()
        return self._state

    @state.setter
    def state(self, state: Array) -> None:
        self._apply_factor()
        self._state = state
        self._margins = state @ self._gram

    @property
    def margins(self) -> Array:
        """Margins of all rows, including those that do not train."""
        self._apply_factor()
        return self._margins

    def step(self, rate: Array, settings: DescentSettings) -> tuple[Array, Array]:
        """Make one step. Norms are computed from a . a K, p . a K and p . p K."""
        reg = settings.reg
        keep = 1 - rate * reg
        if self._min_margins is not None and (self._min_margins * self._factor >= 1).all():
            change = (rate * reg) ** 2 * self._norm
            self._norm = keep**2 * self._norm
            self._factor = self._factor * keep
            return change, self._norm
        self._apply_factor()
        slopes = slope(self._signs * self._margins, settings.loss)
        if self._slope is None or not np.array_equal(slopes, self._slope):
            self._slope = slopes
            self._set_gradient(self._weights * slopes)
        cross = row_dots(self._gradient, self._margins)
        change = rate**2 * (self._gradient_norm - 2 * reg * cross + reg**2 * self._norm)
        self._norm = keep**2 * self._norm + 2 * keep * rate * cross + rate**2 * self._gradient_norm
        self._update(rate, keep)
        if settings.loss == "hinge" and not self._gradient.any():
            signed = np.where(self._signs == 0, np.inf, self._signs * self._margins)
            self._min_margins = signed.min(axis=1)
        return change, self._norm

    def _update(self, rate: Array, keep: Array) -> None:
        dtype = self._state.dtype
        rates, factors = rate[:, None].astype(dtype), keep[:, None].astype(dtype)
        self._state *= factors
        self._state += rates * self._gradient
        self._margins *= factors
        self._margins += rates * self._gradient_margins

    def _apply_factor(self) -> None:
        if self._min_margins is not None:
            factor = self._factor[:, None].astype(self._state.dtype)
            self._state *= factor
            self._margins *= factor
            self._factor = np.ones_like(self._factor)
            self._min_margins = None

    def _set_gradient(self, gradient: Array) -> None:
        """Set p, and update p K by the change of p, or recompute it if that is less work.

        The norm is recomputed as well, so that rounding errors do not accumulate.
        """
        change = gradient - self._gradient
        recomputed = np.count_nonzero(gradient, axis=1) <= np.count_nonzero(change, axis=1)
        change[recomputed] = gradient[recomputed]
        self._gradient_margins[recomputed] = 0
        changed = np.flatnonzero(change.any(axis=1))
        if len(changed):
            self._gradient_margins[changed] += sparse_product(change[changed], self._gram)
        self._gradient = gradient
        self._gradient_norm = row_dots(gradient, self._gradient_margins)
        self._norm = row_dots(self._state, self._margins)


def sparse_product(left: Array, gram: Array) -> Array:
    """Return left [m, n] @ gram [n, n] (symmetric), skipping columns of `left` that are all zero.

    Rows with few nonzero numbers that share few columns are multiplied one by one.
    """
    columns = np.flatnonzero(left.any(axis=0))
    if SINGLE_ROW_COST * np.count_nonzero(left) < len(left) * len(columns):
        products = np.empty_like(left)
        for row, product in zip(left, products):
            nonzero = np.flatnonzero(row)
            product[:] = row[nonzero] @ gram[nonzero]
        return products
    if 2 * len(columns) < len(gram):
        return np.asarray(left[:, columns] @ gram[columns])
    return np.asarray(left @ gram)


class WeightState:
    """A `ModelState` of weights [models, d]. Subclasses compute the gradient."""

    state: Array

    def gradient(self, loss: str) -> Array:
        """Return minus the gradient of the loss."""
        raise NotImplementedError

    def step(self, rate: Array, settings: DescentSettings) -> tuple[Array, Array]:
        """Make one step."""
        change = self.gradient(settings.loss) - settings.reg * self.state
        change *= rate[:, None].astype(change.dtype)
        self.state = self.state + change  # a new array: tasks may still read the old one
        return row_dots(change, change), row_dots(self.state, self.state)


class PrimalState(WeightState):
    """Weights whose gradient takes two products with the rows [n, d]."""

    def __init__(self, rows: Array, weights: RowWeights) -> None:
        self._rows = rows
        self._weights = weights
        self.state = np.zeros((len(weights.signed), rows.shape[1]), dtype=rows.dtype)

    def gradient(self, loss: str) -> Array:
        """Return minus the gradient of the loss."""
        return loss_gradient(self._rows, self.state, self._weights, loss)


def loss_gradient(rows: Array, state: Array, weights: RowWeights, loss: str) -> Array:
    """Return minus the gradient of the loss over rows [n, d] at weights [models, d]."""
    coefficients = weights.signed * slope(weights.signs * (state @ rows.T), loss)
    return coefficients @ rows


def descend(models: ModelState, settings: DescentSettings) -> Array:
    """Train all models. Return the number of steps of each, int64 [models].

    A model that has converged stays unchanged while the others continue.
    """
    steps = np.zeros(len(models.state), dtype=np.int64)
    running = np.ones(len(models.state), dtype=bool)
    average = IterateAverage(settings) if settings.average else None
    for t in range(1, settings.iterations + 1):
        change, norm = models.step(running * (settings.step / np.sqrt(t)), settings)
        steps[running] = t
        if t > 1:  # MLlib does not compare the first weights with the initial zeros
            running &= change >= (TOLERANCE * np.maximum(np.sqrt(np.maximum(norm, 0)), 1)) ** 2
        if average:
            average.add(t, models.state)
        if not running.any():
            break
    if average:
        models.state = average.value(models.state)
    return steps


class IterateAverage:
    """The mean of the iterates of the last half of the maximum number of steps.

    A model that converged earlier counts with its final state.
    """

    def __init__(self, settings: DescentSettings) -> None:
        self._first = settings.iterations // 2 + 1
        self._sum: Array | None = None
        self._count = 0

    def add(self, t: int, state: Array) -> None:
        """Add the state after step t."""
        if t >= self._first:
            self._sum = state.copy() if self._sum is None else self._sum + state
            self._count += 1

    def value(self, last: Array) -> Array:
        """Return the mean, or the last state if all models converged in the first half."""
        return last if self._sum is None else self._sum / self._count
