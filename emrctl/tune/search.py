"""Search for the best of a finite list of configurations with few measurements."""

from __future__ import annotations

import math
import operator
from collections.abc import Collection, Mapping, Sequence
from typing import Literal

from emrctl.errors import NotFoundError, UsageError
from emrctl.tune import features
from emrctl.tune.surrogate import Array, Measured, Surrogate

Goal = Literal["minimise", "maximise"]
DESIGN = 3  # configurations that are chosen to differ, before the model chooses
FAILED = 0.4  # a failed configuration counts as worse than the worst measured by this logarithm,
FAILED_WEIGHT = 0.05  # as little certain as this share of a measurement
LINEAR_SD = 0.3  # the deviation that values get that are not positive, so have no logarithm
SMALLEST_SPREAD = 1e-12
LARGE = 500  # the centre of more candidates than this is found from a sample
TIE = 0.05  # relative random differences that let the seed choose among similar candidates


class Search:
    """One search over `candidates`, each given by its features, numbers or texts.

    Features whose names say so (`instance_count`, `vcpus`, `executor_memory`, `price` …) and names
    of EC2 instance types get a prior of how Spark jobs scale; others are modelled without one.
    Numbers may be texts ("8", "4g"). Equal candidates are allowed. The search is deterministic: the
    same candidates, `seed` and measurements lead to the same proposals, whatever the order of the
    measurements. Values are compared as logarithms if all are positive.

    Raises `UsageError` if there are no candidates or the goal is unknown.
    """

    def __init__(
        self,
        candidates: Sequence[Mapping[str, float | str]],
        *,
        seed: int,
        goal: Goal = "minimise",
    ) -> None:
        if not candidates:
            raise UsageError("a search needs at least one candidate")
        if goal not in ("minimise", "maximise"):
            raise UsageError(f"goal '{goal}' is unknown", hint="Use minimise or maximise.")
        self._size, self._seed, self._goal = len(candidates), seed, goal
        self._told: dict[int, list[float]] = {}
        self._encoded = features.encode(candidates)
        self._surrogate: Surrogate | None = None

    def tell(self, index: int, value: float) -> None:
        """Add a measurement of candidate `index`, which need not have been proposed.

        Further values of the same candidate are repeats. NaN and infinite values mean that the
        configuration failed. Raises `UsageError` if there is no candidate `index`.
        """
        at = operator.index(index)
        if not 0 <= at < self._size:
            raise UsageError(f"no candidate {at}", hint=f"Candidates are 0 to {self._size - 1}.")
        self._told.setdefault(at, []).append(float(value))

    def ask(self, pending: Collection[int] = ()) -> int:
        """Return the candidate to measure next; calls without a `tell` in between return the same.

        `pending` candidates are being measured and are not proposed. Measured candidates are
        proposed only if all are measured, or if repeats have shown that values vary so much that a
        repeat is expected to gain more than another candidate.
        """
        busy = set(pending)
        left = [at for at in range(self._size) if at not in self._told and at not in busy]
        if left and (not self._told or len(self._told) + len(busy) < DESIGN):
            return self._farthest(left, [*self._told, *busy])
        if self._told:
            measured = self._with_pending(self._measured(), busy)
            gains = self._gains(measured, left)
            repeats = self._repeat_gains(measured, busy) if measured.scatter or not left else {}
            again = max(repeats, key=lambda at: repeats[at], default=None)
            if left and (again is None or repeats[again] <= gains.max()):
                return left[int(gains.argmax())]
            if again is not None:
                return again
        return min(range(self._size), key=lambda at: (at in busy, len(self._told.get(at, ()))))

    def best(self) -> int:
        """Return the candidate with the best mean of its values.

        Raises `NotFoundError` if none has been measured successfully.
        """
        means = self._means()
        if not means:
            hint = "Measure a configuration that does not fail."
            raise NotFoundError("no configuration was measured successfully", hint=hint)
        best = min if self._goal == "minimise" else max
        return best(means, key=lambda at: means[at])

    def expected_gain(self) -> float:
        """Return the improvement that the next measurement is expected to bring.

        A fraction of the best value so far: 0.02 means that the next best value is expected to be
        2 % better. If not all values are positive, a fraction of their spread. Infinite before the
        first successful measurement, 0 if all candidates are measured.
        """
        left = [at for at in range(self._size) if at not in self._told]
        if not left:
            return 0.0
        if not self._means():
            return math.inf
        return float(self._gains(self._measured(), left).max())

    def possible_gain(self, probability: float = 0.9) -> float:
        """Return the gain that no candidate that is left exceeds, with this probability.

        A fraction of the best value so far, as in `expected_gain`. Infinite before the first
        successful measurement. Errors of candidates count as independent, which is cautious.
        """
        import numpy as np
        from scipy.special import log_ndtr

        left = [at for at in range(self._size) if at not in self._told]
        if not left:
            return 0.0
        if not self._means():
            return math.inf
        measured = self._measured()
        posterior = self._model().posterior(measured, np.array(left, dtype=int))
        above = posterior.means - measured.values.min()
        low, high = 0.0, 20.0
        for _ in range(40):
            gain = (low + high) / 2
            logs = log_ndtr((above + gain) / posterior.deviations).sum(axis=1)
            covered = float(posterior.weights @ np.exp(logs)) >= probability
            low, high = (low, gain) if covered else (gain, high)
        return 1 - math.exp(-high)

    def predictions(self) -> list[float]:
        """Return what is expected of each candidate, relative to the best measured one.

        1.1 is 10 % more. Raises `NotFoundError` if none has been measured successfully.
        """
        import numpy as np

        self.best()
        measured = self._measured()
        posterior = self._model().posterior(measured, np.arange(self._size))
        expected = np.exp(posterior.weights @ posterior.means - measured.values.min())
        return [float(v) for v in (expected if self._goal == "minimise" else 1 / expected)]

    def _means(self) -> dict[int, float]:
        """Return the mean of each candidate most of whose measurements succeeded."""
        means = {}
        for at in sorted(self._told):
            values = [value for value in self._told[at] if math.isfinite(value)]
            if 2 * len(values) > len(self._told[at]):
                means[at] = math.fsum(values) / len(values)
        return means

    def _measured(self) -> Measured:
        """Return the measurements on the surrogate's scale: less is better, their mean is 0."""
        import numpy as np

        good = {at: [v for v in self._told[at] if math.isfinite(v)] for at in self._means()}
        flat = [value for values in good.values() for value in values]
        if all(value > 0 for value in flat):
            scaled = {at: np.log(values) for at, values in good.items()}
        else:
            unit = max(float(np.std(flat)), SMALLEST_SPREAD) / LINEAR_SD
            scaled = {at: np.array(values) / unit for at, values in good.items()}
        sign = 1 if self._goal == "minimise" else -1
        means = {at: sign * float(values.mean()) for at, values in scaled.items()}
        worst = max(means.values(), default=0.0) + FAILED
        at = sorted(self._told)
        values = np.array([means.get(item, worst) for item in at])
        return Measured(
            at=np.array(at),
            values=values - values.mean(),
            repeats=np.array([len(good.get(item, ())) or FAILED_WEIGHT for item in at]),
            scatter=sum(float(((v - v.mean()) ** 2).sum()) for v in scaled.values()),
        )

    def _with_pending(self, measured: Measured, busy: Collection[int]) -> Measured:
        """Add candidates that are being measured with the values that the models expect."""
        import numpy as np

        new = np.array([at for at in busy if at not in self._told], dtype=int)
        if not len(new):
            return measured
        posterior = self._model().posterior(measured, new)
        return Measured(
            at=np.append(measured.at, new),
            values=np.append(measured.values, posterior.weights @ posterior.means),
            repeats=np.append(measured.repeats, np.ones(len(new))),
            scatter=measured.scatter,
        )

    def _model(self) -> Surrogate:
        self._surrogate = self._surrogate or Surrogate(self._encoded)
        return self._surrogate

    def _gains(self, measured: Measured, left: Sequence[int]) -> Array:
        """Return the expected improvement of the best value by each candidate, as a fraction.

        For a normal logarithm of the value this is E[max(0, 1 - exp(y - best))].
        """
        import numpy as np
        from scipy.special import ndtr

        posterior = self._model().posterior(measured, np.array(left, dtype=int))
        below = measured.values.min() - posterior.means
        sd = posterior.deviations
        ratio = np.exp(np.minimum(sd**2 / 2 - below, 50.0))
        gains = ndtr(below / sd) - ratio * ndtr(below / sd - sd)
        return posterior.weights @ np.maximum(gains, 0.0)

    def _repeat_gains(self, measured: Measured, busy: Collection[int]) -> dict[int, float]:
        """Return how much a repeat of each measured candidate is expected to improve the choice.

        The knowledge gradient of one more measurement, with independent errors: how far the mean
        of a candidate may pass that of the best other one.
        """
        import numpy as np
        from scipy.special import ndtr

        good = self._means()
        rows = [row for row, at in enumerate(measured.at) if at in good]
        if len(rows) < 2:
            return dict.fromkeys((at for at in good if at not in busy), 0.0)
        posterior = self._model().posterior(measured, measured.at[rows])
        variance = posterior.deviations**2
        shift = variance / np.sqrt(variance + posterior.noise_sd[:, None] ** 2)
        first, second = np.sort(posterior.means, axis=1)[:, :2].T
        rival = np.where(posterior.means == first[:, None], second[:, None], first[:, None])
        behind = np.abs(posterior.means - rival) / shift
        density = np.exp(-0.5 * behind**2) / math.sqrt(2 * math.pi)
        gains = posterior.weights @ (shift * (density - behind * ndtr(-behind)))
        pairs = zip(measured.at[rows].tolist(), gains.tolist(), strict=True)
        return {at: gain for at, gain in pairs if at not in busy}

    def _farthest(self, left: Sequence[int], others: Sequence[int]) -> int:
        """Return the most central candidate first, then those that differ most from `others`."""
        import numpy as np

        rng = np.random.default_rng([abs(self._seed), len(others)])
        model = self._model()
        if others:
            distances = model.distances(left, others).min(1)
        else:
            some = rng.permutation(self._size)[:LARGE]
            distances = -np.sqrt(model.distances(left, some)).sum(1)
        return left[int(np.argmax(distances * (1 + TIE * rng.random(len(left)))))]
