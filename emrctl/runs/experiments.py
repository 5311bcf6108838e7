"""Experiments: the trials of a spec in their order, and the results of an experiment."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from emrctl.errors import NotFoundError
from emrctl.runs.record import Run, TrialFacts
from emrctl.runs.submission import Submission
from emrctl.runs.trials import Trial
from emrctl.runs.workspace import Workspace
from emrctl.spec import ExperimentSpec, yaml
from emrctl.spec.factors import Configuration, shuffled


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


# --- trials ---------------------------------------------------------------------------------------


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
        Trial(
            facts=facts,
            configuration=item,
            submission=submission(spec, item, facts),
            number=number,
            total=len(pairs),
        )
        for number, (facts, item) in enumerate(pairs, start=1)
    ]


def submission(spec: ExperimentSpec, item: Configuration, facts: TrialFacts) -> Submission:
    """Return the submission of a trial."""
    return Submission(
        job=spec.job,
        arguments=item.args,
        settings=item.settings,
        environment=item.env,
        trial=facts,
        check_output=spec.check_output,
    )


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


# --- results --------------------------------------------------------------------------------------


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
