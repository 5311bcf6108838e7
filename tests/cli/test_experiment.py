"""`emrctl experiment`: clusters of configurations, budget, list, show, progress."""

from __future__ import annotations

import io
import os
import signal

import pytest
from rich.console import Console
from rich.progress import Progress as Bar
from rich.progress import TextColumn

from emrctl.aws.target import Target
from emrctl.cli import trial_progress
from emrctl.cli.trial_progress import TrialLines, duration_text
from emrctl.runs import experiments
from emrctl.runs.progress import Progress
from emrctl.runs.trials import Outlook, Use
from emrctl.spec import ExperimentSpec
from tests.cli.answers import Emrctl, json_of
from tests.facts import RUN
from tests.runs.fake_cluster import without_uploads

YAML = """\
project: pets
cluster: {core: {count: 2}, bootstrap: []}
jobs:
  mine: {script: mine.py}
experiments:
  sizes:
    name: sizes
    job: mine
    factors: {cluster.core.count: [2, 3]}
    repeats: 2
    warm_up: 1
  limited:
    name: limited
    job: mine
    factors: {executors: [1, 2]}
    budget: {runs: 1}
"""


def test_run_creates_and_deletes_the_cluster_of_a_configuration(
    emrctl: Emrctl, mocked: Target
) -> None:
    own = json_of(emrctl("up", "--json"))["id"]
    with without_uploads():
        code, _, err = emrctl("experiment", "run", "sizes")
    assert code == 0, err
    assert "Trial 1 of 6: cluster.core.count=2 (warm-up) completed" in err
    assert "Creating cluster sizes-" in err
    assert "Deleting cluster sizes-" in err
    assert "6 done, 0 left" in err
    runs = json_of(emrctl("runs", "--json"))
    assert [run["cluster"]["core_count"] for run in runs] == [2, 2, 2, 3, 3, 3]
    clusters = mocked.client("emr").list_clusters()["Clusters"]
    states = {item["Id"]: item["Status"]["State"] for item in clusters}
    assert states.pop(own) == "WAITING"
    assert [*states.values()] == ["TERMINATED"]
    assert len(json_of(emrctl("experiment", "list", "sizes", "--json"))) == 6


def test_run_over_budget_stops_and_says_how_to_continue(emrctl: Emrctl, standing: str) -> None:
    with without_uploads():
        code, out, err = emrctl("experiment", "run", "limited")
    assert (code, out.count("COMPLETED")) == (0, 1)
    assert "Stopped: the budget of 1 runs is used up." in err
    assert "Raise `budget` and run `emrctl experiment run limited` to continue." in err
    shown = json_of(emrctl("experiment", "show", "limited", "--json"))
    assert (shown["done"], shown["left"], shown["use"]["runs"]) == (1, 1, 1)
    rows = shown["configurations"]
    assert sorted((row["done"], row["left"]) for row in rows) == [(0, 1), (1, 0)]
    code, out, err = emrctl("experiment", "show", "limited")
    assert (code, "executors=1" in out, "1 trials left" in err) == (0, True, True)


def test_list_prints_trials_in_their_order_with_settings(emrctl: Emrctl) -> None:
    code, out, _ = emrctl("experiment", "list", "limited")
    trials = json_of(emrctl("experiment", "list", "limited", "--json"))
    assert code == 0
    assert [trial["number"] for trial in trials] == [1, 2]
    assert out.index(trials[0]["cell"]) < out.index(trials[1]["cell"])
    assert {trial["settings"]["executors"] for trial in trials} == {1, 2}
    assert trials[0]["cluster"] == {}


def test_show_before_the_first_run_prints_zero_runs(emrctl: Emrctl) -> None:
    code, out, err = emrctl("experiment", "show", "sizes")
    assert (code, "cluster.core.count=3" in out) == (0, True)
    assert "0 runs in 0 s for 0.0000 USD; 6 trials left" in err


OUTLOOK = Outlook(done=3, failed=1, left=4, left_s=400.0, use=Use(runs=4, seconds=90, usd=0.25))


def test_bar_shows_done_trials_time_left_and_cost() -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=160, highlight=False)
    columns = TextColumn("{task.description}"), TextColumn("{task.fields[running]}")
    spec = ExperimentSpec.model_validate(
        {"name": "e1", "job": "svm", "configurations": {"[a]": {}}}
    )
    (trial,) = experiments.trials(spec)
    with Bar(*columns, console=console) as bar:
        lines = TrialLines(bar, 2)
        lines.started(trial, RUN)
        lines.progress([(trial, RUN, Progress())], OUTLOOK)
        (task,) = bar.tasks
        assert (task.completed, task.total) == (4, 9)
        assert task.description == "3 done, 1 failed, 4 left, about 3 min; 0.2500 USD"
        lines.finished(trial, RUN, OUTLOOK)
    assert "Trial 1 of 1: [a] (repeat 1) is run r1 on main" in file.getvalue()


def test_showing_turns_sigterm_into_an_interrupt_and_lists_unfinished_runs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = signal.getsignal(signal.SIGTERM)

    def receive_signal() -> None:
        with trial_progress.showing(1) as lines:
            lines.running["r1"] = RUN
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt):
        receive_signal()
    assert signal.getsignal(signal.SIGTERM) == before
    assert "Run r1 continues; cancel it with `emrctl cancel r1`." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("seconds", "text"), [(5.2, "5 s"), (119, "119 s"), (600, "10 min"), (9000, "2.5 h")]
)
def test_duration_text_has_a_fitting_unit(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text
