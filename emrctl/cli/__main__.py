"""The entry point: a table of commands, of which only the one that is called is imported.

`emrctl --help` prints the table and imports nothing heavy: it is typed more often than anything
else. A test holds the table against what the modules define.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typer import Typer


class Command(NamedTuple):
    """A command's module in this package, the group it is listed in, and what it does."""

    module: str
    group: str
    help: str


_TAGLINE = "Spark clusters on AWS as code, and a record of what every run on them did."
DAILY, STACKS = "Daily commands", "Stacks and Pulumi's engine"
RUNS, SETUP = "Runs and what they tell", "Setting up"

COMMANDS: dict[str, Command] = {
    "up": Command(
        "cluster", DAILY, "Bring the bucket and the cluster up, or to the spec as it is now."
    ),
    "submit": Command("submit", DAILY, "Run a job on the cluster and wait for it."),
    "down": Command("cluster", DAILY, "Take the cluster down; the bucket stays."),
    "stop": Command("cluster", DAILY, "Stop a cluster of EC2 instances; its disks stay."),
    "start": Command("cluster", DAILY, "Start a cluster that was stopped."),
    "preview": Command("cluster", DAILY, "Show what `up` would change, and what it costs an hour."),
    "show": Command("cluster", DAILY, "Show the cluster and the addresses of its pages."),
    "list": Command("cluster", DAILY, "List the project's stacks and clusters."),
    "ui": Command("remote", DAILY, "Open YARN's, Spark's or HDFS's page of the cluster."),
    "ssh": Command("remote", DAILY, "Log in to a node, or run a command there."),
    "exec": Command("remote", DAILY, "Run a command on all nodes of EC2 instances."),
    "copy": Command("remote", DAILY, "Copy a file or folder to all nodes of EC2 instances."),
    "gc": Command("gc", DAILY, "List what emrctl made on the account; end what nobody needs."),
    "outputs": Command("engine", STACKS, "Print what a stack's program exported."),
    "drift": Command("engine", STACKS, "Show where AWS is no longer as a stack's state says."),
    "refresh": Command("engine", STACKS, "Bring a stack's state to what AWS has now."),
    "history": Command("engine", STACKS, "Show all that was done to a stack."),
    "import": Command("engine", STACKS, "Take over a bucket that exists."),
    "export": Command("engine", STACKS, "Print a stack's whole state as JSON."),
    "engine": Command("engine", STACKS, "Pulumi's engine: show and install it."),
    "runs": Command("runs", RUNS, "List runs; `show`, `tag`, `query` in SQL, `import` logs."),
    "top": Command("top", RUNS, "Watch a run at work: stages, skew, executors, nodes, queue."),
    "wait": Command("runs", RUNS, "Wait for a run that was submitted before."),
    "logs": Command("runs", RUNS, "Print what a run's step and containers wrote."),
    "pull": Command("runs", RUNS, "Read a finished run's logs and metrics anew."),
    "cancel": Command("runs", RUNS, "Cancel a run's step."),
    "metrics": Command("metrics", RUNS, "Print the metrics of a run, or of any Spark event log."),
    "compare": Command("compare", RUNS, "Compare runs: settings, times, executors, YARN, cost."),
    "experiment": Command("experiment", RUNS, "Run a job over a grid of settings, resumably."),
    "init": Command("project", SETUP, "Write a commented emrctl.yaml."),
    "config": Command("project", SETUP, "Show every value in force and where it is from."),
    "data": Command(
        "data", SETUP, "Put pictures on the bucket: digits, pets, or a folder of your own."
    ),
    "prices": Command("prices", SETUP, "What instances cost an hour; `refresh` asks AWS."),
    "certificates": Command("certificates", SETUP, "Make the nodes' certificates, on the bucket."),
    "doctor": Command("doctor", SETUP, "Say what is missing on this machine, and what to do."),
    "local": Command("local", SETUP, "The EMR on localhost: up, status, logs, down."),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command that `arguments` name and exit with its code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if _completing(given):
        _whole()(prog_name="emrctl")
    elif not given or given[0] in {"-h", "--help", "help"}:
        print(overview())
    elif given[0] == "--version":
        from emrctl import __version__

        print(f"emrctl {__version__}")
    elif given[0] in COMMANDS:
        _run(given)
    else:
        _unknown(given[0])


def overview() -> str:
    """The text of `emrctl --help`."""
    lines = ["Usage: emrctl COMMAND [OPTIONS] [ARGS]...", "", _TAGLINE, ""]
    width = max(map(len, COMMANDS)) + 2
    for group in (DAILY, RUNS, STACKS, SETUP):
        lines.append(f"{group}:")
        lines += [
            f"  {name:<{width}}{command.help}"
            for name, command in COMMANDS.items()
            if command.group == group
        ]
        lines.append("")
    lines.append("`emrctl COMMAND --help` says more. `emrctl --install-completion` for your shell.")
    return "\n".join(lines)


def _run(arguments: list[str]) -> None:
    import importlib

    from emrctl.errors import EmrctlError

    module = importlib.import_module(f"emrctl.cli.{COMMANDS[arguments[0]].module}")
    try:
        module.app(args=arguments, prog_name="emrctl")
    except EmrctlError as error:
        _say(error)
        sys.exit(error.exit_code)


def _say(error: Exception) -> None:
    print(f"error: {error}", file=sys.stderr)
    hint = getattr(error, "hint", "")
    if hint:
        print(f"  {hint}", file=sys.stderr)


def _unknown(name: str) -> None:
    import difflib

    near = difflib.get_close_matches(name, COMMANDS, n=1, cutoff=0.5)
    hint = f"Did you mean `emrctl {near[0]}`?" if near else "`emrctl --help` lists the commands."
    print(f"error: no command is called '{name}'\n  {hint}", file=sys.stderr)
    sys.exit(2)


def _completing(arguments: list[str]) -> bool:
    flags = {"--install-completion", "--show-completion"}
    return "_EMRCTL_COMPLETE" in os.environ or bool(arguments and arguments[0] in flags)


def _whole() -> Typer:
    """All commands in one app: only completion needs them at once."""
    import importlib

    import typer

    whole = typer.Typer(name="emrctl")
    for module in dict.fromkeys(command.module for command in COMMANDS.values()):
        part = importlib.import_module(f"emrctl.cli.{module}").app
        whole.registered_commands += part.registered_commands
        whole.registered_groups += part.registered_groups
    return whole


if __name__ == "__main__":
    main()
