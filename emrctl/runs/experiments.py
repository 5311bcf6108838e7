"""Experiments: runs of one job that differ in declared factors, one after another, resumable."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from emrctl import redact
from emrctl.errors import NotFoundError
from emrctl.runs import lifecycle, staging
from emrctl.runs.store import Run, TrialFacts
from emrctl.runs.submission import Submission, expand
from emrctl.spec import ExperimentSpec, SparkSettings, yaml

if TYPE_CHECKING:
    from emrctl.runs.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One cell of an experiment, once: `number` of `total`, counted from 1."""

    facts: TrialFacts
    settings: SparkSettings
    number: int
    total: int


Runner = Callable[[Trial, Run | None], Run]


def load(workspace: Workspace, name: str) -> ExperimentSpec:
    """The experiment in the file `name`, or the one that emrctl.yaml calls so."""
    path = Path(name).expanduser()
    if path.suffix in {".yaml", ".yml"} or path.is_file():
        return yaml.check(ExperimentSpec, yaml.read(path))
    known = workspace.project.experiments
    if name not in known:
        hint = f"emrctl.yaml has {', '.join(known) or 'none'}; or give the path of a YAML file."
        raise NotFoundError(f"no experiment is called '{name}'", hint=hint)
    return known[name]


def trials(spec: ExperimentSpec) -> list[Trial]:
    """Every trial, each cell once before any is repeated: a machine's drift meets all alike."""
    found = [
        (_facts(spec, cell, repeat), settings)
        for repeat in range(1, spec.repeats + 1)
        for cell, settings in _cells(spec)
    ]
    return [
        Trial(facts=facts, settings=settings, number=number, total=len(found))
        for number, (facts, settings) in enumerate(found, start=1)
    ]


def _facts(spec: ExperimentSpec, cell: str, repeat: int) -> TrialFacts:
    known = spec.published
    minutes = known.minutes.get(cell) if known else None
    return TrialFacts(
        experiment=spec.name,
        cell=cell,
        repeat=repeat,
        published_s=None if minutes is None else 60 * minutes,
        published_by=known.by if known else "",
    )


def submission(spec: ExperimentSpec, trial: Trial) -> Submission:
    """Return the submission of a trial."""
    return Submission(job=spec.job, arguments=spec.args, settings=trial.settings, trial=trial.facts)


def run(
    workspace: Workspace, spec: ExperimentSpec, runner: Runner, *, fresh: bool = False
) -> list[Run]:
    """Every trial's run, in order.

    `runner` gets a trial and, where a killed client left its run unfinished, that run. Trials whose
    run completed with the same settings and arguments are not run again, unless `fresh`.
    """
    known = [] if fresh else _runs_of(workspace, spec)
    found = []
    for trial in trials(spec):
        earlier = _earlier(workspace, known, spec, trial)
        done = earlier is not None and earlier.state == "COMPLETED"
        found.append(earlier if earlier is not None and done else runner(trial, earlier))
    return found


def results(workspace: Workspace, name: str) -> list[Run]:
    """The last completed run of each trial of the experiment called `name`, in trial order."""
    last: dict[tuple[str, int], Run] = {}
    for item in workspace.store.all():
        if item.trial and item.trial.experiment == name and item.state == "COMPLETED":
            last[(item.trial.cell, item.trial.repeat)] = item
    if not last:
        known = {item.trial.experiment for item in workspace.store.all() if item.trial}
        hint = f"There are runs of {', '.join(sorted(known)) or 'no experiment yet'}."
        raise NotFoundError(f"no completed run belongs to an experiment '{name}'", hint=hint)
    return sorted(last.values(), key=lambda item: item.created)


def _runs_of(workspace: Workspace, spec: ExperimentSpec) -> list[Run]:
    found = lifecycle.refresh_all(workspace)
    return [item for item in found if item.trial and item.trial.experiment == spec.name]


def _earlier(
    workspace: Workspace, known: list[Run], spec: ExperimentSpec, trial: Trial
) -> Run | None:
    """The newest run of the trial that asked for just what it asks for and has not failed."""
    wanted = submission(spec, trial)
    for item in reversed(known):
        alive = item.state == "COMPLETED" or not item.finished
        if alive and item.trial == trial.facts and _asks_the_same(workspace, item, wanted):
            return item
    return None


def _asks_the_same(workspace: Workspace, item: Run, wanted: Submission) -> bool:
    job = staging.find_job(wanted.job, workspace.config)
    return (
        item.job == job.name
        and _contains(item.arguments, redact.arguments(expand(wanted.arguments, item)))
        and dict(item.settings) == job.spec.settings.merged(wanted.settings).record()
    )


def _contains(whole: tuple[str, ...], part: tuple[str, ...]) -> bool:
    """Whether `part` stands in `whole` in one piece: a job's own arguments stand around it."""
    size = len(part)
    return any(whole[at : at + size] == part for at in range(len(whole) - size + 1))


def _cells(spec: ExperimentSpec) -> Iterator[tuple[str, SparkSettings]]:
    if spec.configurations:
        for name, settings in spec.configurations.items():
            yield name, spec.settings.merged(settings)
        return
    for levels in itertools.product(*spec.factors.values()):
        chosen = dict(zip(spec.factors, levels, strict=True))
        name = ", ".join(f"{key}={value}" for key, value in chosen.items())
        yield name, spec.settings.merged(SparkSettings.model_validate(chosen))
