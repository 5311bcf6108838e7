"""emrctl as a library: the verbs of the command line for notebooks and programs.

```python
from emrctl import api

api.up()
runs = api.submit("wordcount", "--input", "s3://{bucket}/texts/", executors=4, repeat=3)
api.compare(*runs)
api.down()
```

Each function takes `project`: a folder or an `emrctl.yaml`, by default the nearest one from the
working directory upwards. Results show themselves in notebooks, `frame()` returns them as a pandas
data frame, and errors are those of `emrctl.errors`. Nothing is printed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emrctl.api.views import (
    ClusterView,
    ComparisonView,
    CostView,
    PredictionView,
    RunsView,
    TuneView,
)
from emrctl.errors import UsageError

if TYPE_CHECKING:
    from emrctl.engine.base import StackResult
    from emrctl.runs.progress import Progress
    from emrctl.runs.record import Run
    from emrctl.runs.submission import Submission
    from emrctl.runs.trials import TrialReport
    from emrctl.runs.workspace import Workspace

__all__ = [
    "ClusterView",
    "ComparisonView",
    "CostView",
    "PredictionView",
    "RunsView",
    "TuneView",
    "compare",
    "cost",
    "down",
    "local_down",
    "local_up",
    "predict",
    "runs",
    "submit",
    "tune",
    "up",
]

Project = str | Path | None


def local_up(*, region: str = "us-east-1") -> str:
    """Start the EMR on localhost unless it is running, and return its endpoint.

    Its scripts and steps run with the user's own rights; the first start downloads Hadoop.
    """
    from emrctl.emulator.server import control

    return control.up(region=region, report=lambda _text: None).endpoint


def local_down() -> bool:
    """Stop the EMR on localhost and terminate its clusters; return whether it was running."""
    from emrctl.emulator.server import control

    return control.down(report=lambda _text: None)


def up(*, project: Project = None, **flags: Any) -> ClusterView:
    """Create or update the bucket and the cluster; return the cluster once it accepts steps.

    `flags` override keys of emrctl.yaml, with two underscores for a dot:
    `cluster__core__count=4`. Raises `ProvisioningError`; calling it again continues.
    """
    from emrctl.provision import lifecycle

    return ClusterView(lifecycle.up(_workspace(project, flags).deployment))


def down(*, project: Project = None, storage: bool = False, **flags: Any) -> StackResult:
    """Delete the cluster, or with `storage` the bucket and its objects, without confirmation."""
    from emrctl.provision import lifecycle

    return lifecycle.down(_workspace(project, flags).deployment, storage=storage)


def submit(
    job: str,
    *arguments: str,
    project: Project = None,
    repeat: int = 1,
    report: Callable[[Run, Progress], None] | None = None,
    **settings: Any,
) -> RunsView:
    """Run a job `repeat` times, one after another, and return its runs once they have finished.

    `settings` are those of `emrctl submit`: `executors=4`, `conf={"spark.x": "y"}`, and `env`,
    `secrets`, `py_files`, `tags` and `check_output` as a job of emrctl.yaml has them. `report` is
    called with the run and its progress while a run is waited for. Failed runs are returned like
    others, with their `state` and `failure`; they end the repeats. Raises `UsageError` for settings
    that do not exist or have an invalid value.
    """
    from emrctl.runs import lifecycle, submission

    workspace = _workspace(project)
    order = _submission(job, arguments, settings)
    follow = report or (lambda _run, _progress: None)
    finished = submission.submit_repeatedly(
        workspace, order, repeat, lambda run: lifecycle.wait(workspace, run, follow)
    )
    return RunsView(workspace, tuple(finished))


def _submission(job: str, arguments: Sequence[str], options: dict[str, Any]) -> Submission:
    """Return the checked order; `options` are keys of a job in emrctl.yaml or of its settings."""
    from pydantic import ValidationError

    from emrctl.runs.submission import Submission
    from emrctl.spec import JobSpec
    from emrctl.spec.yaml import reason

    of_job = ("env", "secrets", "py_files", "tags", "check_output")
    value = {name: options[name] for name in of_job if name in options}
    value["settings"] = {name: item for name, item in options.items() if name not in of_job}
    try:
        spec = JobSpec.model_validate({"script": job, **value})
    except ValidationError as error:
        faults = [(".".join(map(str, item["loc"])), reason(item["msg"])) for item in error.errors()]
        lines = [f"{name.removeprefix('settings.')}: {text}" for name, text in faults]
        hint = "`emrctl submit --help` lists the settings, with dashes for underscores."
        raise UsageError("\n".join(lines), hint=hint) from None
    return Submission(
        job=job,
        arguments=arguments,
        settings=spec.settings,
        environment=spec.env,
        secrets=spec.secrets,
        py_files=spec.py_files,
        tags=spec.tags,
        check_output=spec.check_output,
    )


def runs(
    *,
    project: Project = None,
    experiment: str | None = None,
    tags: Mapping[str, str] | None = None,
) -> RunsView:
    """Return the runs of the store in their current state, oldest first.

    With `experiment` the completed runs of its trials, with `tags` the runs that have all of them.
    """
    from emrctl.runs import experiments, lifecycle

    workspace = _workspace(project)
    if experiment is not None:
        found = experiments.results(workspace, experiment)
    else:
        found = lifecycle.refresh_all(workspace)
    chosen = (tags or {}).items()
    return RunsView(workspace, tuple(run for run in found if chosen <= run.tags.items()))


def compare(
    *compared: Run | str, project: Project = None, experiment: str | None = None
) -> ComparisonView:
    """Compare runs or the completed runs of an experiment; the first one is the reference."""
    from emrctl.compare import history

    names = [run if isinstance(run, str) else run.id for run in compared]
    found = history.compare_runs(_workspace(project), names, experiment)
    return ComparisonView(found, experiment)


def predict(
    run: Run | str,
    executors: Sequence[int] = range(1, 17),
    *,
    cores: Sequence[int] = (),
    project: Project = None,
) -> PredictionView:
    """Predict the time and cost of a run at other numbers of executors (and cores of each).

    Raises `NotFoundError` if the store has no event log of the run.
    """
    from emrctl.predict import history

    workspace = _workspace(project)
    chosen = workspace.store.load(run) if isinstance(run, str) else run
    return PredictionView(history.predict_run(workspace, chosen, executors, cores))


def cost(
    run: Run | str, *, project: Project = None, spot_discount: float | None = None
) -> CostView:
    """Estimate what the work of a run costs elsewhere: other instance types, spot, services.

    `spot_discount` is the share by which spot instances are assumed to be cheaper. Raises
    `NotFoundError` if the store has no metrics of the run.
    """
    from emrctl.runs import run_cost

    workspace = _workspace(project)
    chosen = workspace.store.load(run) if isinstance(run, str) else run
    discount = run_cost.SPOT_DISCOUNT if spot_discount is None else spot_discount
    return CostView(run_cost.of_run(workspace, chosen, discount))


def tune(
    experiment: str,
    *,
    project: Project = None,
    report: TrialReport | None = None,
    **options: Any,
) -> TuneView:
    """Search for the best configuration of an experiment by real runs; the call can be repeated.

    `experiment` is a name in emrctl.yaml or the path of a YAML file; `options` are those of
    `emrctl.tune.trials.TuneOptions`: `goal="cost"`, `runs=10`, and override the sections `tune`.
    Raises `StepFailedError` if no run completed.
    """
    from emrctl.runs import experiments
    from emrctl.runs.trials import NoTrialReport
    from emrctl.tune import result, runner, trials

    workspace = _workspace(project)
    spec = experiments.load(workspace, experiment)
    chosen = trials.TuneOptions.of(workspace.project, spec, options)
    return TuneView(result.result(runner.run(workspace, spec, report or NoTrialReport(), chosen)))


def _workspace(project: Project, flags: Mapping[str, Any] | None = None) -> Workspace:
    from emrctl.runs.workspace import Workspace
    from emrctl.spec import config

    file = None if project is None else Path(project).expanduser()
    if file is not None and file.is_dir():
        file /= config.FILE_NAME
    dotted = {key.replace("__", "."): value for key, value in (flags or {}).items()}
    return Workspace(config.load(file, dotted))
