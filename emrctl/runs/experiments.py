"""Experiments: runs of one job that differ in declared factors. Interrupted ones are resumed."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from emrctl import redact
from emrctl.errors import NotFoundError
from emrctl.runs import lifecycle
from emrctl.runs.store import Run, TrialFacts
from emrctl.runs.submission import Submission, expand, find_job
from emrctl.runs.workspace import Workspace
from emrctl.spec import ExperimentSpec, SparkSettings, to_text, yaml


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One repeat of a cell of an experiment, `number` of `total`, counted from 1."""

    facts: TrialFacts
    settings: SparkSettings
    number: int
    total: int


Runner = Callable[[Trial, Run | None], Run]


def load(workspace: Workspace, name: str) -> ExperimentSpec:
    """Return the experiment in the YAML file `name`, or the one of this name in emrctl.yaml."""
    path = Path(name).expanduser()
    if path.suffix in {".yaml", ".yml"} or path.is_file():
        return yaml.check(ExperimentSpec, yaml.read(path))
    experiments = workspace.project.experiments
    if name not in experiments:
        hint = f"emrctl.yaml has {', '.join(experiments) or 'none'}; or pass a YAML file."
        raise NotFoundError(f"no experiment is called '{name}'", hint=hint)
    return experiments[name]


def trials(spec: ExperimentSpec) -> list[Trial]:
    """Return every trial. Repeats are interleaved so that drift affects all cells equally."""
    pairs = [
        (_facts(spec, cell, repeat), settings)
        for repeat in range(1, spec.repeats + 1)
        for cell, settings in _cells(spec)
    ]
    return [
        Trial(facts=facts, settings=settings, number=number, total=len(pairs))
        for number, (facts, settings) in enumerate(pairs, start=1)
    ]


def _cells(spec: ExperimentSpec) -> Iterator[tuple[str, SparkSettings]]:
    if spec.configurations:
        for name, settings in spec.configurations.items():
            yield name, spec.settings.merged(settings)
        return
    for levels in itertools.product(*spec.factors.values()):
        factors = dict(zip(spec.factors, levels, strict=True))
        name = ", ".join(f"{key}={to_text(value)}" for key, value in factors.items())
        yield name, spec.settings.merged(SparkSettings.model_validate(factors))


def _facts(spec: ExperimentSpec, cell: str, repeat: int) -> TrialFacts:
    published = spec.published
    minutes = published.minutes.get(cell) if published else None
    return TrialFacts(
        experiment=spec.name,
        cell=cell,
        repeat=repeat,
        published_s=None if minutes is None else 60 * minutes,
        published_by=published.by if published else "",
    )


def submission(spec: ExperimentSpec, trial: Trial) -> Submission:
    """Return the submission of a trial."""
    return Submission(job=spec.job, arguments=spec.args, settings=trial.settings, trial=trial.facts)


def run(
    workspace: Workspace, spec: ExperimentSpec, runner: Runner, *, fresh: bool = False
) -> list[Run]:
    """Run the trials in order and return their runs.

    `runner` gets a trial, and its unfinished run if a client was killed. Completed trials with the
    same settings and arguments are not repeated, unless `fresh`.
    """
    stored = [] if fresh else lifecycle.refresh_all(workspace)
    runs = []
    for trial in trials(spec):
        earlier = _find_earlier(workspace, stored, spec, trial)
        if earlier is not None and earlier.state == "COMPLETED":
            runs.append(earlier)
        else:
            runs.append(runner(trial, earlier))
    return runs


def results(workspace: Workspace, name: str) -> list[Run]:
    """Return the last completed run of each trial of an experiment, in trial order."""
    stored = [item for item in workspace.store.all() if item.trial]
    last = {
        (item.trial.cell, item.trial.repeat): item
        for item in stored
        if item.trial and item.trial.experiment == name and item.state == "COMPLETED"
    }
    if not last:
        names = sorted({item.trial.experiment for item in stored if item.trial})
        hint = f"There are runs of {', '.join(names) or 'no experiment yet'}."
        raise NotFoundError(f"experiment '{name}' has no completed run", hint=hint)
    return sorted(last.values(), key=lambda item: item.created)


def _find_earlier(
    workspace: Workspace, stored: list[Run], spec: ExperimentSpec, trial: Trial
) -> Run | None:
    """Return the newest run of the trial that is equal to a new one and has not failed."""
    new = submission(spec, trial)
    job = find_job(new.job, workspace.config)
    settings = job.spec.settings.merged(new.settings).record()
    for item in reversed(stored):
        usable = item.state == "COMPLETED" or not item.finished
        if (
            usable
            and item.trial == trial.facts
            and item.job == job.name
            and dict(item.settings) == settings
            and _contains(item.arguments, redact.arguments(expand(new.arguments, item)))
        ):
            return item
    return None


def _contains(whole: tuple[str, ...], part: tuple[str, ...]) -> bool:
    """Return whether `part` is a contiguous part of `whole`, which includes the job's arguments."""
    size = len(part)
    return any(whole[at : at + size] == part for at in range(len(whole) - size + 1))
