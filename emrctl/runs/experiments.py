"""Experiments: runs of one job that differ in declared factors. Interrupted ones are resumed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from emrctl import redact
from emrctl.errors import NotFoundError
from emrctl.runs import lifecycle
from emrctl.runs.store import Run, TrialFacts
from emrctl.runs.submission import Submission, expand, find_job
from emrctl.runs.workspace import Workspace
from emrctl.spec import ExperimentSpec, yaml
from emrctl.spec.factors import Configuration, shuffled


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One repeat of a configuration of an experiment, `number` of `total`, counted from 1."""

    facts: TrialFacts
    configuration: Configuration
    number: int
    total: int


Runner = Callable[[Trial, Run | None], Run]


def load(workspace: Workspace, name: str) -> ExperimentSpec:
    """Return the experiment in the YAML file `name`, or the one of this name in emrctl.yaml."""
    path = Path(name).expanduser()
    if path.suffix in {".yaml", ".yml"} or path.is_file():
        check = workspace.project.check_cluster_factors
        return yaml.check(ExperimentSpec, yaml.read(path), also=check)
    experiments = workspace.project.experiments
    if name not in experiments:
        hint = f"emrctl.yaml has {', '.join(experiments) or 'none'}; or pass a YAML file."
        raise NotFoundError(f"no experiment is called '{name}'", hint=hint)
    return experiments[name]


def trials(spec: ExperimentSpec) -> list[Trial]:
    """Return every trial in its order, which depends on the spec alone.

    Trials are grouped by cluster, so that no cluster is idle. A group starts with the warm-up runs
    of its first configuration, with repeats up to 0. Then each block has every configuration once:
    the first block in random order, the second in the reverse one (A B B A), the third in another
    random order, and so on. So a drift over time affects all configurations equally.
    """
    pairs = [
        (_facts(spec, item, repeat), item)
        for group in _by_cluster(spec.combinations)
        for repeat, item in (
            *((number, group[0]) for number in range(1 - spec.warm_up, 1)),
            *_interleaved(spec, group),
        )
    ]
    return [
        Trial(facts=facts, configuration=item, number=number, total=len(pairs))
        for number, (facts, item) in enumerate(pairs, start=1)
    ]


def _by_cluster(items: Sequence[Configuration]) -> list[list[Configuration]]:
    groups: dict[tuple[tuple[str, str | None], ...], list[Configuration]] = {}
    for item in items:
        groups.setdefault(tuple(sorted(item.cluster.items())), []).append(item)
    return list(groups.values())


def _interleaved(
    spec: ExperimentSpec, items: Sequence[Configuration]
) -> Iterator[tuple[int, Configuration]]:
    for repeat in range(1, spec.repeats + 1):
        pair = (repeat + 1) // 2
        rng = random.Random(f"order {spec.seed} {pair}")  # noqa: S311 - not for secrets
        block = shuffled(items, rng)
        for item in block if repeat % 2 else reversed(block):
            yield repeat, item


def _facts(spec: ExperimentSpec, item: Configuration, repeat: int) -> TrialFacts:
    published = spec.published
    minutes = published.minutes.get(item.name) if published else None
    return TrialFacts(
        experiment=spec.name,
        cell=item.name,
        repeat=repeat,
        position=item.position,
        published_s=None if minutes is None else 60 * minutes,
        published_by=published.by if published else "",
    )


def submission(spec: ExperimentSpec, trial: Trial) -> Submission:
    """Return the submission of a trial."""
    item = trial.configuration
    return Submission(
        job=spec.job,
        arguments=item.args,
        settings=item.settings,
        environment=item.env,
        trial=trial.facts,
    )


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
    """Return the last completed run of each trial of an experiment, without warm-up runs.

    Runs are ordered by configuration, the reference first, and by the time of their submission.
    """
    stored = [item for item in workspace.store.all() if item.trial]
    last = {
        (item.trial.cell, item.trial.repeat): item
        for item in stored
        if item.trial
        and item.trial.experiment == name
        and item.state == "COMPLETED"
        and not item.trial.warm_up
    }
    if not last:
        names = sorted({item.trial.experiment for item in stored if item.trial})
        hint = f"There are runs of {', '.join(names) or 'no experiment yet'}."
        raise NotFoundError(f"experiment '{name}' has no completed run", hint=hint)
    return sorted(last.values(), key=lambda run: (_position(run), run.created))


def _position(run: Run) -> int:
    return run.trial.position if run.trial and run.trial.position is not None else 0


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
            and redact.mapping(new.environment).items() <= item.environment.items()
        ):
            return item
    return None


def _contains(whole: tuple[str, ...], part: tuple[str, ...]) -> bool:
    """Return whether `part` is a contiguous part of `whole`, which includes the job's arguments."""
    size = len(part)
    return any(whole[at : at + size] == part for at in range(len(whole) - size + 1))
