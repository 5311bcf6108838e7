"""The prior of a comparison, fitted on the repeats that the store has."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

from emrctl.compare.records import RunRecord, record_of
from emrctl.runs.storage import LocalStorage
from emrctl.runs.store import Store

if TYPE_CHECKING:
    from emrctl.compare.statistics import VariancePrior

Key = tuple[tuple[str, str], ...]
# The newest runs that are read. On S3 each is a request.
MAX_RUNS = {"local": 2_000, "s3": 100}


def prior(store: Store, records: Sequence[RunRecord]) -> VariancePrior | None:
    """Fit the prior on the stored runs of the same target as `records`.

    It is combined with the default, which it equals if the store has no repeats. None if `records`
    have none: then it is not needed.
    """
    keys = [_key(record) for record in records if record.completed]
    if len({*keys}) == len(keys):
        return None
    from emrctl.compare.statistics import DEFAULT_PRIOR, fit_prior

    local = all(record.local for record in records)
    groups: dict[Key, list[float]] = defaultdict(list)
    limit = MAX_RUNS["local" if isinstance(store.storage, LocalStorage) else "s3"]
    for record in map(record_of, islice(store.newest(), limit)):
        if record.completed and record.local == local and record.duration_s:
            groups[_key(record)].append(record.duration_s)
    where = "localhost" if local else "AWS"
    source = f"runs of this project on {where}, and {DEFAULT_PRIOR.source}"
    return fit_prior(groups.values(), source=source)


def _key(record: RunRecord) -> Key:
    """Return the settings; equal ones make runs repeats."""
    return tuple(sorted(replace(record, properties={}).traits().items()))
