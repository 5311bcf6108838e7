"""MLlib's gradient descent without MLlib: many models over the same rows at once, in plain numpy.

What is followed, term by term, is Spark 3.5's GradientDescent.runMiniBatchSGD with every row in
every batch, SquaredL2Updater and HingeGradient (or LogisticGradient), from weights of zero:

    w_t = w_(t-1) * (1 - eta_t * reg) - eta_t * g_t,   eta_t = step / sqrt(t),   t = 1, 2, …
    g_t = the mean over the rows of -y * slope(y * margin) * x,   y = ±1,   margin = w_(t-1) . x

    hinge     slope(z) = 1 where z < 1, else 0
    logistic  slope(z) = 1 / (1 + exp(z))

and it ends with the first t >= 2 for which ||w_t - w_(t-1)|| < 0.001 * max(||w_t||, 1).

Every g_t is a sum of rows, so w = a X for some a: `Span` never forms w. Margins are a K with the
Gram matrix K = X X', squared norms are a . (a K), and K serves every model that is trained on those
rows. `Primal` keeps w itself. Models are rows throughout: BLAS is faster on [models, n] @ [n, n]
than on [n, n] @ [n, models] when models are few.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np

Array = np.ndarray[Any, Any]
ALONE = 8  # how many times as long a number takes in a product with one row as in one with many
TOLERANCE = 0.001  # convergenceTol: PySpark's SVMWithSGD.train and MLlib's default


class Settings(NamedTuple):
    """Of the (sub)gradient descent.

    Attributes:
        iterations: Steps at most.
        step: Size of the first step; step t is step / sqrt(t).
        reg: Weight of the squared L2 norm of w, halved.
        loss: `hinge` or `logistic`.
        balance: Rows weigh n / (2 * n of their class), so that both classes weigh the same.
        average: The mean of the last half of the iterates instead of the last one (suffix
            averaging: Rakhlin, Shamir, Sridharan, ICML 2012).
        precision: `float64` or `float32`, of everything that is multiplied.
    """

    iterations: int
    step: float
    reg: float
    loss: str = "hinge"
    balance: bool = False
    average: bool = False
    precision: str = "float64"


class Problem(NamedTuple):
    """Models over the same n rows.

    Attributes:
        signs: ±1 for each model and row, [models, n].
        pulls: signs times the row's part in the mean (they sum to 1); 0: it does not train.
    """

    signs: Array
    pulls: Array

    @classmethod
    def of(cls, positive: Array, trains: Array, settings: Settings) -> Problem:
        """The problem of models that see these rows.

        Args:
            positive: Whether a row is of a model's positive class, bool [models, n].
            trains: Whether a model trains on a row, bool [models, n].
            settings: Of which `balance` and `precision` are used.
        """
        signs = np.where(positive, 1.0, -1.0)
        total = trains.sum(axis=1, keepdims=True)
        parts = trains / np.maximum(total, 1)
        if settings.balance:
            ones = (trains & positive).sum(axis=1, keepdims=True)
            class_rows = np.where(positive, ones, total - ones)
            parts *= total / (2.0 * np.maximum(class_rows, 1))
        kind = np.dtype(settings.precision)
        return cls(signs.astype(kind), (signs * parts).astype(kind))


def slope(margins: Array, loss: str) -> Array:
    """Minus the loss's derivative at signed margins: what each row still pulls, 0 … 1."""
    if loss == "hinge":
        return margins < 1
    with np.errstate(over="ignore"):  # exp(800) is inf, and 1 / inf is the right answer
        return 1 / (1 + np.exp(margins))


def squares(left: Array, right: Array) -> Array:
    """Dot products of the rows of two arrays, [m, k] and [m, k] to [m], summed in float64."""
    dots: Array = np.einsum("mk,mk->m", left, right, dtype=np.float64)
    return dots


class Space(Protocol):
    """Where models are kept while they descend: in the span of the rows, or as weights."""

    state: Array

    def step(self, rate: Array, settings: Settings) -> tuple[Array, Array]:
        """One step of every model, `rate` [models] long (0: it stands still).

        Returns:
            Squared norms, as of weights, of the change and of the new state.
        """


class Span:
    """States a [models, n] that stand for weights a X, moved by the Gram matrix alone.

    With hinge loss most rows soon pull no more, or as before, so margins are not made anew in each
    step: as w' = w * (1 - rate * reg) + rate * p X for the pulls p, so margins' = margins *
    (1 - rate * reg) + rate * p K, and p K follows p by the rows alone whose pull has changed.
    Where no row pulls any model, all only shrink, and that is kept as a factor.
    """

    def __init__(self, gram: Array, problem: Problem) -> None:
        self._gram = gram
        self._parts = problem.pulls
        self._signs = np.sign(problem.pulls)  # 0 where a row does not train: its slope is nobody's
        self._state = np.zeros_like(problem.pulls)
        self._margins = np.zeros_like(problem.pulls)
        self._slope: Array | None = None
        self._pulls = np.zeros_like(problem.pulls)
        self._pulled = np.zeros_like(problem.pulls)  # p K
        self._own = np.zeros(len(problem.pulls))  # p . p K
        self._size = np.zeros(len(problem.pulls))  # a . a K
        self._least: Array | None = None  # signed margin of each model, while no row pulls
        self._factor = np.ones(len(problem.pulls))  # what state and margins are yet to shrink by

    @property
    def state(self) -> Array:
        """The coordinates as they are now."""
        self._settle()
        return self._state

    @state.setter
    def state(self, state: Array) -> None:
        self._settle()
        self._state = state
        self._margins = state @ self._gram

    @property
    def margins(self) -> Array:
        """Of all rows, those that do not train too."""
        self._settle()
        return self._margins

    def step(self, rate: Array, settings: Settings) -> tuple[Array, Array]:
        """Norms come of three dot products: a . a K, p . a K and p . p K."""
        reg = settings.reg
        keep = 1 - rate * reg
        if self._least is not None and (self._least * self._factor >= 1).all():
            moved = (rate * reg) ** 2 * self._size
            self._size = keep**2 * self._size
            self._factor = self._factor * keep
            return moved, self._size
        self._settle()
        now = slope(self._signs * self._margins, settings.loss)
        if self._slope is None or not np.array_equal(now, self._slope):
            self._slope = now
            self._follow(self._parts * now)
        cross = squares(self._pulls, self._margins)
        moved = rate**2 * (self._own - 2 * reg * cross + reg**2 * self._size)
        self._size = keep**2 * self._size + 2 * keep * rate * cross + rate**2 * self._own
        self._move(rate, keep)
        if settings.loss == "hinge" and not self._pulls.any():
            signed = np.where(self._signs == 0, np.inf, self._signs * self._margins)
            self._least = signed.min(axis=1)
        return moved, self._size

    def _move(self, rate: Array, keep: Array) -> None:
        kind = self._state.dtype
        each, left = rate[:, None].astype(kind), keep[:, None].astype(kind)
        self._state *= left
        self._state += each * self._pulls
        self._margins *= left
        self._margins += each * self._pulled

    def _settle(self) -> None:
        """Shrink what is yet to shrink."""
        if self._least is not None:
            factor = self._factor[:, None].astype(self._state.dtype)
            self._state *= factor
            self._margins *= factor
            self._factor = np.ones_like(self._factor)
            self._least = None

    def _follow(self, pulls: Array) -> None:
        """Take new pulls, and what the Gram matrix makes of them: of their change if that is less.

        Then also the norm is made anew, so that no rounding adds up.
        """
        change = pulls - self._pulls
        fresh = np.count_nonzero(pulls, axis=1) <= np.count_nonzero(change, axis=1)
        change[fresh] = pulls[fresh]
        self._pulled[fresh] = 0
        moved = np.flatnonzero(change.any(axis=1))
        if len(moved):
            self._pulled[moved] += product(change[moved], self._gram)
        self._pulls = pulls
        self._own = squares(pulls, self._pulled)
        self._size = squares(self._state, self._margins)


def product(left: Array, gram: Array) -> Array:
    """left [m, n] @ gram [n, n] (symmetric), without the columns of `left` that are all zeros.

    Rows with few numbers each that share few columns are multiplied one by one.
    """
    columns = np.flatnonzero(left.any(axis=0))
    if ALONE * np.count_nonzero(left) < len(left) * len(columns):
        made = np.empty_like(left)
        for row, mine in zip(left, made):
            there = np.flatnonzero(row)
            mine[:] = row[there] @ gram[there]
        return made
    if 2 * len(columns) < len(gram):
        return np.asarray(left[:, columns] @ gram[columns])
    return np.asarray(left @ gram)


class Weights:
    """A `Space` that keeps weights [models, d]."""

    state: Array

    def pull(self, loss: str) -> Array:
        """Minus the loss's gradient at the weights."""
        raise NotImplementedError

    def step(self, rate: Array, settings: Settings) -> tuple[Array, Array]:
        """Of plain weights the norms are plain."""
        change = self.pull(settings.loss) - settings.reg * self.state
        change *= rate[:, None].astype(change.dtype)
        self.state = self.state + change  # a new one: the old may still be on its way to tasks
        return squares(change, change), squares(self.state, self.state)


class Primal(Weights):
    """States are the weights themselves [models, d]: two products with the rows for each step."""

    def __init__(self, rows: Array, problem: Problem) -> None:
        self._rows = rows
        self._problem = problem
        self.state = np.zeros((len(problem.pulls), rows.shape[1]), dtype=rows.dtype)

    def pull(self, loss: str) -> Array:
        """Margins of all rows, then the rows summed by how much they pull."""
        return pulled(self._rows, self.state, self._problem, loss)


def pulled(rows: Array, weights: Array, problem: Problem, loss: str) -> Array:
    """Sum of the rows [n, d] by how much each pulls weights [models, d]: [models, d]."""
    pulls = problem.pulls * slope(problem.signs * (weights @ rows.T), loss)
    return pulls @ rows


def descend(space: Space, settings: Settings) -> Array:
    """Move all models of a space to their end; how many steps each took, int64 [models].

    A model that has converged stands still while the others go on.
    """
    ran = np.zeros(len(space.state), dtype=np.int64)
    live = np.ones(len(space.state), dtype=bool)
    mean = Suffix(settings) if settings.average else None
    for t in range(1, settings.iterations + 1):
        moved, size = space.step(live * (settings.step / np.sqrt(t)), settings)
        ran[live] = t
        if t > 1:  # MLlib compares two sets of weights that it made: never with the zeros
            live &= moved >= (TOLERANCE * np.maximum(np.sqrt(np.maximum(size, 0)), 1)) ** 2
        if mean:
            mean.add(t, space.state)
        if not live.any():
            break
    if mean:
        space.state = mean.value()
    return ran


class Suffix:
    """The mean of the iterates of the last half of all steps that were asked for.

    One that converged before counts as standing where it ended.
    """

    def __init__(self, settings: Settings) -> None:
        self._first = settings.iterations // 2 + 1
        self._sum: Array | None = None
        self._count = 0
        self._last: Array | None = None

    def add(self, t: int, state: Array) -> None:
        """Take the state after step t in."""
        if t >= self._first:
            self._sum = state.copy() if self._sum is None else self._sum + state
            self._count += 1
        self._last = state

    def value(self) -> Array:
        """The mean; the last state where all models converged before the last half."""
        if self._sum is None:
            return np.array(self._last)
        return self._sum / self._count
