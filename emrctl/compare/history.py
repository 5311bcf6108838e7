"""Comparisons of stored runs, with the prior fitted on the repeats that the store has."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from emrctl.compare import comparison, records
from emrctl.compare.comparison import Comparison
from emrctl.compare.records import RunRecord, SettingsKey, record_of
from emrctl.runs.storage import LocalStorage
from emrctl.runs.store import Store
from emrctl.runs.workspace import Workspace

if TYPE_CHECKING:
    from emrctl.compare.statistics import VariancePrior

# The newest runs that are read. On S3 each is a request.
MAX_RUNS = {"local": 2_000, "s3": 100}


def compare_runs(
    workspace: Workspace,
    names: Sequence[str],
    experiment: str | None = None,
    reference: str | None = None,
) -> Comparison:
    """Compare the runs called `names`, or the completed runs of `experiment`.

    `reference` is as in `records.find_reference`, by default the first run.
    """
    loaded = records.load(workspace, names, experiment)
    at = records.find_reference(loaded, reference)
    return comparison.compare(loaded, at, prior=prior(workspace.store, loaded))


def prior(store: Store, compared: Sequence[RunRecord]) -> VariancePrior | None:
    """Fit the prior on the stored runs of the same target as `compared`.

    It is combined with the default, which it equals if the store has no repeats. None unless two
    configurations of `compared` have repeats: then it is not needed.
    """
    repeats = Counter(record.settings_key() for record in compared if record.completed)
    if sum(count > 1 for count in repeats.values()) < 2:
        return None
    from emrctl.compare.statistics import fit_prior

    local = all(record.local for record in compared)
    limit = MAX_RUNS["local" if isinstance(store.storage, LocalStorage) else "s3"]
    stored = (record_of(run) for run in islice(store.newest(), limit))
    usable = [record for record in stored if record.completed and record.local == local]
    where = "localhost" if local else "AWS"
    return fit_prior(_durations(usable), source=_source(f"runs of this project on {where}"))


def table_prior(rows: Sequence[RunRecord], name: str) -> VariancePrior:
    """Fit the prior on a table of timings; it is combined with the default."""
    from emrctl.compare.statistics import fit_prior

    return fit_prior(_durations(rows), source=_source(f"rows of {name}"))


def _source(text: str) -> str:
    from emrctl.compare.statistics import DEFAULT_PRIOR

    return f"{text}, and {DEFAULT_PRIOR.source}"


def _durations(compared: Iterable[RunRecord]) -> list[list[float]]:
    """Return the durations of each configuration."""
    groups: dict[SettingsKey, list[float]] = defaultdict(list)
    for record in compared:
        if record.duration_s:
            groups[record.settings_key()].append(record.duration_s)
    return list(groups.values())
