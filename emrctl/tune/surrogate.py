"""A model of how time or cost depends on a configuration, for few measurements.

A few hundred Gaussian processes with different parameters, drawn once from the prior below, are
weighted by how well each explains the measurements (Bayesian model averaging), so that nothing is
fitted to three numbers. Every process is over the logarithm of the value and adds up: slopes,
smooth curves of single columns, effects of categories, and an interaction of all columns.

The prior for machines says what is known of Spark jobs in general: time falls with the number of
cores, a little slower than in proportion; it may change steeply with the memory in all, when data
begins to fit; types of machines differ by some ten percent per core; and the value is either a
time or a cost, which is a time multiplied by the price of the cluster.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from emrctl.tune.features import Encoded

Array = Any  # numpy.ndarray; numpy is imported where it is used
MODELS, KEPT, KEPT_WEIGHT, SCREENED = 384, 48, 0.98, 40
CONSTANT_VARIANCE = 16.0
# Share of models in which the value is a time, a cost, or neither.
MEANINGS = (0.4, 0.4, 0.2)
CORES_SLOPE = -0.8
# Standard deviations of slopes if the value is a time or a cost; otherwise FREE_SLOPE_SD.
SLOPE_SD = {"cores": 0.3, "count": 0.2, "ratio": 0.3, "memory": 0.0, "price": 0.0}
FREE_SLOPE_SD = 0.5
# Ranges of standard deviations (of logarithms) and of length scales, uniform in the logarithm.
CURVE_SD, CURVE_LENGTH = {"cores": (0.03, 0.4), "memory": (0.05, 1.0)}, (0.4, 3.0)
PLAIN_SLOPE_SD, PLAIN_SD, PLAIN_LENGTH = (0.02, 1.0), (0.02, 0.7), (0.15, 1.5)
CATEGORY_SD, PLAIN_CATEGORY_SD = (0.05, 0.5), (0.03, 0.8)
JOINT_SD, PLAIN_JOINT_SD, JOINT_LENGTH = (0.03, 0.5), (0.05, 0.7), (0.3, 4.0)
CATEGORY_DISTANCE = (0.1, 3.0)
NOISE_SD = (0.01, 0.06)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Mean `values` of the candidates `at`, each of so many `repeats`.

    `scatter` is the sum of squared differences of all repeats from their means.
    """

    at: Array
    values: Array
    repeats: Array
    scatter: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Posterior:
    """Means and deviations with one row per model and one column per candidate.

    `weights` and `noise_sd`, the deviation of a single measurement, have one number per model.
    """

    weights: Array
    means: Array
    deviations: Array
    noise_sd: Array


class Surrogate:
    """The models of one list of candidates; the same for the same candidates."""

    def __init__(self, encoded: Encoded) -> None:
        import numpy as np

        names = [*encoded.machine, *encoded.plain]
        columns = [*encoded.machine.values(), *encoded.plain.values()]
        self.columns = np.array(columns, dtype=float).reshape(len(names), encoded.size)
        self.levels = np.array([*encoded.categories.values()], dtype=int)
        self.levels = self.levels.reshape(len(encoded.categories), encoded.size)
        self._draw(np.random.default_rng(0), names, encoded)

    def _draw(self, rng: Array, names: list[str], encoded: Encoded) -> None:
        """Draw the parameters of all models from the prior."""
        import numpy as np

        def spread(bounds: tuple[float, float], *shape: int) -> Array:
            return np.exp(rng.uniform(*np.log(bounds), (MODELS, *shape)))

        machine = bool(encoded.machine)
        meaning = rng.choice(3, MODELS, p=MEANINGS) if machine else np.full(MODELS, 2)
        zeros = np.zeros((MODELS, len(names)))
        self.slope, self.slope_sd, self.curve_sd = zeros.copy(), zeros.copy(), zeros.copy()
        self.length = np.ones_like(zeros)
        for at, name in enumerate(names):
            if name in encoded.machine:
                mean = CORES_SLOPE if name == "cores" else 0.0
                self.slope[:, at] = np.where(meaning < 2, mean, 0.0)
                self.slope[:, at] += (meaning == 1) * (name == "price")
                self.slope_sd[:, at] = np.where(meaning < 2, SLOPE_SD[name], FREE_SLOPE_SD)
                if name in CURVE_SD:
                    self.curve_sd[:, at] = spread(CURVE_SD[name])
                    self.length[:, at] = spread(CURVE_LENGTH)
            else:
                self.slope_sd[:, at] = spread(PLAIN_SLOPE_SD)
                self.curve_sd[:, at] = spread(PLAIN_SD)
                self.length[:, at] = spread(PLAIN_LENGTH)
        joint = [
            name not in encoded.machine or name in {"cores", "count", "ratio"} for name in names
        ]
        self.joint_scale = np.array(joint, dtype=float) / spread(JOINT_LENGTH, len(names))
        self.joint_sd = spread(PLAIN_JOINT_SD if encoded.plain or not machine else JOINT_SD)
        number = len(self.levels)
        self.category_sd = spread(CATEGORY_SD if machine else PLAIN_CATEGORY_SD, number)
        self.category_distance = spread(CATEGORY_DISTANCE, number)
        self.noise_sd = spread(NOISE_SD)

    def posterior(self, measured: Measured, wanted: Array) -> Posterior:
        """Return the posterior of the candidates `wanted`."""
        import numpy as np

        models = np.arange(MODELS)
        if len(measured.at) > SCREENED:  # choose the models by some of the measurements
            order = np.argsort(measured.values)
            some = order[np.linspace(0, len(order) - 1, SCREENED).astype(int)]
            part = replace(
                measured,
                at=measured.at[some],
                values=measured.values[some],
                repeats=measured.repeats[some],
            )
            models = np.argsort(-self._condition(part, models)[2])[:SCREENED]
        factor, scaled, logs = self._condition(measured, models)
        weights = np.exp(logs - logs.max())
        weights /= weights.sum()
        kept = np.argsort(-weights)[: _affordable(len(measured.at) * len(wanted))]
        kept = kept[: int(np.searchsorted(np.cumsum(weights[kept]), KEPT_WEIGHT)) + 1]
        models = models[kept]
        across = np.linalg.solve(factor[kept], self._covariance(measured.at, wanted, models))
        means = self.slope[models] @ self.columns[:, wanted]
        means += np.einsum("kni,kn->ki", across, scaled[kept])
        variances = self._variance(wanted, models) - (across**2).sum(1)
        return Posterior(
            weights=weights[kept] / weights[kept].sum(),
            means=means,
            deviations=np.sqrt(np.maximum(variances, 1e-10)),
            noise_sd=self.noise_sd[models],
        )

    def _condition(self, measured: Measured, models: Array) -> tuple[Array, Array, Array]:
        """Return Cholesky factors, residuals divided by them, and logarithms of the likelihood."""
        import numpy as np

        at, own, noise = measured.at, np.arange(len(measured.at)), self.noise_sd[models]
        covariance = self._covariance(at, at, models)
        covariance[:, own, own] += noise[:, None] ** 2 / measured.repeats + 1e-8
        factor = np.linalg.cholesky(covariance)
        residual = measured.values - self.slope[models] @ self.columns[:, at]
        scaled = np.linalg.solve(factor, residual[..., None])[..., 0]
        logs = -0.5 * (scaled**2).sum(1) - np.log(np.diagonal(factor, axis1=1, axis2=2)).sum(1)
        logs -= 0.5 * measured.scatter / noise**2
        logs -= (measured.repeats.sum() - len(at)) * np.log(noise)
        return factor, scaled, logs

    def distances(self, left: Sequence[int], right: Sequence[int] | Array) -> Array:
        """Return squared distances between candidates: columns count alike, levels as 1."""
        import numpy as np

        spread = self.columns.std(axis=1, keepdims=True)
        scaled = (self.columns / np.maximum(spread, 1e-9)).T
        total = ((scaled[left, None] - scaled[None, right]) ** 2).sum(2)
        levels = self.levels.T
        return total + (levels[left, None] != levels[None, right]).sum(2)

    def _covariance(self, left: Array, right: Array, models: Array) -> Array:
        """Return the prior covariance per model of the candidates `left` with those of `right`."""
        import numpy as np

        rows, columns = self.columns[:, left, None], self.columns[:, None, right]
        squares = (rows - columns) ** 2
        total = np.tensordot(self.slope_sd[models] ** 2, rows * columns, 1) + CONSTANT_VARIANCE
        for at, square in enumerate(squares):
            sd, length = self.curve_sd[models, at], self.length[models, at]
            if sd.any():
                total += _rows(sd**2) * np.exp(square * _rows(-0.5 / length**2))
        distance = np.tensordot(self.joint_scale[models] ** 2, squares, 1)
        if len(self.levels):
            other = (self.levels[:, left, None] != self.levels[:, None, right]).astype(float)
            total += np.tensordot(self.category_sd[models] ** 2, 1 - other, 1)
            distance += np.tensordot(self.category_distance[models], other, 1)
        root = np.sqrt(3 * distance)
        total += _rows(self.joint_sd[models] ** 2) * (1 + root) * np.exp(-root)
        return total

    def _variance(self, at: Array, models: Array) -> Array:
        slopes = self.slope_sd[models] ** 2 @ self.columns[:, at] ** 2
        constant = self.joint_sd[models] ** 2 + CONSTANT_VARIANCE
        for parts in (self.curve_sd, self.category_sd):
            constant = constant + (parts[models] ** 2).sum(1)
        return slopes + constant[:, None]


def _affordable(pairs: int) -> int:
    """Return how many models to keep for so many pairs of measured and wanted candidates."""
    return max(4, min(KEPT, 3_000_000 // (pairs + 1)))


def _rows(values: Array) -> Array:
    """Return one value per model in a shape that multiplies a matrix per model."""
    return values[:, None, None]
