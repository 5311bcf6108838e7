"""Commands against moto, with a fake runtime for steps."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from botocore.exceptions import ClientError

from emrctl.aws.target import Target
from emrctl.cli.__main__ import COMMANDS
from tests.cli.answers import Emrctl, json_of
from tests.cost.works import metrics
from tests.emulator.fake_runtime import FakeRuntime

YAML = """\
project: pets
cluster: {core: {count: 2}, bootstrap: [python.sh]}
jobs:
  mine: {script: mine.py}
experiments:
  grid: {name: grid, job: mine, factors: {executors: [1, 2]}}
"""


def test_session_from_preview_to_down_succeeds(emrctl: Emrctl) -> None:
    [storage, cluster] = json_of(emrctl("preview", "--json"))
    assert not storage["empty"]
    assert not cluster["empty"]
    up = json_of(emrctl("up", "--json"))
    assert up["state"] == "WAITING"
    assert all(plan["empty"] for plan in json_of(emrctl("preview", "--json")))
    [first] = json_of(
        emrctl("submit", "--executors", "1", "--tag", "a=b", "--json", "mine", "--x", "-v")
    )
    assert first["state"] == "COMPLETED"
    assert first["arguments"] == ["--x", "-v"]
    [second] = json_of(emrctl("submit", "--json", "mine"))
    listed = json_of(emrctl("runs", "--json"))
    assert [run["id"] for run in listed] == [first["id"], second["id"]]
    assert [run["id"] for run in json_of(emrctl("runs", "--tag", "a=b", "--json"))] == [first["id"]]
    compared = json_of(emrctl("compare", first["id"], second["id"], "--json"))
    assert len(compared["configurations"]) == 2
    assert json_of(emrctl("down", "--yes", "--json"))["deleted"]
    code, _, err = emrctl("submit", "mine")
    assert code == 3
    assert "emrctl up" in err
    assert json_of(emrctl("down", "--storage", "--yes", "--json"))["deleted"]
    assert len(json_of(emrctl("runs", "--json"))) == 2


def test_submit_failed_step_exits_with_6_and_cause(
    emrctl: Emrctl, standing: str, runtime: FakeRuntime
) -> None:
    runtime.on_step = lambda _args: (1, "", "Traceback (most recent call last):\nKeyError: 'dog'\n")
    code, out, err = emrctl("submit", "mine")
    assert code == 6
    assert "FAILED" in out
    assert "KeyError: 'dog'" in err
    run_id = re.findall(r"emrctl logs (\S+)`", err)[0]
    code, out, _ = emrctl("logs", run_id)
    assert (code, out.count("KeyError")) == (0, 1)
    code, _, err = emrctl("metrics", run_id)
    assert (code, f"no Spark application: `emrctl logs {run_id}`" in err) == (3, True)
    code, _, err = emrctl("logs", run_id, "nothing")
    assert (code, "step/stderr" in err) == (3, True)


def test_logs_of_cluster_mode_include_output_of_driver(
    emrctl: Emrctl, standing: str, tmp_path: Path
) -> None:
    [run] = json_of(emrctl("submit", "--json", "mine"))
    containers = tmp_path / ".emrctl" / "runs" / run["id"] / "logs" / "containers"
    for name, text in (("01_000001", "driver\n"), ("02_000001", ""), ("01_000002", "executor\n")):
        folder = containers / f"container_1_0001_{name}"
        folder.mkdir(parents=True)
        (folder / "stdout").write_text(text)
        (folder / "launch_container.sh").write_text("script\n")
    code, out, err = emrctl("logs", run["id"])
    assert (code, "driver" in out, "executor" in out, "script" in out) == (0, True, False, False)
    assert "container_1_0001_01_000001/stdout" in err
    assert "container_1_0001_02_000001/stdout" not in err


def test_experiment_run_after_failure_resumes_trials(
    emrctl: Emrctl, standing: str, runtime: FakeRuntime, tmp_path: Path
) -> None:
    runtime.on_step = lambda args: (int("2" in args), "", "ValueError: two\n")
    code, _, err = emrctl("experiment", "run", "grid")
    assert code == 6
    assert "1 of 2 trials" in err
    runtime.on_step = lambda _args: (0, "", "")
    found = json_of(emrctl("experiment", "run", "grid", "--json"))
    assert [run["state"] for run in found] == ["COMPLETED", "COMPLETED"]
    assert len(json_of(emrctl("runs", "--json"))) == 3
    page = tmp_path / "page" / "x.html"
    code, out, _ = emrctl("compare", "--experiment", "grid", "--html", str(page))
    assert code == 0
    assert "executors" in out
    assert page.read_text().startswith("<!")
    code, out, _ = emrctl("compare", "--experiment", "grid", "--csv")
    assert (code, out.count("\n") > 2) == (0, True)


def test_wait_detached_run_completes(emrctl: Emrctl, standing: str, runtime: FakeRuntime) -> None:
    runtime.pause = True
    [run] = json_of(emrctl("submit", "--detach", "--json", "mine"))
    assert run["state"] == "PENDING"
    code, _, err = emrctl("wait", "--timeout", "0.1", run["id"])
    assert (code, f"emrctl wait {run['id']}" in err) == (7, True)
    runtime.pause = False
    assert json_of(emrctl("wait", "latest", "--json"))[0]["state"] == "COMPLETED"
    assert json_of(emrctl("runs", "tag", "latest", "good=yes", "--json"))[0]["tags"] == {
        "good": "yes"
    }
    assert emrctl("runs", "show", "latest")[0] == 0
    assert emrctl("pull", "latest")[0] == 0


def test_compare_fail_if_exceeded_exits_with_8(
    emrctl: Emrctl, standing: str, runtime: FakeRuntime, mocked: Target
) -> None:
    [good] = json_of(emrctl("submit", "--json", "mine"))
    body, output = b'{"accuracy": 0.9}', f"s3://{good['bucket']}/study"
    mocked.client("s3").put_object(Bucket=good["bucket"], Key="study/result.json", Body=body)
    for executors in ("1", "2"):
        emrctl("submit", "--executors", executors, "mine", "--output", output)
    one, two = (run["id"] for run in json_of(emrctl("runs", "--last", "2", "--json")))
    assert emrctl("compare", one, two, "--fail-if", "accuracy:-1%")[0] == 0
    runtime.on_step = lambda _args: (1, "", "")
    emrctl("submit", "--executors", "3", "mine")
    code, out, err = emrctl("compare", good["id"], "latest", "--fail-if", "duration_s:10%")
    assert (code, "executors" in out, "duration_s:+10%: " in err) == (8, True, True)
    code, out, err = emrctl("compare", good["id"], "latest", "--fail-if", "10%")
    assert (code, "--fail-if 10%" in err, out) == (2, True, "")


def test_pull_output_downloads_matching_files(
    emrctl: Emrctl, standing: str, runtime: FakeRuntime, mocked: Target, tmp_path: Path
) -> None:
    [run] = json_of(emrctl("submit", "--json", "mine"))
    output = f"runs/{run['id']}/output/"
    for name in ("report.html", "accuracies.csv"):
        mocked.client("s3").put_object(Bucket=run["bucket"], Key=output + name, Body=b"x")
    folder = tmp_path / "study"
    code, _, err = emrctl("pull", "latest", "--output", str(folder))
    assert (code, "2 files, 0.0 MB in" in err, "report.html in a browser" in err) == (0, True, True)
    code, _, err = emrctl("pull", "latest", "--output", str(folder), "--only", "*.pdf")
    assert (code, "no output '*.pdf'" in err) == (3, True)


def test_runs_cost_prints_estimates_with_their_assumptions(
    emrctl: Emrctl, standing: str, tmp_path: Path
) -> None:
    [run] = json_of(emrctl("submit", "--json", "mine"))
    code, _, err = emrctl("runs", "cost", "latest")
    assert (code, "has no metrics" in err) == (3, True)
    document = json.dumps(metrics().to_json())
    (tmp_path / ".emrctl" / "runs" / run["id"] / "metrics.json").write_text(document)
    code, out, err = emrctl("runs", "cost", "latest", "--spot-discount", "50")
    assert code == 0
    assert "4 executors of 2 cores and 5,120 MB" in out
    assert "EMR Serverless" in out
    assert "spot 50 % below on demand, assumed" in out
    assert "note: list prices: instances of us-east-1" in err
    every = emrctl("runs", "cost", "latest", "--all")[1]
    assert every.count("EMR on EC2") > 2 * out.count("EMR on EC2")
    found = json_of(emrctl("runs", "cost", "latest", "--json"))
    assert found["executors"] == 4
    assert found["options"][0]["assumptions"]
    csv = emrctl("runs", "cost", "latest", "--csv")[1]
    assert csv.count("\n") == 1 + len(found["options"])
    assert f"Next: emrctl runs cost {run['id']}" in emrctl("runs", "show", "latest")[2]


def test_compare_reports_outputs_that_differ(
    emrctl: Emrctl, standing: str, runtime: FakeRuntime, mocked: Target, tmp_path: Path
) -> None:
    s3, bodies = mocked.client("s3"), iter([b'{"a": 1}\n{"a": 2}\n', b'{"a": 2}\n', b'{"a": 3}\n'])

    def write(arguments: Any) -> tuple[int, str, str]:
        bucket, _, prefix = arguments[-1].removeprefix("s3://").partition("/")
        s3.put_object(Bucket=bucket, Key=f"{prefix}/part-0.json", Body=next(bodies))
        return 0, "", ""

    runtime.on_step = write
    with (tmp_path / "emrctl.yaml").open("a") as file:
        file.write(
            "  more: {name: more, job: mine, args: ['{run}/x'], factors: {partitions: [1]},\n"
        )
        file.write("    check_output: ['{run}/x']}\n")
    check = ("--check-output", "{run}/x")
    [first] = json_of(emrctl("submit", "--json", *check, "mine", "{run}/x"))
    [second] = json_of(emrctl("submit", "--json", "--executors", "1", *check, "mine", "{run}/x"))
    assert first["check_output"] == [f"s3://{first['bucket']}/runs/{first['id']}/x"]
    assert first["output"]["{run}/x"]["rows"] == 2
    out = emrctl("compare", first["id"], second["id"])[1]
    assert "DIFFERENT RESULTS (rows of {run}/x 1 against 2" in out
    assert re.search(r"\{run\}/x +1 +[0-9a-f]{32} +1", emrctl("runs", "show", "latest")[1])
    [trial] = json_of(emrctl("experiment", "run", "more", "--json"))
    assert trial["output"]["{run}/x"]["rows"] == 1
    code, _, err = emrctl("submit", "--check-output", "rows", "mine")
    assert (code, "--check-output rows: not the prefix of a data set" in err) == (2, True)


def test_submit_interrupted_keeps_step_and_suggests_commands(
    emrctl: Emrctl, standing: str, monkeypatch: pytest.MonkeyPatch
) -> None:

    def interrupt(*_arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("emrctl.runs.lifecycle.wait", interrupt)
    code, _, err = emrctl("submit", "mine")
    assert code == 130
    assert "emrctl wait" in err
    assert "emrctl cancel" in err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["submit", "mien"], 3, "Did you mean 'mine'?"),
        (["--target", "aws", "preview"], 2, "Options follow the command: emrctl COMMAND OPTIONS."),
        (["submit", "--executor-memory", "4 gigs", "mine"], 2, "--executor-memory"),
        (["submit", "--executors", "0", "mine"], 2, "--executors"),
        (["submit", "--executor-memory", "2", "mine"], 2, "'2' is a heap of 2 MB"),
        (["submit", "--driver-memory", "449m", "mine"], 2, "Spark needs 450m at least"),
        (["submit", "emrctl.yaml"], 2, "'emrctl.yaml' is not a .py file"),
        (["submit", "--conf", "nothing", "mine"], 2, "--conf nothing"),
        (["submit", "--executor-memory", "40g", "mine"], 2, "12288 MB"),
        (["submit", "--cluster", "other", "mine"], 3, "no cluster 'other'"),
        (["submit", "--min-executors", "3", "--max-executors", "2", "mine"], 2, "max_executors"),
        (["runs", "show", "nothing"], 3, "no run is called 'nothing'"),
        (["compare"], 2, "either runs or --experiment"),
        (["experiment", "run", "gird"], 3, "grid"),
        (["down"], 2, "--yes"),
        (["metrics", "nothing"], 3, "no run is called"),
        (["config", "--target", "azure"], 2, "--target"),
        (["config", "--config", "absent.yaml"], 2, "absent.yaml"),
        (["nonsense"], 2, "no command"),
        (["runz"], 2, "emrctl runs"),
    ],
)
def test_command_invalid_input_exits_with_hint(
    emrctl: Emrctl, standing: str, arguments: list[str], code: int, message: str
) -> None:
    exit_code, out, err = emrctl(*arguments)
    assert exit_code == code, err
    assert message in err + out
    assert "Traceback" not in err


def test_error_of_boto3_is_printed_without_traceback(
    emrctl: Emrctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object) -> None:
        error: Any = {"Error": {"Code": "ExpiredToken", "Message": "The token has expired."}}
        raise ClientError(error, "PutObject")

    monkeypatch.setattr("emrctl.runs.store.Store.newest", fail)
    code, _, err = emrctl("runs")
    assert code == 4
    assert err.startswith("error: emrctl runs: the session has expired")


@pytest.mark.parametrize("command", ["gc", "doctor"])
def test_command_without_file_rejects_unknown_target(typed: Emrctl, command: str) -> None:
    code, _, err = typed(command, "--target", "azure")
    assert code == 2
    assert "error: --target: target: input should be 'aws' or 'local', not 'azure'" in err


def test_prices_of_unknown_region_name_the_command_that_reads_them(typed: Emrctl) -> None:
    code, _, err = typed("prices", "--region", "mars-1")
    assert code == 0
    assert "No prices of mars-1 are stored" in err
    assert "emrctl prices refresh --region mars-1" in err
    assert "No prices" not in typed("prices", "--region", "us-east-1")[2]


def test_commands_table_matches_modules(emrctl: Emrctl) -> None:
    for module in {command.module for command in COMMANDS.values()}:
        app = importlib.import_module(f"emrctl.cli.{module}").app
        named = {item.name or item.callback.__name__ for item in app.registered_commands}
        named |= {item.name for item in app.registered_groups}
        assert named == {name for name, item in COMMANDS.items() if item.module == module}


@pytest.mark.parametrize("command", COMMANDS)
def test_command_has_help_and_is_in_readme(emrctl: Emrctl, command: str) -> None:
    code, out, _ = emrctl(command, "--help")
    assert code == 0
    assert "Usage: emrctl" in out
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    assert f"emrctl {command}" in readme


def _commands(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    yield name, command
    for inner, item in getattr(command, "commands", {}).items():
        yield from _commands(f"{name} {inner}", item)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_fits_80_columns_with_one_line_per_option(name: str) -> None:
    app = importlib.import_module(f"emrctl.cli.{COMMANDS[name].module}").app
    group: Any = typer.main.get_command(app)
    for path, command in _commands(name, group.commands[name]):
        assert command.help, path
        assert max(map(len, command.help.splitlines())) <= 78, path
        for parameter in command.params:
            if parameter.name != "help":
                text = str(parameter.help)
                assert text.endswith("."), f"{path} {parameter.name}: {text}"
                assert len(text) <= 60, f"{path} {parameter.name}: {text}"
