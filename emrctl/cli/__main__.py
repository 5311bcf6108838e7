"""Entry point: a table of the commands, so that only the module of the called one is imported.

`emrctl --help` prints the table without importing anything else. A test compares the table with
the commands that the modules define.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, NoReturn

if TYPE_CHECKING:
    from typer import Typer


class Command(NamedTuple):
    """Module of a command in this package, its section in the help and its short help."""

    module: str
    section: str
    help: str


_DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EFBIG})
_TAGLINE = "Create Spark clusters on AWS, run jobs on them and compare the runs."
CLUSTERS, RUNS, STACKS, SETUP = "Clusters", "Jobs and runs", "Stacks", "Setup"

COMMANDS: dict[str, Command] = {
    "preview": Command("cluster", CLUSTERS, "Show the changes of `up` and the cost per hour."),
    "up": Command("cluster", CLUSTERS, "Create or update the bucket and the cluster."),
    "show": Command("cluster", CLUSTERS, "Show the cluster, its nodes and web pages."),
    "list": Command("cluster", CLUSTERS, "List the project's clusters and stacks."),
    "stop": Command("cluster", CLUSTERS, "Stop an EC2 cluster; EBS volumes are kept."),
    "start": Command("cluster", CLUSTERS, "Start a stopped EC2 cluster."),
    "down": Command("cluster", CLUSTERS, "Delete the cluster; the bucket is kept."),
    "ui": Command("remote", CLUSTERS, "Open a web page of YARN, Spark or HDFS."),
    "ssh": Command("remote", CLUSTERS, "Open a shell or run a command on a node."),
    "exec": Command("remote", CLUSTERS, "Run a command on all nodes of an EC2 cluster."),
    "copy": Command("remote", CLUSTERS, "Copy files to all nodes of an EC2 cluster."),
    "gc": Command("gc", CLUSTERS, "List and delete expired and orphaned resources."),
    "jobs": Command("jobs", RUNS, "List the jobs that come with emrctl; copy one."),
    "submit": Command("submit", RUNS, "Run a job on the cluster and wait for it."),
    "wait": Command("runs", RUNS, "Resume waiting for a run."),
    "cancel": Command("runs", RUNS, "Cancel a run."),
    "runs": Command("runs", RUNS, "List, show, tag, query and import runs."),
    "top": Command("top", RUNS, "Watch a run: stages, skew, executors, nodes, queues."),
    "logs": Command("runs", RUNS, "Print logs of a run's step and containers."),
    "pull": Command("runs", RUNS, "Download a run's logs, metrics and output again."),
    "metrics": Command("metrics", RUNS, "Print metrics of a run or a Spark event log."),
    "advise": Command("advise", RUNS, "Recommend settings for the next run of a job."),
    "compare": Command("compare", RUNS, "Compare runs: settings, times, resources, cost."),
    "predict": Command("predict", RUNS, "Predict time and cost at other executor counts."),
    "experiment": Command("experiment", RUNS, "Run a job with combinations of settings."),
    "tune": Command("tune", RUNS, "Search for the best configuration of a job."),
    "abtest": Command("abtest", RUNS, "Test whether two rates differ; plan sample sizes."),
    "data": Command("data", RUNS, "Upload images to the bucket."),
    "outputs": Command("engine", STACKS, "Print the outputs of a stack."),
    "drift": Command("engine", STACKS, "Show differences between a stack and AWS."),
    "refresh": Command("engine", STACKS, "Update a stack's state from AWS."),
    "history": Command("engine", STACKS, "List the updates of a stack."),
    "import": Command("engine", STACKS, "Import an existing bucket into the stack."),
    "export": Command("engine", STACKS, "Print a stack's state as JSON."),
    "engine": Command("engine", STACKS, "Show or install the Pulumi engine."),
    "init": Command("setup", SETUP, "Write a commented emrctl.yaml."),
    "config": Command("setup", SETUP, "Show every setting and its source."),
    "prices": Command("prices", SETUP, "Show instance prices; update them from AWS."),
    "certificates": Command("setup", SETUP, "Create keys for encryption in transit."),
    "doctor": Command("setup", SETUP, "Check this machine's requirements."),
    "local": Command("local", SETUP, "Start and stop the EMR on localhost."),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command in `arguments` and exit with its code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    _prepare_streams()
    try:
        _dispatch(words)
    except BrokenPipeError:  # the reader ended: `emrctl --help | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(1)


def _prepare_streams() -> None:
    """Open closed standard streams on /dev/null, and let streams replace what they cannot encode.

    Without it, the first file that emrctl or a program started by it opens gets the number of a
    closed stream, and what is printed is written into it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            null = io.FileIO(number, "w" if number else "r", closefd=False)
            setattr(sys, name, io.TextIOWrapper(null, write_through=True))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _dispatch(words: list[str]) -> None:
    if _is_completion(words):
        _complete_app()(prog_name="emrctl")
    elif not words or words[0] in {"-h", "--help", "help"}:
        print(overview())
    elif words[0] == "--version":
        from emrctl import __version__

        print(f"emrctl {__version__}")
    elif words[0] in COMMANDS:
        _run(words)
    else:
        _reject(words[0])


def overview() -> str:
    """Return the text of `emrctl --help`."""
    lines = ["Usage: emrctl COMMAND [OPTIONS] [ARGS]...", "", _TAGLINE, ""]
    width = max(map(len, COMMANDS)) + 2
    for section in (CLUSTERS, RUNS, STACKS, SETUP):
        lines.append(f"{section}:")
        lines += [
            f"  {name:<{width}}{command.help}"
            for name, command in COMMANDS.items()
            if command.section == section
        ]
        lines.append("")
    lines.append("`emrctl COMMAND --help` describes a command.")
    lines.append("`emrctl --install-completion` installs completion for the shell.")
    return "\n".join(lines)


def _run(arguments: list[str]) -> None:
    import importlib

    from emrctl.errors import EmrctlError, missing_package

    try:
        module = importlib.import_module(f"emrctl.cli.{COMMANDS[arguments[0]].module}")
        module.app(args=arguments, prog_name="emrctl")
    except EmrctlError as error:
        _fail(str(error), error.hint, error.exit_code)
    except ModuleNotFoundError as error:
        missing = missing_package(error)
        if missing is None:
            raise
        _fail(str(missing), missing.hint, missing.exit_code)
    except BrokenPipeError:
        raise
    except OSError as error:
        _fail_os(error)
    except UnicodeEncodeError as error:
        _fail(f"{error.object!r} is not a UTF-8 text", "Rename the file or its folder.", 2)
    except Exception as error:
        if not type(error).__module__.startswith(("botocore.", "urllib3.")):
            raise
        from emrctl.aws.errors import translate

        failure = translate(error, f"emrctl {arguments[0]}")
        _fail(str(failure), failure.hint, failure.exit_code)


def _fail_os(error: OSError) -> NoReturn:
    """Fail with the reason of the operating system; raise errors that have none."""
    if error.strerror is None:
        raise error
    where = f"{error.filename}: " if error.filename else ""
    if error.errno in _DISK_ERRORS:
        _fail(f"{where}{error.strerror}", "Free disk space, or use a writable folder.", 5)
    if error.errno == errno.ENOENT and not error.filename:
        _fail("the current folder does not exist", "Change to another folder.", 2)
    _fail(f"{where}{error.strerror}", "", 1)


def _fail(message: str, hint: str, exit_code: int) -> NoReturn:
    from emrctl import redact
    from emrctl.cli.render import visible

    message = redact.text(f"error: {message}" + (f"\n  {hint}" if hint else ""))
    print(visible(message), file=sys.stderr)
    sys.exit(exit_code)


def _reject(name: str) -> NoReturn:
    import difflib

    if name.startswith("-"):
        hint = "Options follow the command: emrctl COMMAND OPTIONS."
        _fail(f"'{name}' is not a command", hint, 2)
    near = difflib.get_close_matches(name, COMMANDS, n=1, cutoff=0.5)
    hint = f"Did you mean `emrctl {near[0]}`?" if near else "`emrctl --help` lists the commands."
    _fail(f"no command is called '{name}'", hint, 2)


def _is_completion(arguments: list[str]) -> bool:
    flags = {"--install-completion", "--show-completion"}
    return "_EMRCTL_COMPLETE" in os.environ or bool(arguments and arguments[0] in flags)


def _complete_app() -> Typer:
    """Return one app with all commands, for shell completion."""
    import importlib

    import typer

    app = typer.Typer(name="emrctl")
    for module in dict.fromkeys(command.module for command in COMMANDS.values()):
        part = importlib.import_module(f"emrctl.cli.{module}").app
        app.registered_commands += part.registered_commands
        app.registered_groups += part.registered_groups
    return app


if __name__ == "__main__":
    main()
